"""The same answers as metatensor's Labels on random tables.

Known differences, each on purpose: results of ``select`` are int64 (there uint64); ``append`` appends; values
outside int32 are refused; comparison with another type is False (there TypeError); the arrays given are not
made read-only; ``position`` checks the names of an entry; the printed form is the tutorial's.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels

metatensor = pytest.importorskip("metatensor")

CASES = [(seed, dimensions, spread) for seed in range(6) for dimensions in (1, 2, 3) for spread in (4, 1000)]


def random_table(generator: np.random.Generator, dimensions: int, spread: int) -> np.ndarray:
    table = generator.integers(-spread, spread, (generator.integers(0, 60), dimensions))
    return generator.permutation(np.unique(table, axis=0))


@pytest.fixture(params=CASES, ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[list[Any], ...]:
    """Two random tables as ours and as theirs."""
    seed, dimensions, spread = request.param
    generator = np.random.default_rng(seed)
    names = ["a", "b", "c"][:dimensions]
    tables = [random_table(generator, dimensions, spread) for _ in range(2)]
    ours = [Labels(names, table) for table in tables]
    theirs = [metatensor.Labels(names, table) for table in tables]
    return ours, theirs


def same(ours: Labels, theirs: Any) -> None:
    assert ours.names == list(theirs.names)
    assert np.array_equal(ours.values, theirs.values)


@pytest.mark.parametrize(
    "operation", ["union_and_mapping", "intersection_and_mapping", "difference_and_mapping"]
)
def test_sets(pair: tuple[list[Any], ...], operation: str) -> None:
    (first, second), (their_first, their_second) = pair
    ours = getattr(first, operation)(second)
    theirs = getattr(their_first, operation)(their_second)
    same(ours[0], theirs[0])
    for mapping, their_mapping in zip(ours[1:], theirs[1:], strict=True):
        assert mapping.dtype == their_mapping.dtype
        assert np.array_equal(mapping, their_mapping)


def test_select(pair: tuple[list[Any], ...]) -> None:
    (first, second), (their_first, their_second) = pair
    assert np.array_equal(first.select(second), their_first.select(their_second))
    for name in first.names:
        values = np.unique(second.values[:, :1], axis=0)
        theirs = their_first.select(metatensor.Labels(name, values))
        assert np.array_equal(first.select(Labels(name, values)), theirs)
    order = list(range(len(first.names)))[::-1]
    theirs = their_first.select(their_second.permute(order))
    assert np.array_equal(first.select(second.permute(order)), theirs)


def test_position_and_entries(pair: tuple[list[Any], ...]) -> None:
    (first, second), (their_first, their_second) = pair
    for entry, their_entry in zip(second, their_second, strict=True):
        assert first.position(entry) == their_first.position(their_entry)
        assert (list(entry) in first) == (list(entry) in their_first)
        assert str(entry) == str(their_entry)
        assert entry.print() == their_entry.print()


def test_dimensions(pair: tuple[list[Any], ...]) -> None:
    (first, _), (their_first, _) = pair
    column = np.arange(len(first))
    for place in range(-len(first.names), len(first.names) + 1):
        same(first.insert(place, "z", column), their_first.insert(place, "z", column))
    same(first.rename("a", "z"), their_first.rename("a", "z"))
    order = list(range(len(first.names)))[::-1]
    same(first.permute(order), their_first.permute(order))
    for name in first.names:
        unique = len(np.unique(np.delete(first.values, first.names.index(name), axis=1), axis=0)) == len(
            first
        )
        if unique and len(first.names) > 1:
            same(first.remove(name), their_first.remove(name))


def test_print(pair: tuple[list[Any], ...]) -> None:
    """Theirs may end lines in spaces, and gives a line of only the indent where nothing is left."""
    (first, _), (their_first, _) = pair
    for max_entries, indent in product([-1, 0, 3, 4, 9], [0, 3]):
        theirs = their_first.print(max_entries, indent)
        stripped = "\n".join(line.rstrip() for line in theirs.split("\n"))
        assert first.print(max_entries, indent) == stripped


def test_made_labels() -> None:
    same(Labels.single(), metatensor.Labels.single())
    same(Labels.empty(["a", "b"]), metatensor.Labels.empty(["a", "b"]))
    same(Labels.range("a", 4), metatensor.Labels.range("a", 4))


def test_the_defects_of_metatensor_that_are_not_repeated() -> None:
    """If one of these fails, metatensor was mended: then the note above can go."""
    table = np.array([[0, 4], [0, 5], [1, 4]], dtype=np.int32)
    theirs = metatensor.Labels(["a", "b"], table)
    assert not table.flags.writeable
    with pytest.raises(IndexError):
        theirs.append("c", np.arange(3))
    assert metatensor.Labels("a", np.array([[2**40]])).values.tolist() == [[0]]
    with pytest.raises(TypeError):
        _ = theirs == None  # noqa: E711
    other = metatensor.LabelsEntry(["x", "y"], np.array([0, 5], dtype=np.int32))
    assert theirs.position(other) == 1
    assert LabelsEntry(["x", "y"], [0, 5]) != Labels(["a", "b"], [[0, 5]])[0]
