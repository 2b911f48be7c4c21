"""The rules that blocks, gradients and maps follow. Each check raises; none reads values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from outgrad._foreign import check_class, class_name, is_dask_array, kind_of, of_package, plain
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.labels.display import described
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath

NUMERIC_KINDS = "biufc"


def array(values: Any) -> Any:
    """Return values as they are kept: plain NumPy arrays or Dask arrays, of numbers."""
    call = "TensorBlock: values"
    if not (isinstance(values, np.ndarray) or is_dask_array(values)):
        advice = "" if of_package(values) else "; convert with numpy.asarray(…)"
        raise TypeError(f"{call} must be a NumPy or Dask array, got {kind_of(values)}{advice}")
    if values.dtype.kind not in NUMERIC_KINDS:
        raise ValidationError(
            f"{call} must be numbers or booleans, got dtype {values.dtype}; convert with values.astype(…)"
        )
    return plain(call, values) if isinstance(values, np.ndarray) else _dask_array(call, values)


def _dask_array(call: str, values: Any) -> Any:
    """Refuse what the array itself tells; its chunks are looked at when they are computed."""
    meta = values._meta
    if isinstance(meta, np.ma.MaskedArray):
        raise ValidationError(
            f"{call} cannot be a Dask array of masked arrays; fill or drop the masked entries first, such as "
            "with dask.array.ma.filled(array, 0)"
        )
    if isinstance(meta, np.ndarray):
        check_class(call, meta)
    elif not isinstance(meta, np.generic):
        raise ValidationError(
            f"{call} cannot be a Dask array whose chunks are {class_name(meta)}; convert them to NumPy "
            "arrays with array.map_blocks(…)"
        )
    if any(np.isnan(size) for size in values.shape):
        raise ValidationError(
            f"{call} cannot be a Dask array with unknown chunk sizes, shape {values.shape}; "
            "call array.compute_chunk_sizes() first"
        )
    return values


def labels_argument(name: str, given: Any) -> None:
    """A named argument is Labels."""
    if not isinstance(given, Labels):
        raise TypeError(f"TensorBlock: {name} must be Labels, got {kind_of(given)}")


def axes(shape: Sequence[int], metadata: BlockMetadata) -> None:
    """Each axis of the values has as many entries as its labels."""
    names = ["samples", *_component_names(metadata.components), "properties"]
    if len(shape) != len(names):
        raise ValidationError(
            f"TensorBlock: values have {len(shape)} axes, shape {tuple(shape)}, but samples, "
            f"{len(metadata.components)} component(s) and properties need {len(names)}; "
            "give one Labels per middle axis"
        )
    for axis, (name, found, expected) in enumerate(zip(names, shape, metadata.shape, strict=True)):
        if found != expected:
            raise ValidationError(
                f"TensorBlock: axis {axis} of the values has {found} entries, but the {name} have "
                f"{expected}; values have shape {tuple(shape)}, labels describe {metadata.shape}"
            )


def components(given: Sequence[Labels]) -> None:
    """Each component has one dimension, at least one entry, and a name of its own."""
    for number, component in enumerate(given):
        labels_argument(f"components[{number}]", component)
        if len(component.names) != 1 or len(component) == 0:
            raise ValidationError(
                f"TensorBlock: components[{number}] must have one dimension and at least one entry, "
                f"got dimensions {described(component)}"
            )
    names = [component.names[0] for component in given]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValidationError(
            f"TensorBlock: component names must differ, found {repeated} more than once in {names}"
        )


def gradient_fits(
    parameter: str, parent: BlockMetadata, gradient: BlockMetadata, parent_dtype: Any, dtype: Any
) -> None:
    """A gradient fits its parent; the values of the ``sample`` column are read unless they are stored."""
    if not isinstance(parameter, str):
        raise TypeError(f"add_gradient: the parameter must be a str, got {kind_of(parameter)}")
    call = f"add_gradient({parameter!r})"
    if parameter in parent.gradients:
        raise ValidationError(f"{call}: the block already has this gradient; use another name")
    if dtype != parent_dtype:
        raise ValidationError(
            f"{call}: the gradient has dtype {dtype}, but the values have {parent_dtype}; "
            "convert one of them with .to(dtype=…)"
        )
    names = gradient.samples.names
    if not names or names[0] != "sample":
        raise ValidationError(
            f"{call}: the first dimension of the gradient's samples must be 'sample', the row of the values; "
            f"found {names}"
        )
    extra = len(gradient.components) - len(parent.components)
    if extra < 0 or not all(map(_equal, gradient.components[extra:], parent.components)):
        raise ValidationError(
            f"{call}: the last components of the gradient must be those of the values; found "
            f"{_component_names(gradient.components)}, but the values have "
            f"{_component_names(parent.components)}"
        )
    if not _equal(gradient.properties, parent.properties):
        raise ValidationError(
            f"{call}: the properties of the gradient must be those of the values; found "
            f"{described(gradient.properties)}, but the values have {described(parent.properties)}"
        )
    if gradient.samples.is_stored:
        return  # checked when it was written, and reading it here would cost what laziness saves
    rows = gradient.samples.column("sample")
    wrong = np.flatnonzero((rows < 0) | (rows >= len(parent.samples)))
    if len(wrong):
        raise ValidationError(
            f"{call}: row {wrong[0]} of the gradient's samples has sample={rows[wrong[0]]}, "
            f"but the values have {len(parent.samples)} samples, numbered from 0"
        )


def same_names(metadata: Sequence[BlockMetadata], dtypes: Iterable[Any]) -> None:
    """All blocks of a map agree in names, gradients and dtype; lengths may differ."""
    if not metadata:
        return
    first_dtype, *other_dtypes = dtypes
    expected = [(path, _names(node)) for path, node in metadata[0].walk()]
    for number, (block, dtype) in enumerate(zip(metadata[1:], other_dtypes, strict=True), 1):
        if dtype != first_dtype:
            raise ValidationError(
                f"TensorMap: block 0 has dtype {first_dtype}, but block {number} has {dtype}; "
                "convert one of them with .to(dtype=…)"
            )
        for path, names in expected:
            found = _names(block.at(path))
            if found != names:
                kind = next(kind for kind in names if found[kind] != names[kind])
                where = gradient_of(path, f"block {number}")
                raise ValidationError(
                    f"TensorMap: {kind} of block 0 are {names[kind]}, but those of {where} are {found[kind]}"
                )


def _names(node: BlockMetadata) -> dict[str, list[str]]:
    return {
        "sample names": node.samples.names,
        "component names": _component_names(node.components),
        "property names": node.properties.names,
        "gradients": sorted(node.gradients),
    }


def gradient_of(path: GradientPath, block: str) -> str:
    """Say where a path leads: ``"gradient 'cell' of gradient 'positions' of block 1"``."""
    return "".join(f"gradient {name!r} of " for name in reversed(path)) + block


def _component_names(given: Sequence[Labels]) -> list[str]:
    return [component.names[0] if component.names else "" for component in given]


def _equal(a: Labels, b: Labels) -> bool:
    return bool(a == b)
