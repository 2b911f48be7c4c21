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

DType = np.dtype[Any]


def without_rows(metadata: BlockMetadata, dtype: DType) -> Chunk:
    """Arrays of the block's shape but for the rows, of which there are none; reads no labels."""
    gradients = {name: _gradient_without_rows(g, dtype) for name, g in metadata.gradients.items()}
    return Chunk(np.empty((0, *metadata.trailing), dtype), gradients)


def _gradient_without_rows(metadata: BlockMetadata, dtype: DType) -> Chunk:
    below = without_rows(metadata, dtype)
    return replace(below, table=np.empty((0, len(metadata.samples.names)), np.int32))


def without_properties(metadata: BlockMetadata, dtype: DType) -> Chunk:
    """Arrays of the block's shape but for the properties, of which there are none, with all row tables."""
    shape = (len(metadata.samples), *metadata.trailing[:-1], 0)
    gradients = {
        name: replace(without_properties(g, dtype), table=g.samples.values)
        for name, g in metadata.gradients.items()
    }
    return Chunk(np.empty(shape, dtype), gradients)


def relabelled(
    template: BlockMetadata, result: Chunk, top: BlockMetadata, rows_stay: bool = False
) -> BlockMetadata:
    """Metadata of ``result``: samples, components and properties of ``top``, gradients as in ``template``.

    Gradient labels are kept where the rule kept the table, and with ``rows_stay`` in any case: then the rule
    was run without rows.
    """
    gradients = {}
    for name, below in result.gradients.items():
        old = template.gradients[name]
        own = old.components[: len(old.components) - len(template.components)]
        samples = old.samples if rows_stay else _row_labels(old.samples, below)
        head = BlockMetadata(samples, (*own, *top.components), top.properties)
        gradients[name] = relabelled(old, below, head, rows_stay)
    return BlockMetadata(top.samples, top.components, top.properties, gradients)


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
    gradients = {}
    for name, below in pattern.gradients.items():
        own = below.components[: len(below.components) - len(pattern.components)]
        gradients[name] = with_head(
            below, BlockMetadata(below.samples, (*own, *head.components), head.properties)
        )
    return BlockMetadata(head.samples, head.components, head.properties, gradients)


def same_cuts(outlines: Sequence[Outline], result: Chunk) -> Outline:
    """Outline of a result whose rows are those of its arguments."""
    gradients = {
        name: same_cuts([o.gradients[name] for o in outlines if name in o.gradients], below)
        for name, below in result.gradients.items()
    }
    return Outline(outlines[0].edges, result.values.shape[1:], result.values.dtype, gradients)


def new_cuts(edges: Edges, result: Chunk, trailing: tuple[int, ...] | None = None) -> Outline:
    """Outline of a result whose rows are known from tables; ``trailing`` if properties were left out."""
    own = trailing or result.values.shape[1:]
    gradients = {}
    for name, below in result.gradients.items():
        found = gradient_edges(below.rows[:, 0], edges) if len(edges) > 2 else _one_chunk(below)
        if found is None:
            raise ValidationError(
                f"the rows of gradient {name!r} are not sorted by 'sample', but its chunks are cut as if "
                "they were; verify the archive or file that they come from"
            )
        gradients[name] = new_cuts(found, below, (*below.values.shape[1:-1], own[-1]))
    return Outline(edges, own, result.values.dtype, gradients)


def _one_chunk(gradient: Chunk) -> Edges:
    return np.array([0, len(gradient.rows)], dtype=np.int64)
