"""What is exchanged with storage: which rows of which block, and what was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import RowRange
from outgrad.data.outline import Outline, Piece

NO_TEXTS: Mapping[str, str] = MappingProxyType({})
"""What a writer adds to the info of a map where nothing had to be computed for it."""


Runs = npt.NDArray[np.int64]
"""Neighbouring rows of values and gradients (n, arrays, 2): for each run and array its first row, and the row
after its last."""


class Request(NamedTuple):
    """The rows of one chunk of one block.

    ``ranges`` has the rows of the values and of each gradient, in the order of :meth:`Outline.walk`; they are
    counted from the start of the block. A chunk of rows that are not neighbours has ``runs`` instead, whose
    rows follow each other in the chunk.
    """

    block: int
    ranges: tuple[RowRange, ...]
    runs: Runs | None = None

    @property
    def all_runs(self) -> Runs:
        """Its runs, also if there is one only."""
        return np.array([self.ranges], np.int64) if self.runs is None else self.runs


def request(outlines: tuple[Outline, ...], piece: Piece) -> Request:
    """Look up the row ranges of ``piece``."""
    block, chunk = piece
    ranges = tuple(
        (int(outline.edges[chunk]), int(outline.edges[chunk + 1])) for _, outline in outlines[block].walk()
    )
    return Request(block, ranges)


class End(NamedTuple):
    """Rows at an end of a part that lie in a shard shared with another part."""

    array: int
    start: int
    rows: npt.NDArray[Any]


@dataclass(frozen=True)
class Written:
    """What one task has written: bytes, ``(array, shard, records of its chunks)``, and the ends left over."""

    nbytes: int = 0
    shards: tuple[tuple[int, int, npt.NDArray[np.uint32]], ...] = ()
    ends: tuple[End, ...] = ()

    def receipt(self) -> Written:
        """Return the same without arrays, which is what travels to the client."""
        return replace(self, ends=())


class Seam(NamedTuple):
    """A shard whose rows come from several parts."""

    array: int
    shard: int
    parts: tuple[int, ...]
    nbytes: int = 0
    """Bytes of the shard."""
