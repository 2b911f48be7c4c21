"""The operations: docstring, check, call. Importing this room gives blocks and maps their operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outgrad.ops import compare, create, gradients, linear, pointwise, reduce, select
from outgrad.tensor import TensorBlock, TensorMap
from outgrad.tensor.operators import register

for _kind in (TensorMap, TensorBlock):
    for _name in ("add", "subtract", "multiply", "divide", "pow", "subtract_from", "divide_into", "pow_of"):
        register(_kind, _name, getattr(pointwise, _name))
    register(_kind, "dot", linear.dot)
    register(_kind, "equal", compare.equal)
    register(_kind, "abs", lambda A, _: pointwise.abs(A))

PUBLIC = {
    pointwise: ("abs", "add", "divide", "multiply", "pow", "subtract"),
    reduce: ("sum_over_properties", "sum_over_samples"),
    linear: ("dot",),
    select: ("slice",),
    gradients: ("remove_gradients",),
    compare: ("allclose", "allclose_raise", "equal", "equal_raise", "equal_metadata", "equal_metadata_raise"),
    create: ("block_from_array",),
}


def public_operations() -> dict[str, Callable[..., Any]]:
    """Return the operations that make maps of maps, by name: those that a job can use."""
    return {
        name: getattr(module, name)
        for module, names in PUBLIC.items()
        if module not in (compare, create)
        for name in names
    }
