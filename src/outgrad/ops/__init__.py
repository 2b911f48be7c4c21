"""The operations: docstring, check, call. Importing this room gives blocks and maps their operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outgrad.ops import (
    apply,
    arrays,
    combine,
    compare,
    components,
    create,
    create_like,
    dimensions,
    filter,
    functions,
    gradients,
    keys,
    least_squares,
    linear,
    metadata,
    order,
    pointwise,
    reduce,
    select,
    shift,
    split,
    switches,
)
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tensor.operators import register

for _kind in (TensorMap, TensorBlock):
    for _name in ("add", "subtract", "multiply", "divide", "pow", "subtract_from", "divide_into", "pow_of"):
        register(_kind, _name, getattr(pointwise, _name))
    register(_kind, "dot", linear.dot)
    register(_kind, "equal", compare.equal)
    register(_kind, "abs", lambda A, _: pointwise.abs(A))

for _name in ("keys_to_properties", "keys_to_samples", "components_to_properties"):
    register(TensorMap, _name, getattr(keys, _name))

PUBLIC = {
    pointwise: ("abs", "add", "divide", "multiply", "pow", "subtract"),
    reduce: tuple(
        f"{kind}_over_{axis}" for axis in ("properties", "samples") for kind in ("mean", "std", "sum", "var")
    ),
    keys: ("components_to_properties", "keys_to_properties", "keys_to_samples"),
    functions: ("cos", "exp", "log", "reciprocal", "sin", "sqrt", "square", "tanh"),
    apply: ("apply", "apply_rows"),
    combine: ("join",),
    linear: ("dot",),
    least_squares: ("lstsq", "solve"),
    select: ("slice",),
    split: ("split", "split_by"),
    order: ("sort",),
    gradients: ("remove_gradients",),
    compare: ("allclose", "allclose_raise", "equal", "equal_raise", "equal_metadata", "equal_metadata_raise"),
    create: ("block_from_array",),
    create_like: ("empty_like", "ones_like", "random_uniform_like", "zeros_like"),
    components: ("sum_over_components",),
    dimensions: (
        *("append_dimension", "insert_dimension", "permute_dimensions", "remove_dimension"),
        "rename_dimension",
    ),
    shift: ("shift_dimension",),
    filter: ("drop_blocks", "drop_empty_blocks", "filter_blocks"),
    arrays: ("detach", "is_contiguous", "make_contiguous", "requires_grad"),
    metadata: ("one_hot", "unique_metadata"),
    switches: ("checks_enabled", "unsafe_disable_checks", "unsafe_enable_checks"),
}

ANSWERS = {*PUBLIC[compare], *PUBLIC[create], *PUBLIC[metadata], *PUBLIC[switches], "is_contiguous"}
"""Functions that make no map of a map: they are not steps of a job, and not rows of the table of tests."""


def public_operations() -> dict[str, Callable[..., Any]]:
    """Return the operations that make maps of maps, by name: those that a job can use."""
    return {
        name: getattr(module, name)
        for module, names in PUBLIC.items()
        for name in names
        if name not in ANSWERS
    }
