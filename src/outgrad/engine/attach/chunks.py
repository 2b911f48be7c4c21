"""Gradients put into chunks and taken out of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, ChunkList
from outgrad.task import task


@task(copies=True, holds_inputs=True)
def attach_part(parameter: str, tables: Sequence[Any], part: ChunkList, gradients: ChunkList) -> ChunkList:
    """Add a gradient to each piece; ``tables`` give the local rows it belongs to."""
    out = []
    for table, chunk, gradient in zip(tables, part, gradients, strict=True):
        rows = table if isinstance(table, np.ndarray) else table.resolve()
        added = Chunk(gradient.values, gradient.gradients, rows)
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
