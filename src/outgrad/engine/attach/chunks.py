"""Gradients put into chunks and taken out of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from outgrad.data.chunk import Chunk, ChunkList, Table
from outgrad.data.stored_rows import resolved
from outgrad.task import task


def numbered_from(rows: Table, first_parent: int) -> Table:
    """Number the parents of gradient rows from the start of their chunk."""
    table = rows.copy()
    table[:, 0] -= first_parent
    return table


@task(copies=True, holds_inputs=True)
def attach_part(parameter: str, tables: Sequence[Any], part: ChunkList, gradients: ChunkList) -> ChunkList:
    """Add a gradient to each chunk; ``tables`` are those of its rows, which may be stored."""
    out = []
    for table, chunk, gradient in zip(tables, part, gradients, strict=True):
        added = Chunk(gradient.values, gradient.gradients, resolved(table))
        out.append(Chunk(chunk.values, {**chunk.gradients, parameter: added}, chunk.table))
    return out


@task(copies=True)
def strip_part(keep: Collection[str], part: ChunkList) -> ChunkList:
    """Leave only the gradients in ``keep``."""
    return [
        Chunk(chunk.values, {p: g for p, g in chunk.gradients.items() if p in keep}, chunk.table)
        for chunk in part
    ]


@task(copies=True)
def descend_part(parameter: str, part: ChunkList) -> ChunkList:
    """Take a gradient as a block of its own."""
    out = []
    for chunk in part:
        gradient = chunk.gradients[parameter]
        out.append(Chunk(gradient.values, gradient.gradients))
    return out
