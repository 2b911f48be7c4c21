"""Leaving out parts that hold nothing, so that choosing a few rows of much does not read all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.plan.chunks import at_samples
from outgrad.plan.outline import Outline, Part, Piece


def parts_with_rows(outlines: Sequence[Outline], parts: Sequence[Part]) -> list[int]:
    """Number the parts with rows; of a block without any, the part of its first chunk, so that it stays."""
    empty = {block for block, outline in enumerate(outlines) if outline.shape[0] == 0}
    rows = [np.diff(outline.edges) for outline in outlines]
    return [
        number
        for number, part in enumerate(parts)
        if any(rows[block][chunk] > 0 or (block in empty and chunk == 0) for block, chunk in part)
    ]


def renumbered(
    outlines: Sequence[Outline], parts: Sequence[Part]
) -> tuple[tuple[Outline, ...], tuple[Part, ...]]:
    """Number the chunks that are left in ``parts`` anew; the chunks that are gone had no rows."""
    left: list[list[int]] = [[] for _ in outlines]
    for block, chunk in sorted(piece for part in parts for piece in part):
        left[block].append(chunk)
    ranks = [{chunk: rank for rank, chunk in enumerate(chunks)} for chunks in left]
    cut = tuple(
        at_samples(outline, np.array([*chunks, outline.chunk_count]))
        for outline, chunks in zip(outlines, left, strict=True)
    )
    return cut, tuple(tuple(Piece(b, ranks[b][c]) for b, c in part) for part in parts)
