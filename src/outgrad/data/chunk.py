"""The arrays of one chunk of a block: values, and gradients that nest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.tree import Tree

Array = npt.NDArray[Any]
Table = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Chunk(Tree):
    """Values of some consecutive samples with all their gradient rows.

    ``values`` is (S, *C, P). A gradient is a chunk again, of values (R, *K, *C, P), whose ``table``
    (R, d) holds its sample labels: column 0 is the row of the *parent's* values, counted from the start
    of the parent's chunk, and the other columns tell the targets apart. At the top ``table`` is None.
    """

    values: Array
    gradients: dict[str, Chunk] = field(default_factory=dict)
    table: Table | None = None
    notes: dict[str, str] | None = None
    """Texts on a whole block that are known once it is computed; a map has them in ``info``."""

    @property
    def rows(self) -> Table:
        """The labels of a gradient's rows; only gradients have them."""
        assert self.table is not None, "only the chunk of a gradient has a table of rows"
        return self.table

    @property
    def nbytes(self) -> int:
        """Bytes of values, tables and gradients."""
        own = self.values.nbytes + (0 if self.table is None else self.table.nbytes)
        return own + sum(gradient.nbytes for gradient in self.gradients.values())


ChunkList = list[Chunk]
"""A part: the chunks that one task makes."""
