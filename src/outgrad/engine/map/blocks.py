"""One way to run a rule on blocks: at once on arrays in memory, as a graph on lazy ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from typing import Any

from outgrad._threads import several_threads
from outgrad.config import threads
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline, Part
from outgrad.engine.content import Blocks, InMemory, Lazy, alike
from outgrad.engine.map import labels as relabel
from outgrad.gradients.rule import Composite, Rule, apply_part
from outgrad.graph.lazy_blocks import LazyBlocks, rowwise

Operation = Rule | Composite

WEIGHTS = 2
"""How many arrays of the size of each argument's and the result's values a rule has at a time."""

Constants = Callable[[int], tuple[Any, ...]]
"""The constants of the rule for the n-th block."""

Top = Callable[[int, BlockMetadata], BlockMetadata]
"""Samples, components and properties of the n-th result, given those of the first operand."""


def unchanged(number: int, metadata: BlockMetadata) -> BlockMetadata:
    """The result has the labels of the first operand."""
    return metadata


def run_rule(
    rule: Operation, operands: Sequence[Blocks], constants: Constants, top: Top = unchanged
) -> Blocks:
    """Run a rule that works on every sample by itself."""
    operands = alike(operands)
    return run_alike(operands[0], rule, operands, constants, top)


@singledispatch
def run_alike(
    leader: Blocks, rule: Operation, operands: Sequence[Blocks], constants: Constants, top: Top
) -> Blocks:
    """Run a rule on operands that are all of the kind of ``leader``."""
    raise NotImplementedError


@run_alike.register(InMemory)
def run_in_memory(
    leader: InMemory, rule: Operation, operands: Sequence[InMemory], constants: Constants, top: Top
) -> Blocks:
    metadata, results = [], []
    for number in range(len(leader)):
        labels = [operand.metadata[number] for operand in operands]
        chunks = [operand.with_tables(number) for operand in operands]
        with several_threads(threads()):
            result = rule(chunks, *constants(number))
        metadata.append(relabel.relabelled(relabel.template(labels), result, top(number, labels[0])))
        results.append(result)
    return leader.like(metadata, results)


@run_alike.register(Lazy)
def run_lazily(
    leader: Lazy, rule: Operation, operands: Sequence[Lazy], constants: Constants, top: Top
) -> Blocks:
    results = [_plan(rule, operands, number, constants(number), top) for number in range(len(leader))]
    outlines = tuple(outline for _, outline in results)
    data = [operand.data for operand in operands]
    configs = _configs(rule, constants, leader.data.parts)
    new = rowwise(rule.name, apply_part, configs, data, outlines, lambda: _rule_work(rule, data, outlines))
    return Lazy(tuple(metadata for metadata, _ in results), new)


def _rule_work(
    rule: Operation, operands: Sequence[LazyBlocks], outlines: tuple[Outline, ...]
) -> Iterator[int]:
    """Bytes on the way of elementwise rules: weights of the size of values, since gradients go in pieces.

    A gradient that is differentiated again is multiplied as a whole.
    """
    if isinstance(rule, Composite):
        return
    made = [own.outlines for own in operands] + [outlines]
    for part in operands[0].parts:
        yield sum(_passing(own[block], chunk) for block, chunk in part for own in made)


def _passing(outline: Outline, chunk: int) -> int:
    values = int(outline.edges[chunk + 1] - outline.edges[chunk]) * outline.row_bytes
    below = (gradient.held_bytes[chunk] for gradient in outline.gradients.values() if gradient.gradients)
    return WEIGHTS * values + int(sum(below))


def _configs(rule: Operation, constants: Constants, parts: Sequence[Part]) -> list[tuple[Any, ...]]:
    """What each task is told: the same object for parts of the same blocks, as there may be many."""
    made: dict[tuple[int, ...], tuple[Any, ...]] = {}
    found = []
    for part in parts:
        numbers = tuple([piece.block for piece in part])
        config = made.get(numbers)
        if config is None:
            config = made[numbers] = rule, [constants(number) for number in numbers]
        found.append(config)
    return found


def _plan(
    rule: Operation, operands: Sequence[Lazy], number: int, constants: tuple[Any, ...], top: Top
) -> tuple[BlockMetadata, Outline]:
    """Metadata and outline of a lazy result; label tables are read only where rows have to be united."""
    labels = [operand.metadata[number] for operand in operands]
    cuts = [operand.data.outlines[number] for operand in operands]
    template, head = relabel.template(labels), top(number, labels[0])
    if _rows_stay(rule, labels):
        arrays = [relabel.without_rows(m, o.dtype(number)) for m, o in zip(labels, operands, strict=True)]
        result = rule(arrays, *constants)
        return relabel.relabelled(template, result, head, rows_stay=True), relabel.same_cuts(cuts, result)
    result = shadows(rule, operands, number, constants)
    outline = relabel.new_cuts(cuts[0].edges, result, head.trailing)
    return relabel.relabelled(template, result, head), outline


def shadows(rule: Operation, operands: Sequence[Blocks], number: int, constants: tuple[Any, ...]) -> Chunk:
    """Run a rule on the rows alone."""
    bare = [relabel.without_properties(o.metadata[number], o.dtype(number)) for o in operands]
    return rule(bare, *constants)


def _rows_stay(rule: Operation, metadata: Sequence[BlockMetadata]) -> bool:
    nested = any(gradient.gradients for m in metadata for gradient in m.gradients.values())
    if nested and not rule.linear:
        return False
    return all(_same_rows(metadata[0], other) for other in metadata[1:])


def _same_rows(a: BlockMetadata, b: BlockMetadata) -> bool:
    others = dict(b.walk())
    return all(own.samples == others[path].samples for path, own in a.walk() if path and path in others)
