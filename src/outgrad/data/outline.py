"""The shape of a block's arrays and the rows at which its chunks are cut: plain data, no values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.tree import Tree

Edges = npt.NDArray[np.int64]

TABLE_BYTES = 16
"""Labels of a gradient row: four numbers of four bytes, which few have more of."""


class Piece(NamedTuple):
    """One chunk of one block: what a task holds is a tuple of these, its *part*."""

    block: int
    chunk: int


Part = tuple[Piece, ...]


def _rows(edges: Edges) -> Edges:
    """Rows between edges; ``np.diff`` takes five times longer for the few edges of a small block."""
    return edges[1:] - edges[:-1]


@dataclass(frozen=True)
class Outline(Tree):
    """Shape, dtype and chunk edges of a block's values, and the same for each gradient.

    Chunk ``i`` holds rows ``edges[i]:edges[i + 1]`` of the values and of every gradient: co-chunked.
    """

    edges: Edges
    trailing: tuple[int, ...]
    dtype: np.dtype[Any]
    gradients: dict[str, Outline] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.edges[-1]), *self.trailing)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of this array alone."""
        return prod(self.trailing) * self.dtype.itemsize

    @property
    def chunk_count(self) -> int:
        return len(self.edges) - 1

    @property
    def chunk_rows(self) -> tuple[int, ...]:
        """Number of rows of each chunk, as dask writes chunks."""
        return tuple(_rows(self.edges).tolist())

    @cached_property
    def chunk_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of each chunk, gradients included."""
        found = _rows(self.edges) * self.row_bytes
        for gradient in self.gradients.values():
            found += gradient.chunk_bytes
        return found

    @cached_property
    def held_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of each chunk with the labels of its gradient rows, as a task holds it."""
        tables = (_rows(own.edges) for path, own in self.walk() if path)
        return self.chunk_bytes + TABLE_BYTES * sum(tables, np.zeros(self.chunk_count, np.int64))

    @property
    def nbytes(self) -> int:
        return int(self.edges[-1]) * self.row_bytes + sum(g.nbytes for g in self.gradients.values())


@dataclass(frozen=True)
class Frame(Tree):
    """Trailing shape and dtype of the values, and the same for each gradient.

    ``dimensions`` is the number of columns of a gradient's table; at the top it is 0.
    """

    trailing: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: int = 0
    gradients: dict[str, Frame] = field(default_factory=dict)
