"""Sums over samples and over properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.errors import ValidationError
from outgrad.kernels.scatter import accumulator
from outgrad.labels import Labels
from outgrad.lazy import LazyBlocks, rowwise, tasks
from outgrad.lazy.reduce import combine
from outgrad.ops.engine import lazy_of, run_eagerly, run_rule, shadows
from outgrad.ops.operands import T, block_twin, content, like, names_of
from outgrad.plan.groups import Groups, group_edges, group_rows
from outgrad.plan.outline import Edges, Outline, Piece
from outgrad.tensor import relabel
from outgrad.tensor.blocks import Blocks
from outgrad.tensor.convert import converted
from outgrad.tensor.metadata import BlockMetadata

Names = str | Sequence[str]


def sum_over_samples(tensor: T, sample_names: Names) -> T:
    r"""Sum the samples that differ only in the dimensions ``sample_names``.

    .. math:: h_g = \sum_{i \in g} X_i, \qquad \nabla h_g = \sum_{i \in g} \nabla X_i

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows are summed
    where all labels but ``sample`` agree. Floating-point sums are taken in float64 and stored in the dtype of
    the map; integers are summed in their own dtype, and can overflow.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Dimensions of the samples to sum over; without any left, the result has the one sample ``_ = 0``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P) for G groups.

    Raises
    ------
    ValidationError
        If there is no sample dimension of such a name.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [4.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.sum_over_samples(block, "atom").values
    array([[3.],
           [4.]])
    """
    call = "sum_over_samples"
    blocks = content(call, "tensor", tensor)
    names = names_of(call, "sample_names", sample_names)
    grouped = [_Grouped.of(call, "samples", metadata.samples, names) for metadata in blocks.metadata]
    if blocks.lazy is not None:
        return like(tensor, _sum_lazily(blocks, grouped))

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, samples=grouped[n].labels)

    return like(tensor, run_eagerly("sum_rows", [blocks], lambda n: grouped[n].constants, top))


def sum_over_properties(tensor: T, property_names: Names) -> T:
    r"""Sum the properties that differ only in the dimensions ``property_names``.

    .. math:: h_g = \sum_{p \in g} X_p, \qquad \nabla h_g = \sum_{p \in g} \nabla X_p

    The groups g are the distinct values of the remaining dimensions, sorted.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Dimensions of the properties to sum over; without any left, the result has the one property ``_ = 0``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G) for G groups.

    Raises
    ------
    ValidationError
        If there is no property dimension of such a name.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0, 4.0]]))
    >>> og.sum_over_properties(block, "property").values
    array([[7.]])
    """
    call = "sum_over_properties"
    blocks = content(call, "tensor", tensor)
    names = names_of(call, "property_names", property_names)
    grouped = [_Grouped.of(call, "properties", metadata.properties, names) for metadata in blocks.metadata]

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, properties=grouped[n].labels)

    return like(tensor, run_rule("sum_columns", [blocks], lambda n: grouped[n].constants, top))


@dataclass(frozen=True)
class _Grouped:
    """Labels of the groups, and the group of each entry."""

    labels: Labels
    groups: Groups
    columns: tuple[int, ...]

    @property
    def constants(self) -> tuple[Any, ...]:
        return self.groups.target, self.groups.size

    @classmethod
    def of(cls, call: str, axis: str, labels: Labels, names: Sequence[str]) -> _Grouped:
        unknown = [name for name in names if name not in labels.names]
        if unknown:
            raise ValidationError(
                f"{call}: {unknown} not found in the {axis}, whose dimensions are {labels.names}"
            )
        kept = [name for name in labels.names if name not in names]
        columns = tuple(labels.names.index(name) for name in kept)
        groups = group_rows(labels.values, columns)
        return cls(Labels(kept or ["_"], groups.rows, assume_unique=True), groups, columns)


@dataclass(frozen=True)
class _LocalGroups:
    """Groups of the samples of one chunk: the task reads these labels and groups them itself."""

    samples: Labels
    start: int
    stop: int
    columns: tuple[int, ...]

    def resolve(self) -> tuple[Any, ...]:
        groups = group_rows(self.samples.read(self.start, self.stop), self.columns)
        return groups.target, groups.size


def _sum_lazily(blocks: Blocks, grouped: Sequence[_Grouped]) -> Blocks:
    aligned = [
        group_edges(g.groups.target, o.edges, g.groups.size)
        for g, o in zip(grouped, lazy_of(blocks).outlines, strict=True)
    ]
    if all(edges is not None for edges in aligned):
        return _sum_chunks(blocks, grouped, aligned)
    dtype = blocks.dtype(0)  # partial sums are kept in the wider dtype in which they are added
    wide = converted(blocks, accumulator(dtype), None, None)
    return converted(_sum_chunks(wide, grouped, aligned), dtype, None, None)


def _sum_chunks(blocks: Blocks, grouped: Sequence[_Grouped], aligned: Sequence[Edges | None]) -> Blocks:
    """Sum every chunk by its own groups; where groups cross chunks, add up what the chunks give."""
    lazy = lazy_of(blocks)
    results = [shadows("sum_rows", [blocks], n, g.constants) for n, g in enumerate(grouped)]
    metadata = tuple(
        relabel.relabelled(m, result, replace(m, samples=g.labels))
        for m, result, g in zip(blocks.metadata, results, grouped, strict=True)
    )
    trailing = [m.trailing for m in blocks.metadata]
    cuts = tuple(
        relabel.new_cuts(_whole(g.groups.size) if edges is None else edges, result, own)
        for edges, g, result, own in zip(aligned, grouped, results, trailing, strict=True)
    )
    partial = _partial_sums(blocks, lazy, grouped, cuts)
    if all(edges is not None for edges in aligned):
        return Blocks(metadata, partial)
    crossing = [
        None if edges is not None else _crossing(g, o)
        for edges, g, o in zip(aligned, grouped, lazy.outlines, strict=True)
    ]
    return Blocks(metadata, combine(partial, crossing, cuts, chunk_bytes()))


def _whole(size: int) -> Edges:
    return np.array([0, size], dtype=np.int64)


def _partial_sums(
    blocks: Blocks, lazy: LazyBlocks, grouped: Sequence[_Grouped], cuts: tuple[Outline, ...]
) -> LazyBlocks:
    configs = [("sum_rows", [_local(blocks, lazy, grouped, piece) for piece in part]) for part in lazy.parts]
    # Where groups cross chunks the partial sums are cut like the samples; their rows are not asked for.
    rough = tuple(
        cut if cut.chunk_count == own.chunk_count else own
        for cut, own in zip(cuts, lazy.outlines, strict=True)
    )
    token = [(g.columns, m.samples.digest) for g, m in zip(grouped, blocks.metadata, strict=True)]
    return rowwise("sum_rows", tasks.run_rule, configs, [lazy], rough, token)


def _local(blocks: Blocks, lazy: LazyBlocks, grouped: Sequence[_Grouped], piece: Piece) -> Any:
    samples, own = blocks.metadata[piece.block].samples, grouped[piece.block]
    start, stop = map(int, lazy.outlines[piece.block].edges[piece.chunk : piece.chunk + 2])
    if samples.is_stored:
        return _LocalGroups(samples, start, stop, own.columns)
    distinct, target = np.unique(own.groups.target[start:stop], return_inverse=True)
    return target, len(distinct)


def _crossing(grouped: _Grouped, outline: Outline) -> list[Any]:
    """For every chunk: where its own groups lie among all groups."""
    target = grouped.groups.target
    pairs = zip(outline.edges[:-1].tolist(), outline.edges[1:].tolist(), strict=True)
    return [(np.unique(target[start:stop]), grouped.groups.size) for start, stop in pairs]


sum_over_samples_block = block_twin(sum_over_samples)
sum_over_properties_block = block_twin(sum_over_properties)
