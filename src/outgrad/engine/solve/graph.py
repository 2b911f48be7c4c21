"""Systems of equations: the factor of every chunk, a tree of factors for each block, then the solution.

A solution is weights and a report, which different tasks take out of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline
from outgrad.engine.solve.chunks import (
    System,
    factor_parts,
    joined_reports,
    solve_parts,
    stack_factors,
    weights_part,
)
from outgrad.engine.solve.triangles import factor_bytes, factor_work
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, LazyText, Place, add_blocks, numbered
from outgrad.graph.trees import fan_in, merge_in_tree


def solve_blocks(
    x: LazyBlocks, y: LazyBlocks, systems: Sequence[System], outlines: tuple[Outline, ...], target_bytes: int
) -> tuple[LazyBlocks, LazyText]:
    """Solve the equations of each block of ``x`` and ``y``, which are cut alike; also report on them."""
    assert x.parts == y.parts, "operands must be cut alike first"
    parts = pack_chunks(outlines, target_bytes)
    draft = Draft()
    sizes: dict[Key, int] = {}
    work: dict[Key, int] = {}
    widths = [a.trailing[-1] + b.trailing[-1] for a, b in zip(x.outlines, y.outlines, strict=True)]
    factor_keys = draft.add_all(factor_parts, [()] * len(x.keys), (x.keys, y.keys), group="factor")
    factors: dict[Key, Key] = dict(zip(x.keys, factor_keys, strict=True))
    for key, part in zip(factor_keys, x.parts, strict=True):
        sizes[key] = sum(factor_bytes(widths[piece.block]) for piece in part)
        work[key] = max((factor_work(widths[piece.block]) for piece in part), default=0)

    def stacked(block: int) -> list[Place]:
        """Stack the factors of a block, a few in a task, until as few are left for the last task."""
        nbytes = factor_bytes(widths[block])

        def stack(level: int, number: int, places: list[Place]) -> Place:
            numbers = numbered(places)
            sources = [(numbers[key], place) for key, place in places]
            stacked_key = draft.add(stack_factors, (sources,), list(numbers), f"tree-{block}-{level}")
            sizes[stacked_key] = nbytes
            return stacked_key, 0

        places = [(factors[key], place) for key, place in x.chunks_of(block)]
        return merge_in_tree(places, fan_in(target_bytes, nbytes), stack)

    for part in parts:
        left = [stacked(piece.block) for piece in part]
        numbers = numbered(place for places in left for place in places)
        recipes = [
            (systems[piece.block], [(numbers[key], place) for key, place in places])
            for piece, places in zip(part, left, strict=True)
        ]
        solution = draft.add(solve_parts, (recipes,), list(numbers))
        sizes[solution] = sum(outlines[piece.block].nbytes for piece in part)
    solutions = draft.place("solve", [x.graph, y.graph], lambda: Notes(sizes, work))
    weights, report = Draft(), Draft()
    weights.add_all(weights_part, [()] * len(parts), [solutions.keys])
    # parts hold whole blocks, in their order
    places = [(number, place) for number, part in enumerate(parts) for place in range(len(part))]
    report.add(joined_reports, (places,), solutions.keys)
    blocks = add_blocks("weights", weights, [solutions.graph], parts, outlines)
    return blocks, LazyText.of(report.place("report", [solutions.graph], lambda: Notes({(0, 0): 0})))
