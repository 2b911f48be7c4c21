"""Dimensions of labels: append, insert, permute, remove, rename. Arrays are shared."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrad._foreign import as_plain, kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.engine.map.blocks import run_rule
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import PERMUTE_COMPONENTS
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, content, like
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold_down, follow

CHANGED_AXES = ("keys", "samples", "properties")
Change = Callable[[int, Labels], Labels]
"""New labels of an axis, given the number of the block and its labels."""


def append_dimension(tensor: T, axis: str, name: str, values: Any) -> T:
    r"""Append a dimension to keys, samples or properties.

    New properties apply to gradients too; the samples of gradients stay as they are. Arrays are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"keys", "samples", "properties"}
        The labels to change.
    name : str
        Name of the new dimension.
    values : int, 1-D array of int, or list with one such array for each block
        The value for each entry; an int is used for all entries.

    Returns
    -------
    TensorMap or TensorBlock
        The same values with the new labels.

    Raises
    ------
    ValidationError
        If the axis does not exist, the name is already in use, or there is not one value per entry.
    TypeError
        If ``values`` are not integers.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.append_dimension(block, "samples", "atom", [4, 5]).samples[1]
    LabelsEntry(sample=1, atom=5)
    """
    return _insert("append_dimension", tensor, axis, None, name, values)


def insert_dimension(tensor: T, axis: str, index: int, name: str, values: Any) -> T:
    r"""Insert a dimension into keys, samples or properties before position ``index``.

    New properties apply to gradients too; the samples of gradients stay as they are. Arrays are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"keys", "samples", "properties"}
        The labels to change.
    index : int
        Position of the new dimension; negative values count from the end, as in ``list.insert``.
    name : str
        Name of the new dimension.
    values : int, 1-D array of int, or list with one such array for each block
        The value for each entry; an int is used for all entries.

    Returns
    -------
    TensorMap or TensorBlock
        The same values with the new labels.

    Raises
    ------
    ValidationError
        If the axis does not exist, the name is already in use, or there is not one value per entry.
    IndexError
        If ``index`` is out of range.
    TypeError
        If ``values`` are not integers.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.insert_dimension(block, "properties", 0, "l", 7).properties[1]
    LabelsEntry(l=7, property=1)
    """
    return _insert("insert_dimension", tensor, axis, index, name, values)


def permute_dimensions(tensor: T, axis: str, dimensions_indexes: Sequence[int]) -> T:
    r"""Permute the dimensions of labels, or the component axes.

    Permuting the dimensions of labels leaves the values and the order of the entries alone. Components are
    axes of the values, so permuting them transposes the values and the gradients:

    .. math:: h_{s c_{o(1)} c_{o(2)} \dots p} = X_{s c_1 c_2 \dots p}

    The samples of gradients stay as they are, and components that only a gradient has stay in front.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"keys", "samples", "components", "properties"}
        The labels to change.
    dimensions_indexes : list of int
        Current position of each dimension of the result; negative values count from the end.

    Returns
    -------
    TensorMap or TensorBlock
        The same values with the new labels.

    Raises
    ------
    ValidationError
        If the axis does not exist, or ``dimensions_indexes`` does not contain each position once.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2, 3, 4)))
    >>> og.permute_dimensions(block, "components", [1, 0]).shape
    (1, 3, 2, 4)
    """
    call = "permute_dimensions"
    if axis == "components":
        return _permute_components(content(call, "tensor", tensor), tensor, dimensions_indexes)

    def permuted(number: int, labels: Labels) -> Labels:
        return labels.permute(_checked_order(call, axis, dimensions_indexes, labels.names))

    return _with_labels(call, tensor, axis, permuted, (*CHANGED_AXES, "components"))


def remove_dimension(tensor: T, axis: str, name: str) -> T:
    r"""Remove a dimension from keys, samples or properties.

    New properties apply to gradients too; the samples of gradients stay as they are. Arrays are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"keys", "samples", "properties"}
        The labels to change.
    name : str
        Name of the dimension.

    Returns
    -------
    TensorMap or TensorBlock
        The same values with the new labels.

    Raises
    ------
    ValidationError
        If the axis or the dimension does not exist, the dimension is the only one, or the remaining labels
        are not unique.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2, 3)), ["system", "atom"])
    >>> og.remove_dimension(block, "samples", "system").samples.names
    ['atom']
    """
    call = "remove_dimension"

    def removed(number: int, labels: Labels) -> Labels:
        _check_known(call, axis, name, labels.names)
        if len(labels.names) == 1:
            raise ValidationError(f"{call}: {name!r} is the only dimension of the {axis}; one must remain")
        try:
            return labels.remove(name)
        except ValidationError as error:
            where = "" if axis == "keys" else f" of block {number}"
            raise ValidationError(
                f"{call}: without {name!r} the {axis}{where} are not unique: {error}"
            ) from None

    return _with_labels(call, tensor, axis, removed)


def rename_dimension(tensor: T, axis: str, old: str, new: str) -> T:
    r"""Rename a dimension of keys, samples, components or properties.

    A sample dimension is also renamed in the samples of gradients, except for their dimension ``sample``,
    which always keeps its name. A component is also renamed where only gradients have it. Arrays are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"keys", "samples", "components", "properties"}
        The labels to change.
    old, new : str
        The current name and the new name.

    Returns
    -------
    TensorMap or TensorBlock
        The same values with the new labels.

    Raises
    ------
    ValidationError
        If the axis or the dimension does not exist, or the new name is invalid or already in use.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.rename_dimension(block, "samples", "sample", "system").samples.names
    ['system']
    """
    call = "rename_dimension"
    if axis == "components":
        return _rename_components(tensor, old, new)

    def renamed(number: int, labels: Labels) -> Labels:
        _check_known(call, axis, old, labels.names)
        return _renamed_labels(labels, old, new)

    def row_labels(labels: Labels) -> Labels:
        return _renamed_labels(labels, old, new) if old in labels.names[1:] else labels

    below = row_labels if axis == "samples" else None
    return _with_labels(call, tensor, axis, renamed, (*CHANGED_AXES, "components"), below)


# ---- new values ----
def _insert(call: str, tensor: T, axis: str, index: int | None, name: str, values: Any) -> T:
    blocks = content(call, "tensor", tensor)
    several = isinstance(values, (list, tuple)) and any(np.ndim(own) > 0 for own in values)
    if several and (axis == "keys" or len(values) != len(blocks)):
        raise ValidationError(
            f"{call}: values is a list of {len(values)} arrays for the {axis} of {len(blocks)} block(s); "
            "give an int, an array, or for samples and properties a list with one array per block"
        )

    def inserted(number: int, labels: Labels) -> Labels:
        own = values[number] if several else values
        where = "the keys have" if axis == "keys" else f"the {axis} of block {number} have"
        place = len(labels.names) if index is None else index
        column = _column(call, name, own, len(labels), where)
        try:
            return labels.insert(place, name, column)
        except ValidationError as error:
            raise ValidationError(f"{call}: {error}") from None

    return _with_labels(call, tensor, axis, inserted)


def _column(call: str, name: str, values: Any, count: int, where: str) -> Any:
    found = as_plain(f"{call}: values", values)
    if found.ndim == 0:
        try:
            return np.full(count, operator.index(values))
        except TypeError:
            raise TypeError(f"{call}: values must be integers, got {kind_of(values)}") from None
    if found.shape != (count,):
        raise ValidationError(
            f"{call}: {where} {count} entries, but the values of {name!r} have shape {found.shape}; "
            "give one value per entry, an int for all entries, or a list with one array per block"
        )
    return found


# ---- components ----
def _permute_components(blocks: Blocks, tensor: T, order: Sequence[int]) -> T:
    names = [[component.names[0] for component in m.components] for m in blocks.metadata]
    orders = [tuple(_checked_order("permute_dimensions", "components", order, own)) for own in names]

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, components=tuple(metadata.components[place] for place in orders[n]))

    if all(own == tuple(range(len(own))) for own in orders):
        return like(tensor, blocks)
    return like(tensor, run_rule(PERMUTE_COMPONENTS, [blocks], lambda n: (orders[n],), top))


def _rename_components(tensor: T, old: str, new: str) -> T:
    blocks = content("rename_dimension", "tensor", tensor)

    def renamed(metadata: BlockMetadata) -> BlockMetadata:
        components = tuple(
            _renamed_labels(component, old, new) if component.names == [old] else component
            for component in metadata.components
        )
        names = [component.names[0] for component in components]
        if names.count(new) > 1:
            raise ValidationError(
                f"rename_dimension: {old!r} cannot become {new!r}, already a component; use another name"
            )
        return replace(metadata, components=components)

    names = {c.names[0]: None for m in blocks.metadata for _, below in m.walk() for c in below.components}
    if len(blocks):
        _check_known("rename_dimension", "components", old, list(names))
    return like(tensor, replace(blocks, metadata=tuple(m.map(renamed) for m in blocks.metadata)))


# ---- what all of them share ----
def _with_labels(
    call: str,
    tensor: T,
    axis: str,
    change: Change,
    axes: Sequence[str] = CHANGED_AXES,
    below: Callable[[Labels], Labels] | None = None,
) -> T:
    """Change the labels of one axis, and with ``below`` the samples of gradients."""
    blocks = content(call, "tensor", tensor)
    if axis not in CHANGED_AXES:
        raise ValidationError(
            f"{call}: {axis!r} is not a valid axis. Choose from {', '.join(map(repr, axes))}"
        )
    if axis == "keys":
        if not isinstance(tensor, TensorMap):
            raise ValidationError(
                f"{call}: axis is 'keys', but a block has no keys; choose 'samples' or 'properties'"
            )
        return TensorMap._of(change(0, tensor.keys), blocks, tensor._info)
    replaced = _with_samples if axis == "samples" else _with_properties
    metadata = [
        replaced(m, change(number, getattr(m, axis)), below) for number, m in enumerate(blocks.metadata)
    ]
    return like(tensor, replace(blocks, metadata=tuple(metadata)))


def _with_samples(
    metadata: BlockMetadata, samples: Labels, below: Callable[[Labels], Labels] | None
) -> BlockMetadata:
    if below is None:
        return replace(metadata, samples=samples)
    # Found from the top down: an error names the dimensions of the outermost gradient.
    new = follow(lambda gradient, _: below(gradient.samples), metadata, samples)
    changed: BlockMetadata = fold_down(
        lambda path, _, node, gradients: replace(node, samples=new[path], gradients=gradients), metadata
    )
    return changed


def _with_properties(metadata: BlockMetadata, properties: Labels, below: object) -> BlockMetadata:
    return metadata.map(lambda node: replace(node, properties=properties))


def _renamed_labels(labels: Labels, old: str, new: str) -> Labels:
    try:
        return labels.rename(old, new)
    except ValidationError as error:
        raise ValidationError(f"rename_dimension: {old!r} cannot become {new!r}: {error}") from None


def _checked_order(call: str, axis: str, given: Sequence[int], names: Sequence[str]) -> list[int]:
    """Positions from 0, each once."""
    count = len(names)
    picks = [operator.index(index) for index in given]
    places = [pick + count if -count <= pick < 0 else pick for pick in picks]
    if sorted(places) != list(range(count)):
        raise ValidationError(
            f"{call}: dimensions_indexes is {picks}, but the {axis} have dimensions {list(names)}; "
            "give each position once"
        )
    return places


def _check_known(call: str, axis: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise ValidationError(f"{call}: {name!r} not found in the {axis}, whose dimensions are {list(names)}")
