"""Looking up one row gives what looking up a table gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from outgrad.labels.rows import RowIndex, find_rows

LARGE = st.integers(-(2**31), 2**31 - 1)
SMALL = st.integers(-2, 3)


@given(st.data(), st.integers(1, 4))
def test_one_row_and_many(data: st.DataObject, width: int) -> None:
    number = data.draw(st.sampled_from([SMALL, LARGE, st.sampled_from([-(2**31), 0, 2**31 - 1])]))
    rows = data.draw(st.lists(st.tuples(*[number] * width), max_size=8))
    table = np.array(rows, np.int32).reshape(-1, width)
    index = RowIndex(table, expected=data.draw(st.sampled_from([0, 1000])))
    for row in [*rows, *data.draw(st.lists(st.tuples(*[st.one_of(SMALL, LARGE)] * width), max_size=4))]:
        expected = find_rows(table, np.array([row], np.int32))[0]
        assert index.find_one(row) == expected
    assert index.find_one((2**40,) * width) == -1
