"""What a task runs: a part is a list of chunks, and each function maps parts to a part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from outgrad._foreign import kind_of, plain
from outgrad._threads import one_blas_thread
from outgrad.errors import ValidationError
from outgrad.kernels import axes
from outgrad.kernels.axes import AxisOrders
from outgrad.kernels.chunk import Array, Chunk
from outgrad.kernels.compare import difference
from outgrad.kernels.factor import Factor, stack
from outgrad.kernels.pieces import Range, cut, join
from outgrad.lazy.task import task
from outgrad.plan.frame import Frame
from outgrad.plan.positions import Span, positions
from outgrad.plan.requests import Request, Seam, Written
from outgrad.rules import dot
from outgrad.rules.apply import run
from outgrad.rules.equations import System, factored, solved
from outgrad.rules.moments import SHARES, Groups, Moments, finished, merged, moments
from outgrad.rules.place import Order, Patch, place, take
from outgrad.rules.term import Composite, Rule

ChunkList = list[Chunk]

MERGE_SHARE = 1.6
"""What tasks hold that merge contributions to sums or to systems of equations, which are joined first."""

Recipe = tuple[Frame, int, Sequence[tuple[Any, ...]], Order, complex | float]
"""A chunk to be put together: frame, rows, and ``(part, place, taken, placed, columns)`` of each source."""


class Reader(Protocol):
    """A light handle on stored blocks: it travels in tasks, and opens what it needs once a process."""

    @property
    def token(self) -> str:
        """Name of the content and version."""
        ...

    def read(self, requests: Sequence[Request]) -> ChunkList:
        """Read the chunks asked for."""
        ...


class Writer(Protocol):
    """A light handle on an output that is being written."""

    def start(self) -> None:
        """Lay out the output and write its label tables; nothing is visible yet."""
        ...

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write the rows of one part."""
        ...

    def seams(self, parts: Sequence[Sequence[Request]]) -> Sequence[Seam]:
        """List the storage chunks that several parts share."""
        ...

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write a storage chunk that several parts share."""
        ...

    def prepare(self, receipts: Sequence[Written]) -> Any:
        """Finish and flush the output; return what is to be published."""
        ...

    def abort(self) -> None:
        """Remove what was written."""
        ...


@task(copies=True)
def read_part(reader: Reader, requests: Sequence[Request]) -> ChunkList:
    return reader.read(requests)


@task(holds_inputs=True, share=lambda rule, *_: rule.share)
@one_blas_thread()
def run_rule(rule: Rule | Composite, constants: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Run a rule on each piece; ``constants`` holds one tuple, or something to resolve, for each."""
    return [
        run(rule, chunks, *(own if isinstance(own, tuple) else own.resolve()))
        for own, *chunks in zip(constants, *parts, strict=True)
    ]


@task(copies=True, holds_inputs=True)
def place_part(recipes: Sequence[Recipe], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are put together from rows and columns of other chunks."""
    return [
        place(frame, size, [_patch(parts[number], *rest) for number, *rest in sources], order, fill)
        for frame, size, sources, order, fill in recipes
    ]


def _patch(part: ChunkList, at: int, taken: Span | None, placed: Span, columns: Span | None) -> Patch:
    chunk = part[at]
    columns = None if columns is None else positions(columns)
    if taken is None or (isinstance(taken, tuple) and taken == (0, len(chunk.values))):
        return Patch(chunk, range(*placed) if isinstance(placed, tuple) else placed, columns)
    rows = np.full(len(chunk.values), -1, dtype=np.int32)
    rows[positions(taken)] = positions(placed)
    return Patch(chunk, rows, columns)


@task(copies=True)
def cut_rows(at: int, taken: Span, part: ChunkList) -> ChunkList:
    """Cut the rows out of one chunk that another one needs."""
    return [take(part[at], positions(taken))]


@task(copies=True)
def dense(part: ChunkList) -> ChunkList:
    """Bring whole blocks into the form that every chunk is multiplied with."""
    return [dot.dense(chunk) for chunk in part]


@task(holds_inputs=True)
@one_blas_thread()
def multiply_rows(others: Sequence[tuple[int, int]], part: ChunkList, *whole: ChunkList) -> ChunkList:
    """Multiply each piece with a whole block in dense form, given by its part and its place in that part."""
    return [dot.outer(chunk, whole[n][place]) for chunk, (n, place) in zip(part, others, strict=True)]


@one_blas_thread()
def factor(x: ChunkList, y: ChunkList) -> list[Factor]:
    """Factor the equations of each piece."""
    return [factored(a, b) for a, b in zip(x, y, strict=True)]


@task(share=MERGE_SHARE)
@one_blas_thread()
def stack_factors(sources: Sequence[tuple[int, int]], *parts: Sequence[Factor]) -> list[Factor]:
    """Join factors of chunks of one block."""
    return [stack([parts[number][place] for number, place in sources])]


@task(share=MERGE_SHARE)
@one_blas_thread()
def solve(recipes: Sequence[tuple[System, Sequence[tuple[int, int]]]], *parts: Sequence[Factor]) -> ChunkList:
    """Solve the equations of some blocks, given by the factors of their chunks."""
    return [solved(system, [parts[n][place] for n, place in sources]) for system, sources in recipes]


@task(share=lambda kind, *_: SHARES[kind])
def partial(kind: str, local: Sequence[Any], part: ChunkList) -> list[Moments]:
    """What each piece contributes to the groups of its rows."""
    out = []
    for own, chunk in zip(local, part, strict=True):
        target, size = own if isinstance(own, tuple) else own.resolve()
        out.append(moments(kind, chunk, Groups(target, size, 0)))
    return out


def cut_partial(place: int, rows: tuple[int, int], part: Sequence[Moments]) -> list[Moments]:
    """Take some groups out of a contribution."""
    return [part[place].rows(*rows)]


@task(share=MERGE_SHARE)
def merge_partials(
    kind: str, final: bool, recipes: Sequence[tuple[int, Any, Any]], *parts: Sequence[Moments]
) -> list[Any]:
    """Merge contributions into new chunks; ``final`` ones become chunks, others are merged further."""
    out = []
    for size, sources, dtype in recipes:
        own = merged([(parts[n][place], positions(where)) for n, place, where in sources], size)
        out.append(finished(kind, own, dtype) if final else own)
    return out


def compare(settings: Any, *parts: ChunkList) -> list[Any]:
    """Describe where chunks of two parts differ."""
    return [difference(a, b, settings) for a, b in zip(*parts, strict=True)]


@task(copies=True, holds_inputs=True)
def collect(places: Sequence[tuple[int, int]], *parts: ChunkList) -> ChunkList:
    """Build a part from pieces found elsewhere: number of the part, and place in it."""
    return [parts[number][place] for number, place in places]


@task(copies=True, holds_inputs=True)
def recut(pieces: Sequence[Sequence[tuple[int, int, Sequence[Range]]]], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are put together from rows of other chunks."""
    return [join([cut(parts[n][place], ranges) for n, place, ranges in sources]) for sources in pieces]


def permute_entries(orders: Sequence[AxisOrders | None], part: ChunkList) -> ChunkList:
    """Take components and properties in other orders; None leaves a piece as it is."""
    return [
        chunk if own is None else axes.permute_entries(chunk, own)
        for own, chunk in zip(orders, part, strict=True)
    ]


@task(copies=True)
def cut_part(recipe: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are cut out of others, or have no rows: then the recipe is their frame."""
    return [
        place(own, 0, [], Order.KEPT) if isinstance(own, Frame) else cut(parts[own[0]][own[1]], own[2])
        for own in recipe
    ]


@task(copies=True, holds_inputs=True)
def attach(parameter: str, tables: Sequence[Any], part: ChunkList, gradients: ChunkList) -> ChunkList:
    """Add a gradient to each piece; ``tables`` give the local rows it belongs to."""
    out = []
    for table, chunk, gradient in zip(tables, part, gradients, strict=True):
        rows = table if isinstance(table, np.ndarray) else table.resolve()
        added = Chunk(gradient.values, gradient.gradients, rows)
        out.append(Chunk(chunk.values, {**chunk.gradients, parameter: added}, chunk.table))
    return out


@task(copies=True)
def strip(keep: Collection[str], part: ChunkList) -> ChunkList:
    """Leave only the gradients in ``keep``."""
    return [
        Chunk(chunk.values, {p: g for p, g in chunk.gradients.items() if p in keep}, chunk.table)
        for chunk in part
    ]


@task(copies=True)
def descend(parameter: str, part: ChunkList) -> ChunkList:
    """Take a gradient as a block of its own."""
    out = []
    for chunk in part:
        gradient = chunk.gradients[parameter]
        out.append(Chunk(gradient.values, gradient.gradients))
    return out


@dataclass(frozen=True)
class Given:
    """What a Dask array from outside says of one of its chunks."""

    block: str
    place: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@task(copies=True)
def given_array(given: Given, array: Any) -> Array:
    """Return a chunk of a Dask array from outside as a plain array, if it is what the array says of it."""
    number: Any = given.place if any(given.place[1:]) else given.place[0]
    where = f"chunk {number} of the values of {given.block}"
    if not isinstance(array, np.ndarray):
        raise ValidationError(f"{where} must be a NumPy array, got {kind_of(array)}")
    found: Array = plain(where, array)
    if found.shape != given.shape or found.dtype != given.dtype:
        raise ValidationError(
            f"{where} has shape {found.shape} and dtype {found.dtype}, but its Dask array says {given.shape} "
            f"and {given.dtype}; tell Dask what its function returns, as in map_blocks(…, chunks=…, dtype=…)"
        )
    return found


@task(copies=True)
def from_array(given: Given, array: Any) -> ChunkList:
    return [Chunk(given_array(given, array))]


@task(copies=True)
def pick(place: int, path: tuple[str, ...], part: ChunkList) -> Array:
    """Take one array out of a part."""
    return part[place].at(path).values


@task(copies=True, finishes=True)
def whole(results: Sequence[ChunkList], collection: Any) -> Any:
    """Put the parts of a collection together; it comes without its graph."""
    return collection._finalize(results)


@task(copies=True)
def write_part(writer: Writer, requests: Sequence[Request], part: ChunkList) -> Written:
    return writer.write(requests, part)


@task(copies=True)
def write_seam(writer: Writer, seam: Seam, *written: Written) -> Written:
    return writer.write_seam(seam, written).receipt()


@task(copies=True)
def ends_of(arrays: frozenset[int], written: Written) -> Written:
    """Keep only the rows of some arrays of those that wait for seams."""
    return replace(written, ends=tuple(end for end in written.ends if end.array in arrays))


@task(copies=True)
def receipt(written: Written) -> Written:
    return written.receipt()
