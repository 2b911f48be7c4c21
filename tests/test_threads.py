"""Pieces and calls on several threads."""

from __future__ import annotations

import threading

import pytest

from outgrad._threads import allowed_threads, for_each, for_pieces, several_threads


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("rows", "step"), [(0, 4), (3, 4), (10, 4), (12, 1)])
def test_pieces_cover_all_rows_once(rows: int, step: int, count: int) -> None:
    found: list[int] = []
    with several_threads(count):
        for_pieces(lambda piece: found.extend(range(rows)[piece]), rows, step)
    assert sorted(found) == list(range(rows))


@pytest.mark.parametrize(
    "weights", [[], [1], [1, 1], [5, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6], [100, 1, 1], [0, 0, 0]]
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_call_is_made_once(count: int, weights: list[float]) -> None:
    found: list[int] = []
    with several_threads(count):
        for_each(found.append, weights)
    assert sorted(found) == list(range(len(weights)))


def test_even_calls_run_on_threads_of_their_own() -> None:
    """Each of two waits for the other; inside, nothing uses threads again."""
    barrier = threading.Barrier(2, timeout=10)
    inside: list[int] = []

    def call(number: int) -> None:
        barrier.wait()
        inside.append(allowed_threads())

    with several_threads(2):
        for_each(call, [1.0, 1.0])
    assert inside == [1, 1]


def test_one_large_call_may_use_all_threads_itself() -> None:
    inside: list[tuple[str, int]] = []
    with several_threads(2):
        for_each(lambda n: inside.append((threading.current_thread().name, allowed_threads())), [100.0, 1.0])
    assert inside == [(threading.current_thread().name, 2)] * 2


def test_errors_reach_the_caller() -> None:
    def fail(number: int) -> None:
        raise ValueError(f"call {number}")

    with several_threads(2), pytest.raises(ValueError, match="call"):
        for_each(fail, [1.0, 1.0])
