"""Alignment of two operands: by key, and by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges
from outgrad.data.positions import places_of
from outgrad.engine.content import Blocks
from outgrad.engine.shuffle.blocks import Origin, Target, moved
from outgrad.engine.shuffle.plan import Index
from outgrad.errors import NotEqualError, ValidationError
from outgrad.labels.display import described
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, unique_rows
from outgrad.labels.sets import unite
from outgrad.ops.operands import T, agree, both, check_labels, check_same_names, key_order
from outgrad.tensor.map import TensorMap

Align = Literal["inner", "outer"] | None
"""None: the same keys and samples, in any order; else what both have, or what one of them has."""

Places = Sequence[int | None]
"""For each block of the result: the number of a block, None where there is none."""


@dataclass(frozen=True, eq=False)
class _Match:
    """Samples of one block of the result, and where the rows of both operands go (None: nothing moves)."""

    samples: Labels
    rows: tuple[Index | None, Index | None] = (None, None)


def check_align(call: str, align: Any) -> None:
    """Refuse other words."""
    if align not in (None, "inner", "outer"):
        raise ValidationError(f"{call}: align must be None, 'inner' or 'outer', got {align!r}")


def aligned(
    call: str, A: T, B: T, align: Align, constants: bool = False
) -> tuple[Labels | None, list[Blocks]]:
    """Bring two operands to the same keys and samples; blocks alone have no keys.

    Properties, components and gradient parameters must be the same; gradient rows may differ. With
    ``constants`` one of the operands may have no gradients at all.
    """
    first, second = both(call, A, B)
    keys: Labels | None = None
    places: tuple[Places, Places] = ([0], [0])
    if isinstance(A, TensorMap) and isinstance(B, TensorMap):
        keys, places = _keys(call, A.keys, B.keys, align)
    if align == "outer" and len(first) and len(second):
        check_same_names(call, first.metadata[0], second.metadata[0])
    found = [_metadata(content, own) for content, own in zip((first, second), places, strict=True)]
    matches = [
        _match(call, a, b, where, align, constants)
        for a, b, where in zip(*found, _names(places[0]), strict=True)
    ]
    dtypes = [content.dtype(0) if len(content) else None for content in (first, second)]
    left = _bring(first, 0, places[0], matches, found[1], dtypes[0] or dtypes[1])
    right = _bring(second, 1, places[1], matches, found[0], dtypes[1] or dtypes[0], _edges(left))
    return keys, [left, right]


def _metadata(content: Blocks, places: Places) -> list[BlockMetadata | None]:
    return [None if place is None else content.metadata[place] for place in places]


def _names(places: Places) -> list[str]:
    return [f"block {place}" for place in places] if len(places) > 1 else ["the blocks"] * len(places)


def _edges(content: Blocks) -> list[Edges] | None:
    """Where the first operand is cut: the second one is then cut alike at once."""
    return None if content.lazy is None else [outline.edges for outline in content.lazy.outlines]


# ---- keys ----
def _keys(call: str, keys: Labels, others: Labels, align: Align) -> tuple[Labels, tuple[Places, Places]]:
    if align is None or keys == others:
        return keys, (range(len(keys)), key_order(call, keys, others))
    if keys.names != others.names:
        raise NotEqualError(
            f"inputs to '{call}' should have the same key names; found {keys.names} and {others.names}"
        )
    if align == "inner":
        there = find_rows(others.values, keys.values)
        kept = np.flatnonzero(there >= 0)
        common = Labels(keys.names, keys.values[kept], assume_unique=True)
        return common, (kept.tolist(), there[kept].tolist())
    table, places = unite([keys.values, others.values], sort=False)
    union = Labels(keys.names, table, assume_unique=True)
    return union, (_numbers(places[0], len(table)), _numbers(places[1], len(table)))


def _numbers(places: Index, size: int) -> Places:
    numbers: list[int | None] = [None] * size
    for number, place in enumerate(places.tolist()):
        numbers[place] = number
    return numbers


# ---- samples ----
def _match(
    call: str,
    a: BlockMetadata | None,
    b: BlockMetadata | None,
    where: str,
    align: Align,
    constants: bool,
) -> _Match:
    if a is None or b is None:
        only = b if a is None else a
        assert only is not None, "one of the operands has the key"
        return _Match(only.samples)
    match = _samples(call, a.samples, b.samples, where, align)
    check_labels(call, a, b, where, ("properties", "components"), constants)
    return match


def _samples(call: str, a: Labels, b: Labels, where: str, align: Align) -> _Match:
    if a == b if align else agree(a, b):
        return _Match(a)
    if a.names != b.names or (align is None and len(a) != len(b)):
        raise NotEqualError(
            f"inputs to '{call}' should have the same samples; in {where} found {described(a)}, "
            f"and {described(b)}" + (ADVICE if a.names == b.names else "")
        )
    if align == "outer":
        return _union(a, b)
    at = find_rows(b.values, a.values)
    if align is None and (at < 0).any():
        missing = a.entry(int((at < 0).argmax()))
        raise NotEqualError(
            f"inputs to '{call}' should have the same samples; in {where} {missing.print()} is only in the "
            f"first{ADVICE}"
        )
    return _common(a, b, at)


ADVICE = "; align='inner' or 'outer' takes the samples of both, or of either"


def _common(a: Labels, b: Labels, at: Index) -> _Match:
    """The samples of the first that the second has, at positions ``at``, in the order of the first."""
    kept = np.flatnonzero(at >= 0)
    if len(kept) == len(a):
        return _Match(a, (None, _moves(at, len(b))))
    samples = Labels(a.names, a.values[kept], assume_unique=True)
    return _Match(samples, (_moves(kept, len(a)), _moves(at[kept], len(b))))


def _union(a: Labels, b: Labels) -> _Match:
    table, places = unique_rows(np.concatenate([a.values, b.values]))
    rows = tuple(
        None if np.array_equal(own, np.arange(len(table))) else own for own in np.split(places, [len(a)])
    )
    whole = [labels for labels, own in zip((a, b), rows, strict=True) if own is None]
    samples = whole[0] if whole else Labels(a.names, table, assume_unique=True)
    return _Match(samples, (rows[0], rows[1]))


def _moves(picks: Index, count: int) -> Index | None:
    """Where each of ``count`` rows goes when rows ``picks`` are taken; None if each stays."""
    if len(picks) == count and np.array_equal(picks, np.arange(count)):
        return None
    return places_of(picks, count)


# ---- data ----
def _bring(
    content: Blocks,
    side: int,
    places: Places,
    matches: Sequence[_Match],
    others: Sequence[BlockMetadata | None],
    dtype: np.dtype[Any] | None,
    edges: Sequence[Edges] | None = None,
) -> Blocks:
    """Choose the blocks of one operand and move its rows; a block that it lacks is zero."""
    present = [place for place in places if place is not None]
    if len(present) == len(places) and all(match.rows[side] is None for match in matches):
        return content.select(present)
    numbers = {place: number for number, place in enumerate(present)}
    targets = []
    for n, (place, match, other) in enumerate(zip(places, matches, others, strict=True)):
        head = other if place is None else content.metadata[place]
        assert head is not None, "one of the operands has the key"
        origins = () if place is None else (Origin(numbers[place], match.rows[side]),)
        cut = None if edges is None else edges[n]
        targets.append(Target(replace(head, samples=match.samples), origins, dtype=dtype, edges=cut))
    return moved("align", [(content, place) for place in present], targets)
