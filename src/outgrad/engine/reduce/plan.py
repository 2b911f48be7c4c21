"""Groups of rows that agree in some columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.outline import Edges
from outgrad.data.positions import Index
from outgrad.labels.rows import unique_rows


def group_rows(table: Table, columns: Sequence[int]) -> tuple[Table, Index]:
    """Group the rows of ``table`` (S, d) by ``columns``; without columns, all rows are one group.

    Returns the sorted distinct rows of the columns, and the group (S,) of each row. Without rows there are no
    groups.
    """
    if columns:
        return unique_rows(np.ascontiguousarray(table[:, list(columns)]))
    return np.zeros((min(len(table), 1), 1), np.int32), np.zeros(len(table), np.int64)


def group_edges(target: Index, edges: Edges, size: int) -> Edges | None:
    """Return the groups at which the row ``edges`` fall, or None if a group has rows in several chunks.

    Chunks must hold increasing runs of groups, as where samples are sorted by system.
    """
    groups = [0]
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if start == stop:
            groups.append(groups[-1])
            continue
        in_chunk = target[start:stop]
        if int(in_chunk.min()) != groups[-1]:
            return None
        groups.append(int(in_chunk.max()) + 1)
    return np.array(groups, dtype=np.int64) if groups[-1] == size else None
