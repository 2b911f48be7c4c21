"""Systems of equations: the factor of every chunk, a tree of factors for each block, then the solution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.kernels.factor import factor_bytes, factor_work
from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import Place, add_blocks, outlines_token, refs
from outgrad.lazy.memory import Notes
from outgrad.lazy.tree import fan_in, merge_in_tree
from outgrad.plan.chunks import pack
from outgrad.plan.outline import Outline
from outgrad.rules.equations import System


def solve_blocks(
    x: LazyBlocks, y: LazyBlocks, systems: Sequence[System], outlines: tuple[Outline, ...], target_bytes: int
) -> LazyBlocks:
    """Solve the equations of each block of ``x`` and ``y``, which are cut alike."""
    assert x.parts == y.parts, "operands must be cut alike first"
    parts = pack(outlines, target_bytes)
    settings = [tuple(map(str, system)) for system in systems]
    token = tokenize(x.identity, y.identity, settings, target_bytes, outlines_token(outlines, parts))
    name = f"solve-{token}"
    layer: dict[Key, Any] = {}
    factors: dict[Key, Key] = {}
    sizes: dict[Key, int] = {}
    work: dict[Key, int] = {}
    widths = [a.trailing[-1] + b.trailing[-1] for a, b in zip(x.outlines, y.outlines, strict=True)]
    for number, (left, right) in enumerate(zip(x.keys, y.keys, strict=True)):
        factors[left] = own = (f"factor-{name}", number)
        layer[own] = Task(own, tasks.factor, TaskRef(left), TaskRef(right))
        held = [widths[piece.block] for piece in x.parts[number]]
        sizes[own] = sum(map(factor_bytes, held))
        work[own] = max(map(factor_work, held), default=0)
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    for key, part in zip(keys, parts, strict=True):
        found = []
        for piece in part:
            places = [(factors[of], place) for of, place in x.chunks_of(piece.block)]
            nbytes = factor_bytes(widths[piece.block])
            tree = _tree(layer, f"{name}-tree-{piece.block}", places, fan_in(target_bytes, nbytes))
            sizes.update(dict.fromkeys((of for of, _ in tree if of not in sizes), nbytes))
            found.append(tree)
        numbers, used = refs(place for own in found for place in own)
        recipes = [
            (systems[piece.block], [(numbers[of], place) for of, place in own])
            for piece, own in zip(part, found, strict=True)
        ]
        layer[key] = Task(key, tasks.solve, recipes, *used)
    return add_blocks(name, layer, [x.graph, y.graph], keys, parts, outlines, lambda: Notes(sizes, work))


def _tree(layer: dict[Key, Any], name: str, places: list[Place], few: int) -> list[Place]:
    """Join a few factors a task until as few are left for the last task."""

    def merge(level: int, number: int, own: list[Place]) -> Place:
        key = (f"{name}-{level}", number)
        numbers, used = refs(own)
        layer[key] = Task(key, tasks.stack_factors, [(numbers[of], place) for of, place in own], *used)
        return key, 0

    return merge_in_tree(places, few, merge)
