"""The builders of task graphs: one layer for all blocks of a map, one task a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from outgrad.kernels.chunk import Chunk
from outgrad.kernels.pieces import cut
from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks, held_bytes, top_layers
from outgrad.lazy.memory import Note, Notes, SizedLayer
from outgrad.plan.chunks import pack
from outgrad.plan.outline import Outline, Part, Piece
from outgrad.plan.recut import Source, sources
from outgrad.plan.requests import request
from outgrad.rules.named import RULES
from outgrad.rules.term import Composite

Function = Callable[..., Any]

WEIGHTS = 2
"""How many arrays of the size of each argument's and the result's values a rule has at a time."""

Place = tuple[Key, int]


def add_layer(
    name: str,
    layer: Mapping[Key, Any],
    parents: Iterable[HighLevelGraph],
    note: Note,
) -> HighLevelGraph:
    """Put a layer on top of the graphs of its parents; ``note`` tells the memory of its tasks."""
    layers: dict[str, Any] = {}
    dependencies: dict[str, set[str]] = {}
    tops: set[str] = set()
    for parent in parents:
        layers.update(parent.layers)
        dependencies.update(parent.dependencies)
        tops.update(top_layers(parent))
    used = _used_names(layer)
    layers[name] = SizedLayer(dict(layer), note)
    dependencies[name] = (used if used <= layers.keys() else tops) - {name}
    return HighLevelGraph(layers, dependencies)


def _used_names(layer: Mapping[Key, Any]) -> set[Any]:
    """Names of the keys on which a layer builds: mostly, but not after persisting, those of their layers."""
    used = {key for task in layer.values() for key in task.dependencies if key not in layer}
    return {key[0] if isinstance(key, tuple) else key for key in used}


def add_blocks(
    name: str,
    layer: Mapping[Key, Any],
    parents: Iterable[HighLevelGraph],
    keys: Sequence[Key],
    parts: tuple[Part, ...],
    outlines: tuple[Outline, ...],
    inner: Note | None = None,
) -> LazyBlocks:
    """Put a layer on top that makes blocks; ``inner`` tells the memory of tasks on the way to them."""

    def note() -> Notes:
        own = Notes({}) if inner is None else inner()
        made = dict(zip(keys, held_bytes(outlines, parts), strict=True))
        return Notes({**own.sizes, **made}, own.work)

    return LazyBlocks(add_layer(name, layer, parents, note), tuple(keys), parts, outlines)


def outlines_token(outlines: Sequence[Outline], parts: Sequence[Part]) -> str:
    """Name the chunking: it is hashed as one array, since thousands of small ones take long."""
    edges = [o.edges for outline in outlines for _, o in outline.walk()]
    lengths = [len(e) for e in edges]
    joined = np.concatenate([*edges, np.zeros(0, np.int64)])
    flat = [number for part in parts for piece in part for number in piece]
    counts = [len(part) for part in parts]
    return str(tokenize(joined.tobytes(), np.array(lengths).tobytes(), str(flat), str(counts)))


def read_blocks(reader: tasks.Reader, outlines: tuple[Outline, ...], parts: tuple[Part, ...]) -> LazyBlocks:
    """Read blocks from storage, one task a part."""
    name = f"read-{tokenize(reader.token, outlines_token(outlines, parts))}"
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    layer = {
        key: Task(key, tasks.read_part, reader, tuple(request(outlines, piece) for piece in part))
        for key, part in zip(keys, parts, strict=True)
    }
    return add_blocks(name, layer, (), keys, parts, outlines)


def made_blocks(
    label: str,
    function: Function,
    configs: Sequence[tuple[Any, ...]],
    outlines: tuple[Outline, ...],
    parts: tuple[Part, ...],
    token: Any,
) -> LazyBlocks:
    """Make blocks of nothing but ``configs``: the n-th part is ``function(*configs[n])``."""
    name = f"{label}-{tokenize(token, outlines_token(outlines, parts))}"
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    layer = {key: Task(key, function, *config) for key, config in zip(keys, configs, strict=True)}
    return add_blocks(name, layer, (), keys, parts, outlines)


def from_chunks(chunks: Sequence[Chunk], outlines: tuple[Outline, ...], target_bytes: int) -> LazyBlocks:
    """Hold blocks that are in memory already; the chunks are views."""
    parts = pack(outlines, target_bytes)
    content = [[a for _, g in chunk.walk() for a in (g.values, g.table)] for chunk in chunks]
    name = f"memory-{tokenize(content, outlines_token(outlines, parts))}"
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    layer = {
        key: DataNode(key, [cut(chunks[piece.block], request(outlines, piece).ranges) for piece in part])
        for key, part in zip(keys, parts, strict=True)
    }
    return add_blocks(name, layer, (), keys, parts, outlines)


def rowwise(
    label: str,
    function: Function,
    configs: Sequence[tuple[Any, ...]],
    operands: Sequence[LazyBlocks],
    outlines: tuple[Outline, ...],
    token: Any,
) -> LazyBlocks:
    """Run ``function(*configs[n], *parts)`` on the n-th parts of operands that are cut alike."""
    first = operands[0]
    assert all(operand.parts == first.parts for operand in operands), "operands must be cut alike first"
    name = f"{label}-{tokenize(token, [operand.identity for operand in operands])}"
    keys: list[Key] = [(name, number) for number in range(len(first.parts))]
    layer = {
        key: Task(key, function, *config, *(TaskRef(operand.keys[number]) for operand in operands))
        for number, (key, config) in enumerate(zip(keys, configs, strict=True))
    }
    parents = [operand.graph for operand in operands]

    def inner() -> Notes:
        return Notes({}, dict(zip(keys, _rule_work(function, configs, operands, outlines), strict=False)))

    return add_blocks(name, layer, parents, keys, first.parts, outlines, inner)


def _rule_work(
    function: Function,
    configs: Sequence[tuple[Any, ...]],
    operands: Sequence[LazyBlocks],
    outlines: tuple[Outline, ...],
) -> Iterator[int]:
    """Bytes on the way of elementwise rules: weights of the size of values, since gradients go in pieces.

    A gradient that is differentiated again is multiplied as a whole.
    """
    if function is not tasks.run_rule:
        return
    made = [own.outlines for own in operands] + [outlines]
    for (rule, *_), part in zip(configs, operands[0].parts, strict=True):
        if isinstance(RULES[rule], Composite):
            return
        yield sum(_passing(own[block], chunk) for block, chunk in part for own in made)


def _passing(outline: Outline, chunk: int) -> int:
    values = int(outline.edges[chunk + 1] - outline.edges[chunk]) * outline.row_bytes
    below = (gradient.held_bytes[chunk] for gradient in outline.gradients.values() if gradient.gradients)
    return WEIGHTS * values + int(sum(below))


def collect(items: Sequence[tuple[LazyBlocks, int]], target_bytes: int) -> LazyBlocks:
    """Choose blocks, from one or several graphs, and pack them into parts."""
    outlines = tuple(blocks.outlines[number] for blocks, number in items)
    places = [list(blocks.chunks_of(number)) for blocks, number in items]
    parts = pack(outlines, target_bytes)
    graphs = [own.graph for own in distinct(blocks for blocks, _ in items)]
    name = f"collect-{tokenize(places, target_bytes)}"
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    layer = {
        key: _collect_task(key, [places[piece.block][piece.chunk] for piece in part])
        for key, part in zip(keys, parts, strict=True)
    }
    return add_blocks(name, layer, graphs, keys, parts, outlines)


def _collect_task(key: Key, places: Sequence[Place]) -> Task:
    numbers, used = refs(places)
    return Task(key, tasks.collect, [(numbers[k], place) for k, place in places], *used)


def distinct(blocks: Iterable[LazyBlocks]) -> list[LazyBlocks]:
    """Each of some lazy blocks once."""
    return list({id(own): own for own in blocks}.values())


def part_sizes(blocks: Iterable[LazyBlocks]) -> dict[Key, int]:
    """Bytes of the result of every part, by its key."""
    return {key: size for own in blocks for key, size in zip(own.keys, own.part_bytes, strict=True)}


def refs(places: Iterable[Place]) -> tuple[dict[Key, int], list[TaskRef]]:
    """Number the keys that a task reads: each is passed once, however many of its chunks are used."""
    numbers: dict[Key, int] = {}
    for key, _ in places:
        numbers.setdefault(key, len(numbers))
    return numbers, [TaskRef(key) for key in numbers]


def recut(blocks: LazyBlocks, outlines: tuple[Outline, ...], parts: tuple[Part, ...]) -> LazyBlocks:
    """Cut the same blocks at other rows, in other parts."""
    if blocks.parts == parts and all(map(_cut_alike, blocks.outlines, outlines)):
        return blocks
    name = f"recut-{tokenize(blocks.identity, outlines_token(outlines, parts))}"
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    layer = {
        key: _recut_task(key, blocks, [sources(blocks.outlines, outlines, piece) for piece in part], part)
        for key, part in zip(keys, parts, strict=True)
    }
    return add_blocks(name, layer, [blocks.graph], keys, parts, outlines)


def _cut_alike(a: Outline, b: Outline) -> bool:
    return a is b or np.array_equal(a.edges, b.edges)


def _recut_task(key: Key, blocks: LazyBlocks, pieces: Sequence[Sequence[Source]], part: Part) -> Task:
    found = [
        [(blocks.places[Piece(piece.block, source.chunk)], source.ranges) for source in own]
        for piece, own in zip(part, pieces, strict=True)
    ]
    numbers, used = refs(place for own in found for place, _ in own)
    recipe = [[(numbers[k], place, ranges) for (k, place), ranges in own] for own in found]
    return Task(key, tasks.recut, recipe, *used)
