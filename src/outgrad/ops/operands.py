"""Arguments of operations: their types, and two operands that are aligned by key and by sample."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from outgrad._foreign import kind_of, of_package, plain
from outgrad.config import checks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges
from outgrad.data.positions import Index, places_of
from outgrad.engine.content import Blocks
from outgrad.engine.shuffle.blocks import Origin, Target, moved
from outgrad.errors import NotEqualError, ValidationError
from outgrad.labels.display import described
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, unique_rows
from outgrad.labels.sets import unite
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.check import gradient_of
from outgrad.tensor.map import TensorMap

T = TypeVar("T", TensorMap, TensorBlock)

Names = str | Sequence[str]
"""One name or several."""


def content(call: str, name: str, given: Any) -> Blocks:
    """The blocks of a map, or a single block."""
    if not isinstance(given, (TensorMap, TensorBlock)):
        raise TypeError(f"{call}: {name} must be a TensorMap or a TensorBlock, got {kind_of(given)}")
    return given._blocks()


def like(original: T, result: Blocks, keys: Labels | None = None) -> T:
    """Wrap blocks as what they came from: same info, and the same keys unless others are given."""
    if isinstance(original, TensorMap):
        return TensorMap._of(original.keys if keys is None else keys, result, original._info)
    return TensorBlock._of(result)


def is_number(given: Any) -> bool:
    """Whether ``given`` is a number of Python or NumPy, an array without axes included."""
    return isinstance(given, numbers.Number) or (getattr(given, "ndim", None) == 0 and hasattr(given, "item"))


def number(given: Any) -> float | complex:
    """The plain number: it does not widen float32, as metatensor's scalars do not."""
    if isinstance(given, np.ndarray):
        given = plain("a number", given)
    own = given.item() if hasattr(given, "item") else given
    return own if isinstance(own, complex) else float(own)


def both(call: str, A: T, B: T, names: tuple[str, str] = ("A", "B")) -> tuple[Blocks, Blocks]:
    """Two operands of one kind, as they come."""
    first, second = content(call, names[0], A), content(call, names[1], B)
    if isinstance(A, TensorMap) != isinstance(B, TensorMap):
        raise TypeError(f"{call}: {names[0]} is a {type(A).__name__}, but {names[1]} is a {type(B).__name__}")
    return first, second


def pair(call: str, A: T, B: T, names: tuple[str, str] = ("A", "B")) -> list[Blocks]:
    """Two operands of one kind; the second map in the order of the keys of the first."""
    first, second = both(call, A, B, names)
    if isinstance(A, TensorMap) and isinstance(B, TensorMap):
        second = second.select(key_order(call, A.keys, B.keys))
    return [first, second]


def key_order(call: str, keys: Labels, others: Labels) -> Sequence[int]:
    """Where each key of the first map is in the second; the sets must be the same."""
    if keys == others:
        return range(len(keys))
    if keys.names != others.names:
        raise NotEqualError(
            f"inputs to '{call}' should have the same keys names, got {keys.names} and {others.names}"
        )
    if len(keys) != len(others):
        raise NotEqualError(
            f"inputs to '{call}' should have the same number of blocks, got {len(keys)} and {len(others)}"
        )
    order = find_rows(others.values, keys.values)
    if (order < 0).any():
        missing = keys.entry(int((order < 0).argmax()))
        raise NotEqualError(
            f"inputs to '{call}' should have the same keys; {missing.print()} is only in the first"
        )
    return [int(place) for place in order]


AXES = ("samples", "properties", "components")


def check_labels(
    call: str,
    a: BlockMetadata,
    b: BlockMetadata,
    where: str,
    axes: Sequence[str] = AXES,
    constants: bool = False,
) -> None:
    """The labels of some axes agree, and the gradient parameters; gradient rows may differ.

    With ``constants`` one of the two may have no gradients at all.
    """
    for axis in axes:
        x, y = getattr(a, axis), getattr(b, axis)
        if agree(x, y):
            continue
        if axis != "components":
            found = f"{described(x)}, and {described(y)}"
        else:
            found = f"{[component.names for component in x]} and {[component.names for component in y]}"
        unlike = f"should have the same {axis}, but they are not the same or not in the same order"
        if axis == "components" and len(x) != len(y):
            unlike = "have a different number of components"
        raise NotEqualError(f"inputs to '{call}' {unlike}; in {where} found {found}")
    if constants and not (a.gradients and b.gradients):
        return
    for path, gradient in a.walk():
        other = b.at(path)
        if path and not (
            gradient.samples.names == other.samples.names and agree(gradient.components, other.components)
        ):
            raise NotEqualError(
                f"inputs to '{call}' should have the same gradients: sample names or components of "
                f"{gradient_of(path, where)} are not the same, found "
                f"{gradient.samples.names}, {[c.names for c in gradient.components]} and "
                f"{other.samples.names}, {[c.names for c in other.components]}"
            )
        if gradient.gradients.keys() != other.gradients.keys():
            raise NotEqualError(
                f"inputs to '{call}' should have the same gradient parameters; in {gradient_of(path, where)} "
                f"found {list(gradient.gradients)} and {list(other.gradients)}"
            )


def agree(a: Labels | Sequence[Labels], b: Labels | Sequence[Labels]) -> bool:
    """Whether labels are the same; where checks are disabled, whether they have as many entries."""
    if a is b:
        return True
    if checks():
        return a == b
    if isinstance(a, Labels):
        return len(a) == len(b)
    return [len(labels) for labels in a] == [len(labels) for labels in b]


def check_same_names(call: str, a: BlockMetadata, b: BlockMetadata, axes: Sequence[str] = AXES) -> None:
    """Blocks that are to be in one map agree in names and gradient parameters; entries may differ."""

    def names(metadata: BlockMetadata, axes: Sequence[str]) -> dict[str, list[str]]:
        by_axis = {
            "samples": ("sample names", metadata.samples.names),
            "components": ("component names", [component.names[0] for component in metadata.components]),
            "properties": ("property names", metadata.properties.names),
        }
        return {**dict(by_axis[axis] for axis in axes), "gradients": sorted(metadata.gradients)}

    for path, gradient in a.walk():
        compared = ("samples", "components") if path else axes
        others = names(b.at(path), compared)
        for kind, found in names(gradient, compared).items():
            if found != others[kind]:
                raise NotEqualError(
                    f"inputs to '{call}' should have the same {kind}; found {found} and {others[kind]}"
                )


def names_of(call: str, argument: str, given: Any) -> list[str]:
    """One name or several, as a list."""
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(isinstance(name, str) for name in names):
        got = kind_of(given) if of_package(given) else repr(given)
        raise TypeError(f"{call}: {argument} must be a str or a list of str, got {got}")
    return names


# ---- alignment ----
Align = Literal["inner", "outer"] | None
"""None: the same keys and samples, in any order; else what both have, or what one of them has."""

BlockNumbers = Sequence[int | None]
"""For each block of the result: the number of a block of an operand, None where it has none."""


@dataclass(frozen=True, eq=False)
class _Match:
    """Samples of one block of the result, and where the rows of both operands go (None: nothing moves)."""

    samples: Labels
    rows: tuple[Index | None, Index | None] = (None, None)


def check_align(call: str, align: Any) -> None:
    """Raise unless ``align`` is valid."""
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
    numbers: tuple[BlockNumbers, BlockNumbers] = ([0], [0])
    if isinstance(A, TensorMap) and isinstance(B, TensorMap):
        keys, numbers = _align_keys(call, A.keys, B.keys, align)
    if align == "outer" and len(first) and len(second):
        check_same_names(call, first.metadata[0], second.metadata[0])
    lefts, rights = (
        [None if number is None else blocks.metadata[number] for number in chosen]
        for blocks, chosen in zip((first, second), numbers, strict=True)
    )
    matches = []
    for number, a, b in zip(numbers[0], lefts, rights, strict=True):
        if a is not None and b is not None:
            where = f"block {number}" if len(lefts) > 1 else "the blocks"
            matches.append(_align_samples(call, a.samples, b.samples, where, align))
            check_labels(call, a, b, where, ("properties", "components"), constants)
        else:
            only = b if a is None else a
            assert only is not None, "one of the operands has the key"
            matches.append(_Match(only.samples))
    dtypes = [blocks.dtype(0) if len(blocks) else None for blocks in (first, second)]
    left = _bring(first, 0, numbers[0], matches, rights, dtypes[0] or dtypes[1])
    # The second operand is cut like the first at once, if that is lazy.
    cuts = [left.outline(number) for number in range(len(left))]
    edges = [None if cut is None else cut.edges for cut in cuts]
    right = _bring(second, 1, numbers[1], matches, lefts, dtypes[1] or dtypes[0], edges)
    return keys, [left, right]


def _align_keys(
    call: str, keys: Labels, others: Labels, align: Align
) -> tuple[Labels, tuple[BlockNumbers, BlockNumbers]]:
    """Keys of the result, and which blocks of the operands they belong to."""
    if align is None or keys == others:
        return keys, (range(len(keys)), key_order(call, keys, others))
    if keys.names != others.names:
        raise NotEqualError(
            f"inputs to '{call}' should have the same key names; found {keys.names} and {others.names}"
        )
    if align == "inner":
        positions = find_rows(others.values, keys.values)
        kept = np.flatnonzero(positions >= 0)
        common = Labels(keys.names, keys.values[kept], assume_unique=True)
        return common, (kept.tolist(), positions[kept].tolist())
    table, places = unite([keys.values, others.values], sort=False)
    numbers: tuple[list[int | None], list[int | None]] = ([None] * len(table), [None] * len(table))
    for side in (0, 1):
        for number, place in enumerate(places[side].tolist()):
            numbers[side][place] = number
    return Labels(keys.names, table, assume_unique=True), numbers


ADVICE = "; use align='inner' to keep common samples, or align='outer' to keep all"


def _align_samples(call: str, a: Labels, b: Labels, where: str, align: Align) -> _Match:
    if a == b if align else agree(a, b):
        return _Match(a)
    if a.names != b.names or (align is None and len(a) != len(b)):
        raise NotEqualError(
            f"inputs to '{call}' should have the same samples; in {where} found {described(a)}, "
            f"and {described(b)}" + (ADVICE if a.names == b.names else "")
        )
    if align == "outer":
        table, united = unique_rows(np.concatenate([a.values, b.values]))
        rows = [_moves(own, len(table)) for own in np.split(united, [len(a)])]
        # Labels that are all of the union already are passed on: they may be stored.
        whole = [labels for labels, moves in zip((a, b), rows, strict=True) if moves is None]
        samples = whole[0] if whole else Labels(a.names, table, assume_unique=True)
        return _Match(samples, (rows[0], rows[1]))
    positions = find_rows(b.values, a.values)
    if align is None and (positions < 0).any():
        missing = a.entry(int((positions < 0).argmax()))
        raise NotEqualError(
            f"inputs to '{call}' should have the same samples; in {where} {missing.print()} is only in the "
            f"first{ADVICE}"
        )
    kept = np.flatnonzero(positions >= 0)
    if len(kept) == len(a):
        return _Match(a, (None, _inverse(positions, len(b))))
    samples = Labels(a.names, a.values[kept], assume_unique=True)
    return _Match(samples, (_inverse(kept, len(a)), _inverse(positions[kept], len(b))))


def _moves(positions: Index, count: int) -> Index | None:
    """Positions in an array of ``count`` rows; None if nothing moves."""
    return None if np.array_equal(positions, np.arange(count)) else positions


def _inverse(taken: Index, count: int) -> Index | None:
    """Where each of ``count`` rows goes when rows ``taken`` are taken; None if nothing moves."""
    return None if _moves(taken, count) is None else places_of(taken, count)


def _bring(
    blocks: Blocks,
    side: int,
    numbers: BlockNumbers,
    matches: Sequence[_Match],
    others: Sequence[BlockMetadata | None],
    dtype: np.dtype[Any] | None,
    edges: Sequence[Edges | None] | None = None,
) -> Blocks:
    """Choose the blocks of one operand and move its rows; a block that it lacks is zero."""
    present = [number for number in numbers if number is not None]
    if len(present) == len(numbers) and all(match.rows[side] is None for match in matches):
        return blocks.select(present)
    inputs = {number: place for place, number in enumerate(present)}
    targets = []
    for n, (number, match, other) in enumerate(zip(numbers, matches, others, strict=True)):
        head = other if number is None else blocks.metadata[number]
        assert head is not None, "one of the operands has the key"
        origins = () if number is None else (Origin(inputs[number], match.rows[side]),)
        cut = None if edges is None else edges[n]
        targets.append(Target(replace(head, samples=match.samples), origins, dtype=dtype, edges=cut))
    return moved("align", [(blocks, number) for number in present], targets)
