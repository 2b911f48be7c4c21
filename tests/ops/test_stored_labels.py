"""Labels that stay in their archive: operations read none, or only those that they need."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import assert_identical
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, EMPTY_CHUNKS, FLAT, ONE_ROW, operand
from tests.support.stored import Source, stored, stored_labels


@pytest.mark.parametrize("case", ALL)
def test_results_are_the_same(case: Case) -> None:
    maps = operands(case)
    result = case.call(*(stored(cut_at(map, EMPTY_CHUNKS)) for map in maps))
    case.check_same(pickle.loads(pickle.dumps(result)), case.call(*maps))


READ_NOTHING = {
    "add": lambda A: A + A,
    "subtract a number": lambda A: 1 - A,
    "square": lambda A: A * A,
    "quotient": lambda A: A / A,
    "power": lambda A: A**-2,
    "abs": og.abs,
    "remove gradients": lambda A: og.remove_gradients(A, "cell"),
    "dtype": lambda A: A.to(dtype="float32"),
    "blocks": lambda A: TensorMap(A.keys, A.blocks()[::-1]),
    "gradients": lambda A: TensorMap(A.keys, [block.gradient("cell") for block in A]),
    "chain": lambda A: og.abs(A * 2 + A) ** 2,
}


@pytest.mark.parametrize("name", READ_NOTHING)
def test_elementwise_operations_read_no_labels(name: str) -> None:
    map = stored(cut_at(operand(0), ACROSS_SYSTEMS))
    with nothing_computed():
        result = READ_NOTHING[name](map)
        pickle.dumps(result)
    result.compute()
    assert Source.reads == []


def test_linear_operations_read_no_labels_of_gradients_of_gradients() -> None:
    map = stored(cut_at(operand(0, parameters=CLOSED), ACROSS_SYSTEMS))
    (map + 2 * map).compute()
    assert Source.reads == []


def test_sums_over_properties_read_only_properties() -> None:
    map = stored(cut_at(operand(0), ACROSS_SYSTEMS))
    properties = {block.properties.digest for block in map}
    og.sum_over_properties(map, "n").compute()
    assert {digest for digest, _, _ in Source.reads} == properties


def test_workers_read_only_the_labels_of_their_chunk() -> None:
    """Where samples are stored, a task groups the rows of its own chunk."""
    map = stored(cut_at(operand(0), ONE_ROW))
    result = og.sum_over_samples(map, "atom")
    samples = {block.samples.digest for block in map}
    fresh = pickle.loads(pickle.dumps(result))  # as on a worker, where nothing has been read
    Source.reads.clear()
    assert_identical(fresh, og.sum_over_samples(operand(0), "atom"))
    reads = [read for read in Source.reads if read[0] in samples]
    assert reads
    assert all(stop - start <= 1 for _, start, stop in reads)


def test_a_stored_gradient_is_attached_by_the_tasks() -> None:
    whole = operand(0, parameters=FLAT).block(0)
    gradient = whole.gradient("positions")
    rows = stored_labels(gradient.samples)
    block = TensorBlock(
        cut_at(og.remove_gradients(whole), [ACROSS_SYSTEMS[0]]).values,
        whole.samples,
        whole.components,
        whole.properties,
    )
    block.add_gradient(
        "positions", TensorBlock(gradient.values, rows, gradient.components, gradient.properties)
    )
    fresh = pickle.loads(pickle.dumps(block))
    Source.reads.clear()
    assert_identical(fresh, og.remove_gradients(whole, ["cell", "strain"]))
    edges = np.searchsorted(gradient.samples["sample"], ACROSS_SYSTEMS[0]).tolist()
    assert sorted(Source.reads) == [(rows.digest, start, stop) for start, stop in pairwise(edges)]


def test_checks_of_stored_gradients_read_nothing() -> None:
    properties = Labels.range("n", 2)
    block = TensorBlock(np.ones((2, 2)), Labels.range("s", 2), [], properties)
    rows = stored_labels(Labels(["sample", "atom"], [[0, 0], [1, 0]]))
    Source.reads.clear()
    block.add_gradient("x", TensorBlock(np.ones((2, 2)), rows, [], properties))
    assert Source.reads == []
