"""Copies of rows from one array into another."""

from __future__ import annotations

from math import prod

import numpy as np

from outgrad._threads import for_pieces
from outgrad.data.chunk import Array
from outgrad.data.positions import Index

ROW_COPY_BYTES = 2**20
"""Bytes that are copied at a time: rows that are gathered first stay in the cache."""


def copy_rows(out: Array, rows: Index | slice, values: Array, source: Index | None = None) -> None:
    """Do ``out[rows] = values[source]``; a slice has a start and a stop, and no ``source`` means all rows."""
    count = len(values) if source is None else len(source)
    row_bytes = prod(values.shape[1:]) * values.itemsize
    plain = out.flags.c_contiguous and values.flags.c_contiguous  # NumPy would copy all of values first
    direct = plain and isinstance(rows, slice) and out.dtype == values.dtype

    def copy(piece: slice) -> None:
        target = (
            slice(rows.start + piece.start, rows.start + piece.stop)
            if isinstance(rows, slice)
            else rows[piece]
        )
        if source is None:
            out[target] = values[piece]
        elif direct:  # positions are known to exist: with the mode "raise" NumPy would copy twice
            np.take(values, source[piece], axis=0, out=out[target], mode="clip")
        else:
            out[target] = values[source[piece]]

    for_pieces(copy, count, max(1, ROW_COPY_BYTES // max(1, row_bytes)))
