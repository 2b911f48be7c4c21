"""Sorting by labels: keys, samples, components and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.data.positions import Index
from outgrad.engine.content import Blocks
from outgrad.engine.permute import permuted
from outgrad.engine.shuffle.blocks import Order, Origin, Target, moved
from outgrad.errors import ValidationError
from outgrad.gradients.axes import AxisOrders
from outgrad.labels.labels import Labels
from outgrad.labels.packing import Table
from outgrad.labels.tables import is_sorted_rows, unique_rows
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.twins import block_twin
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold, zip_map

AXES = ("samples", "components", "properties")


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
    wanted = _axes(tensor, axes)
    blocks = _sort_entries(blocks, [name for name in AXES[1:] if name in wanted], descending)
    if "samples" in wanted:
        blocks = _sort_samples(blocks, descending)
    if isinstance(tensor, TensorMap) and "keys" in wanted:
        order = _order(tensor.keys, descending)
        if order is not None:
            keys = _taken(tensor.keys, order)
            return TensorMap._of(keys, blocks.select(order.tolist()), tensor._info)
    return like(tensor, blocks)


def _axes(tensor: TensorMap | object, axes: str | Sequence[str]) -> Sequence[str]:
    known = ("keys", *AXES) if isinstance(tensor, TensorMap) else AXES
    if isinstance(axes, str) and axes == "all":
        return known
    wanted = names_of("sort", "axes", axes)
    for name in wanted:
        if name not in known:
            raise ValidationError(f"sort: axes must be 'all' or some of {list(known)}, not {name!r}")
    return wanted


def _order(labels: Labels, descending: bool) -> Index | None:
    """Where each entry comes from in the sorted labels; None if they are sorted."""
    table = labels.values
    if is_sorted_rows(table[::-1] if descending else table):
        return None
    rank = unique_rows(table)[1]
    order = np.empty(len(rank), dtype=np.int64)
    order[len(rank) - 1 - rank if descending else rank] = np.arange(len(rank))
    return order


def _taken(labels: Labels, order: Index | None) -> Labels:
    return labels if order is None else Labels(labels.names, labels.values[order], assume_unique=True)


# ---- components and properties ----
def _sort_entries(blocks: Blocks, axes: Sequence[str], descending: bool) -> Blocks:
    """Sort the entries of components and properties: every row by itself."""
    orders = [_entry_orders(metadata, axes, descending) for metadata in blocks.metadata]
    numbers = [
        n for n, own in enumerate(orders) if any(o is not None for _, each in own.walk() for o in each.orders)
    ]
    if not numbers:
        return blocks
    metadata = tuple(zip_map(_with_entries, m, own) for m, own in zip(blocks.metadata, orders, strict=True))
    return permuted(blocks, metadata, [own if n in numbers else None for n, own in enumerate(orders)])


def _entry_orders(metadata: BlockMetadata, axes: Sequence[str], descending: bool) -> AxisOrders:
    def orders(own: BlockMetadata, gradients: dict[str, AxisOrders]) -> AxisOrders:
        components = [_order(c, descending) if "components" in axes else None for c in own.components]
        properties = _order(own.properties, descending) if "properties" in axes else None
        return AxisOrders((*components, properties), gradients)

    return fold(orders, metadata)


def _with_entries(metadata: BlockMetadata, axes: AxisOrders) -> BlockMetadata:
    *components, properties = axes.orders
    return replace(
        metadata,
        components=tuple(_taken(c, own) for c, own in zip(metadata.components, components, strict=True)),
        properties=_taken(metadata.properties, properties),
    )


# ---- samples and gradient rows ----
def _sort_samples(blocks: Blocks, descending: bool) -> Blocks:
    orders = [_order(metadata.samples, descending) for metadata in blocks.metadata]
    numbers = [
        n
        for n, (order, m) in enumerate(zip(orders, blocks.metadata, strict=True))
        if order is not None or not _rows_sorted(m, descending)
    ]
    if not numbers:
        return blocks
    order = Order.DESCENDING if descending else Order.SORTED
    targets = [_target(place, blocks.metadata[n], orders[n], order) for place, n in enumerate(numbers)]
    return blocks.exchanged(numbers, moved("sort", [(blocks, n) for n in numbers], targets))


def _target(place: int, metadata: BlockMetadata, order: Index | None, rows: Order) -> Target:
    if order is None:
        return Target(metadata, (Origin(place),), rows)
    where = np.empty(len(order), dtype=np.int64)
    where[order] = np.arange(len(order))
    head = replace(metadata, samples=_taken(metadata.samples, order))
    return Target(head, (Origin(place, where),), rows)


def _rows_sorted(metadata: BlockMetadata, descending: bool) -> bool:
    tables = (below.samples.values for path, below in metadata.walk() if path)
    return all(is_sorted_rows(_turned(table) if descending else table) for table in tables)


def _turned(table: Table) -> Table:
    """A table that is sorted where all columns but the first of ``table`` descend: ~x is −x − 1."""
    return np.column_stack([table[:, :1], ~table[:, 1:]])


sort_block = block_twin(sort)
