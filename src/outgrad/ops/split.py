"""Splitting maps along samples or properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.engine.content import Blocks
from outgrad.engine.divide.blocks import split_samples
from outgrad.engine.divide.plan import Selections, by_distinct_rows, in_order_of_selections, in_order_of_table
from outgrad.errors import ValidationError
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.select import EntrySelection, check_axis, choose_properties, selected_positions
from outgrad.ops.twins import block_twin


def split(tensor: T, axis: str, selections: list[EntrySelection]) -> list[T]:
    r"""Split a map by several selections of samples or properties, in one pass.

    .. math:: h^{(n)}_i = X_{s_n(i)}, \qquad \nabla h^{(n)}_i = \nabla X_{s_n(i)}

    Each result is that of :func:`slice` with one of the selections. Selections may overlap. The cost depends
    on the total number of rows in the results, not on the number of results. If the selected samples are
    contiguous in the block, the arrays of the result are views.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"samples", "properties"}
        The axis to select from.
    selections : list of Labels, LabelsEntry, or 1-D lists or arrays of int or bool
        One selection per result, as in :func:`slice`.

    Returns
    -------
    list of TensorMap or TensorBlock
        One result per selection, with the same keys; a block in which nothing is selected is empty.

    Raises
    ------
    ValidationError
        If the axis, a dimension or a position does not exist, or a position is repeated.
    TypeError
        If ``selections`` is not a list, or a selection has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> [part.values.tolist() for part in og.split(block, "samples", [[2], [0, 1]])]
    [[[5.0, 6.0]], [[1.0, 2.0], [3.0, 4.0]]]
    """
    blocks = content("split", "tensor", tensor)
    check_axis("split", axis)
    if not isinstance(selections, list):
        raise TypeError(f"split: selections must be a list, got {kind_of(selections)}")
    chosen = [
        Selections.of(_positions_of_each(getattr(metadata, axis), axis, selections))
        for metadata in blocks.metadata
    ]
    return [like(tensor, result) for result in _split("split", blocks, axis, chosen, len(selections))]


def split_by(tensor: T, dimension: str | Sequence[str], axis: str = "samples") -> dict[Any, T]:
    r"""Split a map by the values of a dimension of its samples or properties, in one pass.

    .. math:: h^{(v)}_i = X_{s_v(i)}, \qquad \nabla h^{(v)}_i = \nabla X_{s_v(i)}

    Each result is that of :func:`slice` with one value of the dimension. If the samples of a result are
    contiguous in the block, for example when they are sorted by system, its arrays are views.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    dimension : str or list of str
        One or several dimensions of the samples or properties.
    axis : {"samples", "properties"}
        The axis to split.

    Returns
    -------
    dict of TensorMap or TensorBlock
        Results by value, in increasing order of the values that occur in any block; for a list of dimensions,
        the keys of the dict are tuples. Every result has all keys of the map: a block in which the value does
        not occur is empty.

    Raises
    ------
    ValidationError
        If the axis or the dimension does not exist.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[4, 0], [4, 1], [7, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [3.0]]), samples, [], og.Labels.range("n", 1))
    >>> for system, part in og.split_by(block, "system").items():
    ...     print(system, part.values.tolist())
    4 [[1.0], [2.0]]
    7 [[3.0]]
    """
    blocks = content("split_by", "tensor", tensor)
    check_axis("split_by", axis)
    names = names_of("split_by", "dimension", dimension)
    tables = []
    for metadata in blocks.metadata:
        labels: Labels = getattr(metadata, axis)
        unknown = [name for name in names if name not in labels.names]
        if not names:
            raise ValidationError(f"split_by: dimension is empty; give at least one of {labels.names}")
        if unknown:
            raise ValidationError(
                f"split_by: {unknown} not found in the {axis}, whose dimensions are {labels.names}"
            )
        tables.append(_columns_of(labels, names))
    if not tables:
        return {}
    distinct, chosen = by_distinct_rows(tables)
    values = [row[0] if isinstance(dimension, str) else tuple(row) for row in distinct.tolist()]
    results = _split("split_by", blocks, axis, chosen, len(values))
    return {value: like(tensor, result) for value, result in zip(values, results, strict=True)}


def _split(
    call: str, blocks: Blocks, axis: str, chosen: Sequence[Selections], count: int
) -> Sequence[Blocks]:
    if axis == "samples":
        return split_samples(blocks, call, chosen, count)
    return [choose_properties(blocks, [selections.rows_of(n) for selections in chosen]) for n in range(count)]


def _positions_of_each(labels: Labels, axis: str, selections: Sequence[Any]) -> list[Index]:
    """Positions for each selection; labels that have the same dimensions are looked up together."""
    found: dict[int, Index] = {}
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, selection in enumerate(selections):
        names = tuple(selection.names) if isinstance(selection, (Labels, LabelsEntry)) else ()
        if names and set(names) <= set(labels.names):
            alike.setdefault(names, []).append(number)
        else:
            found[number] = selected_positions("split", labels, axis, selection)
    for names, numbers in alike.items():
        tables = [np.atleast_2d(selections[number].values) for number in numbers]
        # All dimensions in their order give the order of the selection, others that of the labels.
        find = in_order_of_selections if list(names) == labels.names else in_order_of_table
        found.update(zip(numbers, find(_columns_of(labels, names), tables), strict=True))
    return [found[number] for number in range(len(selections))]


def _columns_of(labels: Labels, names: Sequence[str]) -> Table:
    return labels.values[:, [labels.names.index(name) for name in names]]


split_block = block_twin(split)
split_by_block = block_twin(split_by)
