"""The blocks of an archive, whose rows come from several segments, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Array, Table
from outgrad.data.outline import Edges, Outline
from outgrad.data.positions import Index
from outgrad.data.requests import Runs
from outgrad.errors import DamagedArchiveError
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.consistent import signature
from outgrad.storage.zarr.format import LABEL_DTYPE, BlockSpec, FillNumber
from outgrad.storage.zarr.opened_segment import VERIFY_ADVICE, OpenSegment
from outgrad.storage.zarr.read_rows import PlacedRows, WantedArray
from outgrad.storage.zarr.seams import ArrayRange
from outgrad.tree import GradientPath, fold_down


def moved_by(runs: Runs) -> Index:
    """By how much the rows of each of some runs move if all are put one after the other."""
    moved: Index = np.cumsum(runs[:, 1] - runs[:, 0]) - runs[:, 1]
    return moved


class SegmentRows(NamedTuple):
    """Rows [start, stop) of a block in a segment, which begin at row ``into`` of what is read for a
    ``run``."""

    part: int
    start: int
    stop: int
    into: int
    run: int


@dataclass(frozen=True)
class JoinedBlock:
    """A block: its parts, as ``(number of a segment, what the block is there)``, in the order of their
    rows."""

    parts: tuple[tuple[int, BlockSpec], ...]
    segments: Sequence[OpenSegment]
    fill: FillNumber | None

    @property
    def first(self) -> BlockSpec:
        """The part that decides labels that all have in common."""
        return self.parts[0][1]

    @cached_property
    def bounds(self) -> Index:
        """Of each part, the smallest and the largest number in each column of its samples (n, columns, 2); of
        parts without rows no number is between them."""
        number = np.iinfo(np.int64)
        tables = [self.segments[n].spec.tables[block.samples] for n, block in self.parts]
        columns = len(tables[0].names)
        nowhere, everywhere = (((number.max, number.min),) * columns, ((number.min, number.max),) * columns)
        bounds = [table.bounds or (everywhere if table.rows else nowhere) for table in tables]
        return np.array(bounds, np.int64).reshape(len(tables), columns, 2)

    def parts_near(self, low: Table, high: Table) -> list[int]:
        """The parts in which there may be samples between two, in all columns."""
        near = (self.bounds[:, :, 0] <= high) & (self.bounds[:, :, 1] >= low)
        return np.flatnonzero(near.all(axis=1)).tolist()

    @cached_property
    def starts(self) -> dict[GradientPath, Index]:
        """For values and each gradient, the rows before each part; last the number of all rows."""
        starts: dict[GradientPath, Index] = {}
        for path, _ in self.first.walk():
            rows = [self.segments[n].spec.tables[block.at(path).samples].rows for n, block in self.parts]
            starts[path] = np.cumsum([0, *rows], dtype=np.int64)
        return starts

    def pieces(self, path: GradientPath, runs: Runs) -> list[SegmentRows]:
        """Where the rows of runs (n, 2) of the values or of a gradient are, one after the other."""
        starts = self.starts[path]
        parts = np.maximum(np.searchsorted(starts, runs[:, 0], side="right") - 1, 0).tolist()
        bounds = starts.tolist()
        found, into = [], 0
        for run, (part, (start, stop)) in enumerate(zip(parts, runs.tolist(), strict=True)):
            while part < len(self.parts) and bounds[part] < stop:
                first, last = max(start, bounds[part]), min(stop, bounds[part + 1])
                if first < last:
                    found.append(SegmentRows(part, first - bounds[part], last - bounds[part], into, run))
                    into += last - first
                part += 1
        return found

    def number_parents(
        self, path: GradientPath, pieces: Sequence[SegmentRows], table: Table, firsts: Index
    ) -> None:
        """Change the rows of parents in segments to those in the block, plus the one in ``firsts`` of their
        run."""
        for part, start, stop, into, run in pieces:
            table[into : into + stop - start, 0] += self.starts[path[:-1]][part] + firsts[run]

    def runs_of(self, rows: Runs) -> Runs | None:
        """Of runs of rows of the values (n, 1, 2), those of all arrays; None if gradients are not sorted."""
        paths = [path for path, _ in self.first.walk()]
        runs = np.empty((len(rows), len(paths), 2), np.int64)
        runs[:, 0] = rows[:, 0]
        for number, path in enumerate(paths):
            if path:
                ends = runs[:, paths.index(path[:-1])]
                found = self._first_rows(path, ends.reshape(-1))
                if found is None:
                    return None
                runs[:, number] = found.reshape(-1, 2)
        return runs

    def _first_rows(self, path: GradientPath, parents: Index) -> Index | None:
        """The first row of a gradient that belongs to each parent or to one after it; None if not sorted."""
        starts = self.starts[path[:-1]]
        found = np.empty(len(parents), np.int64)
        parts = np.clip(np.searchsorted(starts, parents, side="right") - 1, 0, len(self.parts) - 1)
        for part in np.unique(parts).tolist():
            chosen = np.flatnonzero(parts == part)
            number, block = self.parts[part]
            local = parents[chosen] - starts[part]
            rows = self.segments[number].first_rows(block, path, local)
            if rows is None:
                return None
            found[chosen] = self.starts[path][part] + rows
        return found

    def names(self, path: GradientPath) -> tuple[str, ...]:
        """The names of the samples."""
        return self.segments[self.parts[0][0]].spec.tables[self.first.at(path).samples].names

    def wanted(self, path: GradientPath, kind: str, pieces: Sequence[SegmentRows], rows: int) -> WantedArray:
        """What to read for ``rows`` of the values, or of the samples, of a block or a gradient."""
        stored: list[PlacedRows] = []
        shape: tuple[int, ...] = (rows, len(self.names(path)))
        dtype: np.dtype[Any] = LABEL_DTYPE
        for part, start, stop, into, _ in pieces:
            number, block = self.parts[part]
            segment, spec = self.segments[number].spec, block.at(path)
            array, row = spec.values if kind == "values" else segment.tables[spec.samples].first
            stored.append(PlacedRows(number, ArrayRange(array, row + start, row + stop), into))
        if kind == "values":
            at = self.outline.at(path)
            shape, dtype = (rows, *at.trailing), at.dtype
        return WantedArray(stored, shape, dtype)

    def filled(
        self, path: GradientPath, pieces: Sequence[SegmentRows], rows: int, arrays: Iterator[Array]
    ) -> Array:
        """Put together parts of different properties; ``arrays`` has the values of each piece."""
        at = self.outline.at(path)
        out = np.full((rows, *at.trailing), self.fill, at.dtype)
        for part, start, stop, into, _ in pieces:
            columns = self.columns[part]
            out[into : into + stop - start, ..., slice(None) if columns is None else columns] = next(arrays)
        return out

    def content(self, path: GradientPath) -> str:
        """Names the samples: equal parts have equal ones, if the rows of their parents are equally many."""
        parts = []
        for part, (number, block) in enumerate(self.parts):
            table = self.segments[number].spec.tables[block.at(path).samples]
            parts.append(f"{table.digest} {table.rows} {self.starts[path[:-1]][part] if path else 0}")
        return blake2b(" ".join(parts).encode(), digest_size=16).hexdigest()

    @cached_property
    def outline(self) -> Outline:
        """Chunk edges are those of the parts; a part without rows adds none."""
        edges: dict[GradientPath, Edges] = {}
        filled = [block for _, block in self.parts if block.edges[-1]]
        for path, _ in self.first.walk():
            starts = zip(self.parts, self.starts[path], strict=False)
            of_parts = [
                start + np.array(block.at(path).edges[1:], np.int64)
                for (_, block), start in starts
                if block.edges[-1] or (block is self.first and not filled)
            ]
            edges[path] = np.concatenate([np.zeros(1, np.int64), *of_parts])
        segment = self.segments[self.parts[0][0]].spec
        width = None if self.properties is None else len(self.properties)

        def outlined(
            path: GradientPath, _: object, block: BlockSpec, gradients: dict[str, Outline]
        ) -> Outline:
            spec = segment.arrays[block.values.array]
            trailing = spec.shape[1:] if width is None else (*spec.shape[1:-1], width)
            return Outline(edges[path], trailing, spec.dtype, gradients)

        return fold_down(outlined, self.first)

    @cached_property
    def properties(self) -> Labels | None:
        """Those of all parts, in the order in which parts have them; None if all parts have the same."""
        each = [(self.segments[n], block.properties) for n, block in self.parts]
        if len({segment.spec.tables[table].digest for segment, table in each}) == 1:
            return None
        first, *others = (segment.labels(table) for segment, table in each)
        for other in others:
            first = first.union(other)
        return first

    @cached_property
    def columns(self) -> list[Index | None]:
        """Where the properties of each part are; None where they are all and in order."""
        if self.properties is None:
            return [None] * len(self.parts)
        columns: list[Index | None] = []
        for number, block in self.parts:
            own = self.segments[number].labels(block.properties)
            columns.append(None if own == self.properties else self.properties.select(own))
        return columns


class JoinedBlocks:
    """Keys in the order in which segments first have them, and a block for each."""

    def __init__(self, name: str, segments: Sequence[OpenSegment], fill: FillNumber | None) -> None:
        self._name = name
        self._segments = segments
        self._fill = fill

    @property
    def keys(self) -> Labels:
        """All keys."""
        return self._merged[0]

    @cached_property
    def blocks(self) -> tuple[JoinedBlock, ...]:
        """One for each key."""
        if len(self._segments) > 1:
            return self._merged[1]
        blocks = self._segments[0].spec.blocks  # keys need not be read for it
        return tuple(JoinedBlock(((0, block),), self._segments, self._fill) for block in blocks)

    @cached_property
    def _merged(self) -> tuple[Labels, tuple[JoinedBlock, ...]]:
        keys = self._segments[0].keys()
        parts = [[(0, block)] for block in self._segments[0].spec.blocks]
        common: Any = None
        places = np.arange(len(parts))
        for number, segment in enumerate(self._segments[1:], start=1):
            if segment.spec.schema == self._segments[number - 1].spec.schema:  # as it nearly always is
                for place, block in zip(places.tolist(), segment.spec.blocks, strict=False):
                    parts[place].append((number, block))
                continue
            own = segment.keys()
            if own.names != keys.names:
                raise self._mistake(number, f"its keys have names {own.names} instead of {keys.names}")
            keys, _, places = keys.union_and_mapping(own)
            if not segment.spec.blocks:  # labels are keys without blocks
                continue
            parts.extend([] for _ in range(len(keys) - len(parts)))
            for place, block in zip(places.tolist(), segment.spec.blocks, strict=True):
                parts[place].append((number, block))
                # What blocks of all keys have in common, and then parts of one block.
                if common is None:
                    first, spec = parts[0][0]
                    common = signature(self._segments[first].spec, spec)
                mistake = "other names, gradients or another dtype"
                if signature(segment.spec, block) == common:
                    mistake = self._labels_mistake(parts[place][0], (number, block))
                if mistake:
                    raise self._mistake(number, mistake)
        return keys, tuple(JoinedBlock(tuple(each), self._segments, self._fill) for each in parts)

    def _labels_mistake(self, first: tuple[int, BlockSpec], other: tuple[int, BlockSpec]) -> str:
        """What parts of one block have in common."""
        tables = [self._segments[number].spec.tables for number, _ in (first, other)]
        for path, block in first[1].walk():
            same = other[1].at(path)
            digests = [
                [table[n].digest for n in each.components]
                for table, each in zip(tables, (block, same), strict=True)
            ]
            if digests[0] != digests[1]:
                return "other components"
        properties = tables[0][first[1].properties].digest, tables[1][other[1].properties].digest
        return "other properties" if self._fill is None and properties[0] != properties[1] else ""

    def _mistake(self, number: int, text: str) -> DamagedArchiveError:
        return DamagedArchiveError(
            f"open {self._name}: segment {number} does not fit to the first one: {text}; {VERIFY_ADVICE}"
        )
