"""Copies of rows, in pieces that are smaller than the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outgrad.engine.shuffle import copy_rows as module
from outgrad.engine.shuffle.copy_rows import copy_rows

VALUES = np.arange(40.0).reshape(20, 2)


@pytest.fixture(autouse=True)
def _three_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_COPY_BYTES", 3 * VALUES[0].nbytes)


@pytest.mark.parametrize("source", [None, np.arange(20)[::-1], np.array([19, 0, 3, 4, 5, 7, 1])])
@pytest.mark.parametrize("rows", ["neighbours", "any order"])
@pytest.mark.parametrize(
    "out",
    [np.zeros((30, 2)), np.zeros((30, 2), np.float32), np.zeros((30, 4))[:, 1:3]],
    ids=["the same", "another dtype", "some columns"],
)
def test_rows_go_where_they_should(out: Any, rows: str, source: Any) -> None:
    wanted = VALUES if source is None else VALUES[source]
    places = np.arange(5, 5 + len(wanted))
    if rows == "any order":
        places = np.random.default_rng(0).permutation(30)[: len(wanted)]
    out[:] = -1
    copy_rows(out, slice(5, 5 + len(wanted)) if rows == "neighbours" else places, VALUES, source)
    assert np.array_equal(out[places], wanted)
    assert (np.delete(out, places, axis=0) == -1).all()
