"""Sorting by labels: keys, samples, components, properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.engine.shuffle.blocks import Order, Origin, Target, moved
from outgrad.errors import ValidationError
from outgrad.gradients.axes import AxisOrders, permute_entries, permute_part
from outgrad.graph.replace import replaced, rowwise_on
from outgrad.labels.labels import Labels
from outgrad.labels.rows import Table, is_sorted_rows, unique_rows
from outgrad.ops.operands import T, block_twin, content, like, names_of
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold, zip_map

Index = npt.NDArray[np.integer]

AXES = ("samples", "components", "properties")


def sort(tensor: T, axes: str | Sequence[str] = "all", descending: bool = False) -> T:
    r"""Order keys, samples, components and properties by their labels.

    .. math:: h_{i} = X_{\pi(i)}, \qquad \nabla h_{i} = \nabla X_{\pi(i)}

    Labels are compared dimension by dimension, the first one first. With the samples, gradient rows are
    sorted by all their dimensions, and their label ``sample`` is renumbered; with the components, those that
    only gradients have are sorted too. What is sorted already is shared with the result, and costs no task.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P). Gradient rows may come in any order: a block that they kept in one chunk is cut
        into chunks again.
    axes : "all" or str or list of str
        Some of "keys" (of maps only), "samples", "components" and "properties".
    descending : bool
        From the largest to the smallest. Gradient rows stay in the order of their samples, so that they can
        be cut into chunks with them, and those of one sample are in descending order.

    Returns
    -------
    TensorMap or TensorBlock
        The same entries in another order.

    Raises
    ------
    ValidationError
        If there is no such axis.
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
            return TensorMap._of(keys, blocks.select(order.tolist()), tensor.info())
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
    if blocks.lazy is None:
        chunks = [permute_entries(blocks.chunk(n), own) for n, own in enumerate(orders)]
        return Blocks(metadata, tuple(chunks))
    only = [own if n in numbers else None for n, own in enumerate(orders)]
    data = rowwise_on(
        *("sort-entries", permute_part, blocks.lazy, frozenset(numbers)),
        config=lambda part: ([only[piece.block] for piece in part],),
    )
    return Blocks(metadata, data)


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
    new = moved("sort", [(blocks, n) for n in numbers], targets)
    metadata = list(blocks.metadata)
    for n, own in zip(numbers, new.metadata, strict=True):
        metadata[n] = own
    if blocks.lazy is None:
        sorted_ = dict(zip(numbers, range(len(numbers)), strict=True))
        chunks = [new.chunk(sorted_[n]) if n in sorted_ else blocks.chunk(n) for n in range(len(blocks))]
        return Blocks(tuple(metadata), tuple(chunks))
    assert new.lazy is not None, "lazy blocks stay lazy"
    return Blocks(tuple(metadata), replaced(blocks.lazy, numbers, new.lazy))


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
