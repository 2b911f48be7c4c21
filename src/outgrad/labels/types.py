"""Kinds of arrays: tables of labels, and what is computed of their rows."""

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int32]
"""The labels of rows, as integers (n, d)."""

Positions = npt.NDArray[np.int64]
"""Where rows are in a table, from 0; −1 is nowhere."""

RowNumbers = npt.NDArray[np.integer]
"""Positions of rows, or numbers of distinct ones; int32 where blocks keep many of them."""

Keys = npt.NDArray[np.int64]
"""One integer for each row, in the order of the rows."""

Mask = npt.NDArray[np.bool_]
