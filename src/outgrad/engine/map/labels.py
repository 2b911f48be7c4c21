"""Labels of results: found by running the operation on arrays without content.

A rule carries the tables of gradient rows along with the arrays, so running it on arrays of no bytes
gives the labels, shapes and dtypes of its result. There is no second implementation to keep in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.chunking import gradient_edges
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath, fold_down

DType = np.dtype[Any]
Gradients = dict[str, BlockMetadata]


def without_rows(metadata: BlockMetadata, dtype: DType) -> Chunk:
    """Arrays of the block's shape but for the rows, of which there are none; reads no labels."""

    def make(path: GradientPath, _: Any, own: BlockMetadata, gradients: dict[str, Chunk]) -> Chunk:
        table = np.empty((0, len(own.samples.names)), np.int32) if path else None
        return Chunk(np.empty((0, *own.trailing), dtype), gradients, table)

    return fold_down(make, metadata)


def without_properties(metadata: BlockMetadata, dtype: DType) -> Chunk:
    """Arrays of the block's shape but for the properties, of which there are none, with all row tables."""

    def make(path: GradientPath, _: Any, own: BlockMetadata, gradients: dict[str, Chunk]) -> Chunk:
        shape = (len(own.samples), *own.trailing[:-1], 0)
        return Chunk(np.empty(shape, dtype), gradients, own.samples.values if path else None)

    return fold_down(make, metadata)


def relabelled(
    template: BlockMetadata, result: Chunk, top: BlockMetadata, rows_stay: bool = False
) -> BlockMetadata:
    """Metadata of ``result``: samples, components and properties of ``top``, gradients as in ``template``.

    Gradient labels are kept where the rule kept the table, and with ``rows_stay`` in any case: then the rule
    was run without rows.
    """

    def label(
        path: GradientPath, _: Any, below: Chunk, old: BlockMetadata, gradients: Gradients
    ) -> BlockMetadata:
        if not path:
            return BlockMetadata(top.samples, top.components, top.properties, gradients)
        samples = old.samples if rows_stay else _row_labels(old.samples, below)
        return BlockMetadata(samples, _components(old, template, top), top.properties, gradients)

    return fold_down(label, result, template)


def _components(gradient: BlockMetadata, block: BlockMetadata, head: BlockMetadata) -> tuple[Labels, ...]:
    """Those of a gradient, at any depth, when its block gets another head: it repeats the block's last."""
    return (*gradient.components[: len(gradient.components) - len(block.components)], *head.components)


def _row_labels(old: Labels, below: Chunk) -> Labels:
    if old.is_loaded and below.rows is old.values:
        return old
    return Labels(old.names, below.rows, assume_unique=True)


def template(metadata: Sequence[BlockMetadata]) -> BlockMetadata:
    """The first operand, with the gradients that only later operands have."""
    gradients: dict[str, BlockMetadata] = {}
    for other in metadata:
        for name, gradient in other.gradients.items():
            gradients.setdefault(name, gradient)
    return replace(metadata[0], gradients=gradients)


def with_head(pattern: BlockMetadata, head: BlockMetadata) -> BlockMetadata:
    """Exchange samples, components and properties of a block; its gradients keep their own components."""

    def label(path: GradientPath, _: Any, own: BlockMetadata, gradients: Gradients) -> BlockMetadata:
        samples = own.samples if path else head.samples
        return BlockMetadata(samples, _components(own, pattern, head), head.properties, gradients)

    return fold_down(label, pattern)


def same_cuts(outlines: Sequence[Outline], result: Chunk) -> Outline:
    """Outline of a result whose rows are those of its arguments."""
    edges = {path: own.edges for outline in reversed(outlines) for path, own in outline.walk()}
    return fold_down(
        lambda path, _, own, gradients: Outline(
            edges[path], own.values.shape[1:], own.values.dtype, gradients
        ),
        result,
    )


def new_cuts(edges: Edges, result: Chunk, trailing: tuple[int, ...] | None = None) -> Outline:
    """Outline of a result whose rows are known from tables; ``trailing`` if properties were left out."""
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, below in result.walk():
        if path:
            cuts[path] = _gradient_cuts(path[-1], below, cuts[path[:-1]])
    width = (trailing or result.values.shape)[-1]

    def make(path: GradientPath, _: Any, own: Chunk, gradients: dict[str, Outline]) -> Outline:
        return Outline(cuts[path], (*own.values.shape[1:-1], width), own.values.dtype, gradients)

    return fold_down(make, result)


def _gradient_cuts(name: str, gradient: Chunk, edges: Edges) -> Edges:
    """Rows of a gradient at which the rows ``edges`` of its parent fall."""
    if len(edges) <= 2:
        return np.array([0, len(gradient.rows)], dtype=np.int64)
    found = gradient_edges(gradient.rows[:, 0], edges)
    if found is None:
        raise ValidationError(
            f"the rows of gradient {name!r} are not sorted by 'sample', but its chunks are cut as if "
            "they were; verify the archive or file that they come from"
        )
    return found
