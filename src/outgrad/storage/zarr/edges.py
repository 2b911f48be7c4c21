"""Where a reader may cut a block: fine chunk edges, and the gradient rows of each sample.

Tables are read in slices, never at once; what is kept is one integer a sample and gradient, of one
block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from outgrad.data.chunking import SYSTEM_NAMES, cut_samples
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.tree import GradientPath

TABLE_SLICE_ROWS = 2**20

Offsets = npt.NDArray[np.int64]


def slices(labels: Labels) -> Iterator[npt.NDArray[np.int32]]:
    """The rows of a table in slices."""
    for start in range(0, len(labels), TABLE_SLICE_ROWS):
        yield labels.read(start, min(start + TABLE_SLICE_ROWS, len(labels)))


def sample_offsets(samples: Labels, parent_rows: int) -> Offsets | None:
    """Return ``offsets`` (parent_rows + 1,): rows ``offsets[s]:offsets[s + 1]`` belong to parent row s.

    None if the rows of the gradient are not sorted by ``sample``.

    Raises
    ------
    ValidationError
        If a ``sample`` is not a row of the parent.
    """
    offsets = np.zeros(parent_rows + 1, dtype=np.int64)
    last = 0
    for rows in slices(samples):
        column = rows[:, 0]
        low, high = int(column.min()), int(column.max())
        if low < 0 or high >= parent_rows:
            raise ValidationError(
                f"save: gradient samples must be rows of their parent, in [0, {parent_rows}), "
                f"found {low if low < 0 else high}; check column 'sample'"
            )
        if column[0] < last or (column[1:] < column[:-1]).any():
            return None
        # A parent row that goes on from the slice before is counted in both, which adds up.
        offsets[low + 1 : high + 2] += np.bincount(column - low)
        last = high
    return np.cumsum(offsets, out=offsets)


def fine_edges(
    metadata: BlockMetadata,
    outline: Outline,
    offsets: Mapping[GradientPath, Offsets | None],
    sizes: ChunkSizes,
) -> dict[GradientPath, Edges]:
    """Choose chunk edges of the values and each gradient, about ``sizes.fine_chunk`` bytes apart.

    Edges fall on whole samples, and on whole systems where the samples are sorted by system, but for
    systems larger than ``sizes.whole_system``.
    """
    paths = [path for path, _ in outline.walk()]
    if outline.nbytes <= sizes.fine_chunk or any(offsets[path] is None for path in paths[1:]):
        return {path: np.array([0, array.shape[0]], dtype=np.int64) for path, array in outline.walk()}
    samples = np.arange(outline.shape[0] + 1, dtype=np.int64)
    cumulative_bytes = np.zeros_like(samples)
    for path, array in outline.walk():
        cumulative_bytes += _rows_before(samples, path, offsets) * array.row_bytes
    systems = _system_starts(metadata.samples)
    edges = cut_samples(cumulative_bytes, systems, sizes.fine_chunk, sizes.whole_system)
    return {path: _rows_before(edges, path, offsets) for path in paths}


def _rows_before(samples: Edges, path: GradientPath, offsets: Mapping[GradientPath, Offsets | None]) -> Edges:
    """The rows of the array at ``path`` that come before each of some samples of the block."""
    rows = samples
    for depth in range(len(path)):
        gradient_offsets = offsets[path[: depth + 1]]
        assert gradient_offsets is not None, "only sorted gradients are cut"
        rows = gradient_offsets[rows]
    return rows


def _system_starts(samples: Labels) -> Edges:
    """Rows at which a system starts, and the number of rows; every row if they are not sorted by system."""
    every_row = np.arange(len(samples) + 1, dtype=np.int64)
    system_columns = [column for column, name in enumerate(samples.names) if name in SYSTEM_NAMES]
    if not system_columns or len(samples) == 0:
        return every_row
    starts = [np.zeros(1, dtype=np.int64)]
    row, last = 0, None
    for rows in slices(samples):
        column = rows[:, system_columns[0]].astype(np.int64)
        steps = np.diff(column, prepend=column[0] if last is None else last)
        if (steps < 0).any():
            return every_row
        starts.append(np.flatnonzero(steps) + row)
        row, last = row + len(column), column[-1]
    return np.concatenate([*starts, np.array([row], dtype=np.int64)])
