"""What is known of a block without its data: shapes, dtypes, and the rows at which its chunks are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.tree import Tree

Edges = npt.NDArray[np.int64]
"""The rows at which the chunks of an array start and, as last number, how many rows there are."""

TABLE_BYTES = 16
"""Bytes of the labels of a gradient row: most have four int32 columns or fewer."""


class Piece(NamedTuple):
    """A chunk without its data: the number of its block, and its number in the block."""

    block: int
    chunk: int


Part = tuple[Piece, ...]
"""The pieces that one task makes."""


def _row_counts(edges: Edges) -> Edges:
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
        """Number of rows of each chunk, in the form of Dask's ``chunks``."""
        return tuple(_row_counts(self.edges).tolist())

    @cached_property
    def chunk_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of each chunk, gradients included."""
        nbytes = _row_counts(self.edges) * self.row_bytes
        for gradient in self.gradients.values():
            nbytes += gradient.chunk_bytes
        return nbytes

    @cached_property
    def held_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of each chunk with the labels of its gradient rows, as a task holds it."""
        row_counts = (_row_counts(node.edges) for path, node in self.walk() if path)
        return self.chunk_bytes + TABLE_BYTES * sum(row_counts, np.zeros(self.chunk_count, np.int64))

    @property
    def nbytes(self) -> int:
        return int(self.edges[-1]) * self.row_bytes + sum(g.nbytes for g in self.gradients.values())


@dataclass(frozen=True)
class Frame(Tree):
    """The shape and dtype of a chunk without its rows, and the same for each gradient.

    ``dimensions`` is the number of columns of a gradient's table; at the top it is 0.
    """

    trailing: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: int = 0
    gradients: dict[str, Frame] = field(default_factory=dict)
