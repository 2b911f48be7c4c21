"""Sorting by labels: keys, samples, components and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.data.positions import Index, places_of
from outgrad.engine.content import Blocks
from outgrad.engine.permute import permuted
from outgrad.engine.shuffle.blocks import Origin, RowOrder, Target, moved
from outgrad.errors import ValidationError
from outgrad.gradients.axes import AxisOrders
from outgrad.labels.labels import Labels
from outgrad.labels.rows import is_sorted_rows, unique_rows
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.twins import block_twin
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold, zip_map

SORTED_AXES = ("samples", "components", "properties")


def sort(tensor: T, axes: str | Sequence[str] = "all", descending: bool = False) -> T:
    r"""Sort keys, samples, components and properties by their labels.

    .. math:: h_{i} = X_{\pi(i)}, \qquad \nabla h_{i} = \nabla X_{\pi(i)}

    Labels are compared dimension by dimension, starting with the first. Sorting the samples also sorts the
    gradient rows by all their dimensions and renumbers their label ``sample``. Sorting the components
    includes those that only gradients have. Blocks that are already sorted are shared with the result and
    cost no task.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P). Gradient rows may be in any order; a lazy block that had to stay in one chunk
        because they were unsorted is split into chunks.
    axes : "all" or str or list of str
        Any of "keys" (for maps), "samples", "components" and "properties".
    descending : bool
        Sort from the largest to the smallest label. Gradient rows stay in the order of their samples, so that
        they can be split into chunks with them; only the rows of each sample are in descending order.

    Returns
    -------
    TensorMap or TensorBlock
        The same data in sorted order.

    Raises
    ------
    ValidationError
        If an axis does not exist.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 3], [0, 1], [0, 2]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [3.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.sort(block).values
    array([[2.],
           [3.],
           [1.]])
    >>> og.sort(block, "samples", descending=True).samples["atom"]
    array([3, 2, 1], dtype=int32)
    """
    blocks = content("sort", "tensor", tensor)
    known = ("keys", *SORTED_AXES) if isinstance(tensor, TensorMap) else SORTED_AXES
    wanted = known if isinstance(axes, str) and axes == "all" else names_of("sort", "axes", axes)
    for name in wanted:
        if name not in known:
            raise ValidationError(f"sort: axes must be 'all' or some of {list(known)}, not {name!r}")
    blocks = _sort_entries(blocks, wanted, descending)
    if "samples" in wanted:
        blocks = _sort_samples(blocks, descending)
    if isinstance(tensor, TensorMap) and "keys" in wanted:
        order = _sorting_order(tensor.keys, descending)
        if order is not None:
            keys = _reordered(tensor.keys, order)
            return TensorMap._of(keys, blocks.select(order.tolist()), tensor._info)
    return like(tensor, blocks)


def _sorting_order(labels: Labels, descending: bool) -> Index | None:
    """Where each entry comes from in the sorted labels; None if they are sorted."""
    table = labels.values
    if is_sorted_rows(table[::-1] if descending else table):
        return None
    rank = unique_rows(table)[1]
    order = np.empty(len(rank), dtype=np.int64)
    order[len(rank) - 1 - rank if descending else rank] = np.arange(len(rank))
    return order


def _reordered(labels: Labels, order: Index | None) -> Labels:
    return labels if order is None else Labels(labels.names, labels.values[order], assume_unique=True)


def _sort_entries(blocks: Blocks, axes: Sequence[str], descending: bool) -> Blocks:
    """Sort the entries of components and properties: every row by itself."""

    def orders(metadata: BlockMetadata, gradients: dict[str, AxisOrders]) -> AxisOrders:
        components = [
            _sorting_order(component, descending) if "components" in axes else None
            for component in metadata.components
        ]
        properties = _sorting_order(metadata.properties, descending) if "properties" in axes else None
        return AxisOrders((*components, properties), gradients)

    def with_orders(metadata: BlockMetadata, axes: AxisOrders) -> BlockMetadata:
        *components, properties = (
            _reordered(labels, order)
            for labels, order in zip((*metadata.components, metadata.properties), axes.orders, strict=True)
        )
        return replace(metadata, components=tuple(components), properties=properties)

    by_block = [fold(orders, metadata) for metadata in blocks.metadata]
    changed = [
        own if any(order is not None for _, each in own.walk() for order in each.orders) else None
        for own in by_block
    ]
    if not any(changed):
        return blocks
    metadata = [zip_map(with_orders, *each) for each in zip(blocks.metadata, by_block, strict=True)]
    return permuted(blocks, metadata, changed)


def _sort_samples(blocks: Blocks, descending: bool) -> Blocks:
    """Sort samples, and the gradient rows of each sample."""
    targets: dict[int, Target] = {}
    for number, metadata in enumerate(blocks.metadata):
        order = _sorting_order(metadata.samples, descending)
        tables = (gradient.samples.values for path, gradient in metadata.walk() if path)
        if descending:
            # Sorted where all columns but that of the sample descend: ~x is −x − 1.
            tables = (np.column_stack([table[:, :1], ~table[:, 1:]]) for table in tables)
        if order is None and all(is_sorted_rows(table) for table in tables):
            continue
        origin = Origin(len(targets), None if order is None else places_of(order, len(order)))
        head = replace(metadata, samples=_reordered(metadata.samples, order))
        targets[number] = Target(head, (origin,), RowOrder.DESCENDING if descending else RowOrder.SORTED)
    if not targets:
        return blocks
    moved_blocks = moved("sort", [(blocks, number) for number in targets], list(targets.values()))
    return blocks.exchanged(list(targets), moved_blocks)


sort_block = block_twin(sort)
