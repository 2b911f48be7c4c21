"""Rules run on blocks, and labels of results: found by running the rule on arrays without content.

A rule carries the tables of gradient rows along with the arrays, so running it on arrays of no bytes gives
the labels, shapes and dtypes of its result. There is no second implementation to keep in step. Other
functions of chunks, such as moves and products, find the labels of their results in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad._threads import several_threads
from outgrad.config import threads
from outgrad.data.chunk import Chunk
from outgrad.data.chunking import gradient_edges
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline, Part
from outgrad.engine.content import Blocks, InMemory, Lazy, alike
from outgrad.errors import ValidationError
from outgrad.gradients.rule import Composite, Rule, apply_part
from outgrad.graph.lazy_blocks import rowwise
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath, fold_down

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
        metadata.append(relabelled(with_all_gradients(labels), result, top(number, labels[0])))
        results.append(result)
    return leader.like(metadata, results)


@run_alike.register(Lazy)
def run_lazily(
    leader: Lazy, rule: Operation, operands: Sequence[Lazy], constants: Constants, top: Top
) -> Blocks:
    metadata, cuts = [], []
    for number in range(len(leader)):
        labels = [operand.metadata[number] for operand in operands]
        outlines = [operand.data.outlines[number] for operand in operands]
        template, head = with_all_gradients(labels), top(number, labels[0])
        nested = any(gradient.gradients for m in labels for gradient in m.gradients.values())
        # The weights of a rule that is not linear add rows to gradients of gradients: those by which the
        # weights depend on the parameter. All other rows stay, if operands agree in them: then no label
        # tables are read, which may be in storage.
        if (rule.linear or not nested) and same_gradient_rows(labels):
            arrays = [without_rows(m, o.dtype) for m, o in zip(labels, outlines, strict=True)]
            result = rule(arrays, *constants(number))
            metadata.append(relabelled(template, result, head, rows_stay=True))
            cuts.append(same_cuts(outlines, result))
        else:
            result = run_without_properties(rule, operands, number, constants(number))
            metadata.append(relabelled(template, result, head))
            cuts.append(new_cuts(outlines[0].edges, result, head.trailing))

    # What each task is told: the same object for parts of the same blocks, as there may be many parts.
    told: dict[tuple[int, ...], tuple[Any, ...]] = {}
    configs = []
    for part in leader.data.parts:
        numbers = tuple([piece.block for piece in part])
        if numbers not in told:
            told[numbers] = rule, [constants(number) for number in numbers]
        configs.append(told[numbers])

    data = [operand.data for operand in operands]
    outlines_of_all = [*(blocks.outlines for blocks in data), tuple(cuts)]
    new = rowwise(
        rule.name,
        apply_part,
        configs,
        data,
        tuple(cuts),
        lambda: _bytes_of_weights(rule, outlines_of_all, leader.data.parts),
    )
    return Lazy(tuple(metadata), new)


def _bytes_of_weights(
    rule: Operation, outlines: Sequence[tuple[Outline, ...]], parts: Sequence[Part]
) -> Iterator[int]:
    """Bytes on the way of an elementwise rule, for each part, given the outlines of arguments and result.

    Weights are of the size of values, since gradients go in pieces; a gradient that is differentiated again
    is multiplied in one go.
    """
    if isinstance(rule, Composite):
        return
    for part in parts:
        nbytes = 0
        for block, chunk in part:
            for outline in (of_blocks[block] for of_blocks in outlines):
                rows = int(outline.edges[chunk + 1] - outline.edges[chunk])
                nbytes += WEIGHTS * rows * outline.row_bytes
                nbytes += sum(int(g.held_bytes[chunk]) for g in outline.gradients.values() if g.gradients)
        yield nbytes


def run_without_properties(
    rule: Operation, operands: Sequence[Blocks], number: int, constants: tuple[Any, ...]
) -> Chunk:
    """Run a rule on the rows of the n-th blocks alone."""
    return rule([without_properties(o.metadata[number], o.dtype(number)) for o in operands], *constants)


# ---- arrays without content ----
def without_rows(metadata: BlockMetadata, dtype: np.dtype[Any]) -> Chunk:
    """Arrays of the block's shape but for the rows, of which there are none; reads no labels."""

    def make(path: GradientPath, _: Any, node: BlockMetadata, gradients: dict[str, Chunk]) -> Chunk:
        table = np.empty((0, len(node.samples.names)), np.int32) if path else None
        return Chunk(np.empty((0, *node.trailing), dtype), gradients, table)

    return fold_down(make, metadata)


def without_properties(metadata: BlockMetadata, dtype: np.dtype[Any]) -> Chunk:
    """Arrays of the block's shape but for the properties, of which there are none, with all row tables."""

    def make(path: GradientPath, _: Any, node: BlockMetadata, gradients: dict[str, Chunk]) -> Chunk:
        shape = (len(node.samples), *node.trailing[:-1], 0)
        return Chunk(np.empty(shape, dtype), gradients, node.samples.values if path else None)

    return fold_down(make, metadata)


# ---- labels of results ----
def same_gradient_rows(metadata: Sequence[BlockMetadata]) -> bool:
    """Whether gradients that several blocks have, have the same rows; digests are compared."""
    samples: dict[GradientPath, Labels] = {}
    return all(
        samples.setdefault(path, node.samples) == node.samples
        for block in metadata
        for path, node in block.walk()
        if path
    )


def with_all_gradients(metadata: Sequence[BlockMetadata]) -> BlockMetadata:
    """The first block, with the gradients that only others have, at every depth."""
    names = dict.fromkeys(name for block in metadata for name in block.gradients)
    gradients = {
        name: with_all_gradients([block.gradients[name] for block in metadata if name in block.gradients])
        for name in names
    }
    return replace(metadata[0], gradients=gradients)


def with_head(pattern: BlockMetadata, head: BlockMetadata) -> BlockMetadata:
    """Exchange samples, components and properties of a block; its gradients keep their own components."""

    def label(path: GradientPath, _: Any, node: BlockMetadata, gradients: Any) -> BlockMetadata:
        samples = node.samples if path else head.samples
        return BlockMetadata(samples, _components_with_head(node, pattern, head), head.properties, gradients)

    return fold_down(label, pattern)


def relabelled(
    template: BlockMetadata, result: Chunk, head: BlockMetadata, rows_stay: bool = False
) -> BlockMetadata:
    """Metadata of ``result``: samples, components and properties of ``head``, gradients as in ``template``.

    Gradient labels are kept where the rule kept the table, and with ``rows_stay`` in any case: then the rule
    was run without rows.
    """

    def label(
        path: GradientPath, _: Any, node: Chunk, old: BlockMetadata, gradients: dict[str, BlockMetadata]
    ) -> BlockMetadata:
        if not path:
            return BlockMetadata(head.samples, head.components, head.properties, gradients)
        samples = old.samples
        if not (rows_stay or (samples.is_loaded and node.rows is samples.values)):
            samples = Labels(samples.names, node.rows, assume_unique=True)
        return BlockMetadata(samples, _components_with_head(old, template, head), head.properties, gradients)

    return fold_down(label, result, template)


def _components_with_head(
    gradient: BlockMetadata, block: BlockMetadata, head: BlockMetadata
) -> tuple[Labels, ...]:
    """Those of a gradient, at any depth, when its block gets another head: it repeats the block's last."""
    return (*gradient.components[: len(gradient.components) - len(block.components)], *head.components)


# ---- outlines of results ----
def same_cuts(outlines: Sequence[Outline], result: Chunk) -> Outline:
    """Outline of a result whose rows are those of its arguments."""
    edges = {path: node.edges for outline in reversed(outlines) for path, node in outline.walk()}
    return fold_down(
        lambda path, _, node, gradients: Outline(
            edges[path], node.values.shape[1:], node.values.dtype, gradients
        ),
        result,
    )


def new_cuts(edges: Edges, result: Chunk, trailing: tuple[int, ...] | None = None) -> Outline:
    """Outline of a result whose rows are known from tables; ``trailing`` if properties were left out."""
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, gradient in result.walk():
        if not path:
            continue
        if len(edges) <= 2:  # one chunk has all rows, sorted or not
            cuts[path] = np.array([0, len(gradient.rows)], dtype=np.int64)
            continue
        gradient_cuts = gradient_edges(gradient.rows[:, 0], cuts[path[:-1]])
        if gradient_cuts is None:
            raise ValidationError(
                f"the rows of gradient {path[-1]!r} are not sorted by 'sample', but its chunks are cut as if "
                "they were; verify the archive or file that they come from"
            )
        cuts[path] = gradient_cuts
    width = (trailing or result.values.shape)[-1]

    def make(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Outline]) -> Outline:
        return Outline(cuts[path], (*node.values.shape[1:-1], width), node.values.dtype, gradients)

    return fold_down(make, result)
