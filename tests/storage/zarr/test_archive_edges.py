"""Offsets and fine chunk edges, against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.edges import fine_edges, sample_offsets
from outgrad.storage.zarr.format import ChunkSizes


def gradient_samples(column: list[Any]) -> Labels:
    return Labels(
        ["sample", "atom"], np.column_stack([column, np.arange(len(column))]).reshape(-1, 2).astype(int)
    )


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7))
def test_offsets_in_slices(column: list[Any], slice_rows: int) -> None:
    column = sorted(column)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("outgrad.storage.zarr.edges.TABLE_SLICE_ROWS", slice_rows)
        offsets = sample_offsets(gradient_samples(column), 10)
    np.testing.assert_array_equal(offsets, np.searchsorted(column, np.arange(11)))


@pytest.mark.parametrize("slice_rows", [1, 2, 100])
def test_unsorted_rows_have_no_offsets(monkeypatch: pytest.MonkeyPatch, slice_rows: int) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.edges.TABLE_SLICE_ROWS", slice_rows)
    assert sample_offsets(gradient_samples([0, 2, 2, 1]), 3) is None


def test_negative_samples() -> None:
    with pytest.raises(ValidationError, match=r"found -1; check column 'sample'"):
        sample_offsets(gradient_samples([-1, 0]), 3)


def block(systems: list[int], gradient_column: list[Any], name: str = "system") -> tuple[Any, ...]:
    samples = Labels([name, "atom"], np.column_stack([systems, np.arange(len(systems))]).astype(int))
    properties = Labels.range("n", 1)
    own = BlockMetadata(gradient_samples(gradient_column), (), properties)
    metadata = BlockMetadata(samples, (), properties, {"positions": own})
    f8 = np.dtype("f8")
    gradient = Outline(np.array([0, len(gradient_column)]), (1,), f8)
    outline = Outline(np.array([0, len(systems)]), (1,), f8, {"positions": gradient})
    return metadata, outline, {("positions",): sample_offsets(own.samples, len(systems))}


def edges(
    systems: list[int], gradient_column: list[Any], fine: int, whole: int = 10**9, name: str = "system"
) -> tuple[list[Any], ...]:
    sizes = ChunkSizes(fine_chunk=fine, whole_system=whole)
    found = fine_edges(*block(systems, gradient_column, name), sizes)
    return found[()].tolist(), found["positions",].tolist()


def test_edges_on_whole_systems_by_bytes_of_values_and_gradients() -> None:
    systems = [0, 0, 1, 1, 1, 2, 3]
    column = [0, 0, 1, 4, 4, 5, 6]
    # bytes by system: 16 + 24, 24 + 16, 8 + 8, 8 + 8
    assert edges(systems, column, 40) == ([0, 2, 5, 7], [0, 3, 5, 7])
    assert edges(systems, column, 56) == ([0, 2, 6, 7], [0, 3, 6, 7])
    assert edges(systems, column, 10**6) == ([0, 7], [0, 7])


def test_systems_that_are_not_sorted_do_not_count() -> None:
    assert edges([1, 0, 2], [0, 1, 2], 16) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert edges([0, 0, 0], [0, 1, 2], 16, name="structure") == ([0, 3], [0, 3])
    assert edges([0, 0, 0], [0, 1, 2], 16, name="other") == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_systems_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.edges.TABLE_SLICE_ROWS", 2)
    assert edges([0, 0, 0, 1, 2, 2], [0, 1], 16)[0] == [0, 3, 4, 6]


def test_a_huge_system_is_cut_on_samples() -> None:
    assert edges([0, 0, 0, 0, 1], [], 16, whole=20)[0] == [0, 2, 4, 5]


def test_unsorted_gradients_keep_a_block_whole() -> None:
    assert edges([0, 1, 2], [0, 2, 1], 8) == ([0, 3], [0, 3])


def test_gradients_of_gradients_follow() -> None:
    metadata, outline, offsets = block([0, 1, 2], [0, 0, 1, 2])
    inner = BlockMetadata(gradient_samples([0, 1, 1, 3]), (), metadata.properties)
    metadata.gradients["positions"].gradients["cell"] = inner
    outline.gradients["positions"].gradients["cell"] = Outline(np.array([0, 4]), (1,), np.dtype("f8"))
    offsets["positions", "cell"] = sample_offsets(inner.samples, 4)
    found = fine_edges(metadata, outline, offsets, ChunkSizes(fine_chunk=16))
    assert {path: own.tolist() for path, own in found.items()} == {
        (): [0, 1, 2, 3],
        ("positions",): [0, 2, 3, 4],
        ("positions", "cell"): [0, 3, 3, 4],
    }
