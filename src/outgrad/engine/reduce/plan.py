"""Groups of rows that agree in some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.outline import Edges
from outgrad.data.positions import Index
from outgrad.labels.tables import unique_rows


class Groups(NamedTuple):
    """Sorted distinct rows of the columns kept, and the group (S,) of each row."""

    rows: Table
    target: Index

    @property
    def size(self) -> int:
        return len(self.rows)


def group_rows(table: Table, columns: Sequence[int]) -> Groups:
    """Group the rows of ``table`` (S, d) by ``columns``; without columns, all rows are one group.

    Without rows there are no groups.
    """
    if columns:
        return Groups(*unique_rows(np.ascontiguousarray(table[:, list(columns)])))
    return Groups(np.zeros((min(len(table), 1), 1), np.int32), np.zeros(len(table), np.int64))


def group_edges(target: Index, edges: Edges, size: int) -> Edges | None:
    """Return the groups at which the row ``edges`` fall, or None if a group has rows in several chunks.

    Chunks must hold increasing stretches of groups, as where samples are sorted by system.
    """
    at = [0]
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if start == stop:
            at.append(at[-1])
            continue
        own = target[start:stop]
        if int(own.min()) != at[-1]:
            return None
        at.append(int(own.max()) + 1)
    return np.array(at, dtype=np.int64) if at[-1] == size else None
