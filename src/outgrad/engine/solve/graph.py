"""Systems of equations: the factor of every chunk, a tree of factors for each block, then the solution."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline
from outgrad.engine.solve.chunks import System, factor_parts, solve_parts, stack_factors
from outgrad.engine.solve.triangles import factor_bytes, factor_work
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, add_blocks, numbered
from outgrad.graph.trees import fan_in, merge_in_tree


def solve_blocks(
    x: LazyBlocks, y: LazyBlocks, systems: Sequence[System], outlines: tuple[Outline, ...], target_bytes: int
) -> LazyBlocks:
    """Solve the equations of each block of ``x`` and ``y``, which are cut alike."""
    assert x.parts == y.parts, "operands must be cut alike first"
    parts = pack_chunks(outlines, target_bytes)
    draft = Draft()
    sizes: dict[Key, int] = {}
    work: dict[Key, int] = {}
    widths = [a.trailing[-1] + b.trailing[-1] for a, b in zip(x.outlines, y.outlines, strict=True)]
    made = draft.add_all(factor_parts, [()] * len(x.keys), (x.keys, y.keys), group="factor")
    factors: dict[Key, Key] = dict(zip(x.keys, made, strict=True))
    for own, part in zip(made, x.parts, strict=True):
        held = [widths[piece.block] for piece in part]
        sizes[own] = sum(map(factor_bytes, held))
        work[own] = max(map(factor_work, held), default=0)
    for part in parts:
        found = []
        for piece in part:
            places = [(factors[of], place) for of, place in x.chunks_of(piece.block)]
            nbytes = factor_bytes(widths[piece.block])
            tree = _tree(draft, f"tree-{piece.block}", places, fan_in(target_bytes, nbytes))
            sizes.update(dict.fromkeys((of for of, _ in tree if of not in sizes), nbytes))
            found.append(tree)
        numbers = numbered(place for own in found for place in own)
        recipes = [
            (systems[piece.block], [(numbers[of], place) for of, place in own])
            for piece, own in zip(part, found, strict=True)
        ]
        draft.add(solve_parts, (recipes,), list(numbers))
    return add_blocks("solve", draft, [x.graph, y.graph], parts, outlines, lambda: Notes(sizes, work))


def _tree(draft: Draft, group: str, places: list[Place], few: int) -> list[Place]:
    """Join a few factors a task until as few are left for the last task."""

    def merge(level: int, number: int, own: list[Place]) -> Place:
        numbers = numbered(own)
        sources = [(numbers[of], place) for of, place in own]
        return draft.add(stack_factors, (sources,), list(numbers), f"{group}-{level}"), 0

    return merge_in_tree(places, few, merge)
