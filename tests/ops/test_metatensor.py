"""Parity with metatensor-operations, on random maps and on real ones; finite differences come first.

What upstream does otherwise is listed in ``DIFFERENT``, and a test shows that it still does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.testing import assert_identical
from tests.ops.cases_basic import weights
from tests.support import EXAMPLES
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS, FLAT, operand
from tests.support.upstream import agree, interop, upstream, without_empty_blocks

Call = Callable[[Any, Any], Any]


def first_value(module: Any, labels: Any) -> Any:
    """Labels that select the entries which agree with the first one in the first dimension."""
    return module.Labels(list(labels.names[:1]), np.array(labels.values[:1, :1]))


OPERATIONS: dict[str, Call] = {
    "add": lambda m, A: m.add(A, A),
    "add number": lambda m, A: m.add(A, 2),
    "subtract": lambda m, A: m.subtract(A, m.multiply(A, 0.5)),
    "subtract number": lambda m, A: m.subtract(A, 0.25),
    "multiply": lambda m, A: m.multiply(A, A),
    "multiply number": lambda m, A: m.multiply(A, -3),
    "divide": lambda m, A: m.divide(A, m.add(m.multiply(A, A), 1)),
    "divide number": lambda m, A: m.divide(A, 7),
    "pow 2": lambda m, A: m.pow(A, 2),
    "pow -1": lambda m, A: m.pow(m.add(m.multiply(A, A), 1), -1),
    "abs": lambda m, A: m.abs(A),
    "remove gradients": lambda m, A: m.remove_gradients(A),
    "slice samples": lambda m, A: m.slice(A, "samples", m.Labels(["system"], np.array([[0], [3]], np.int32))),
    "slice properties": lambda m, A: m.slice(A, "properties", first_value(m, A.block(0).properties)),
    "sum over atoms": lambda m, A: m.sum_over_samples(A, ["atom"]),
    "sum over all": lambda m, A: m.sum_over_samples(A, ["system", "atom"]),
    "sum over properties": lambda m, A: m.sum_over_properties(A, A.property_names[:1]),
    "sum over all properties": lambda m, A: m.sum_over_properties(A, A.property_names),
}


DENSE: dict[str, Call] = {
    **{
        f"{kind} of {names}": lambda m, A, kind=kind, names=names: getattr(m, f"{kind}_over_samples")(
            A, names
        )
        for kind in ("mean", "var", "std")
        for names in (["atom"], ["system", "atom"])
    },
    **{
        f"{kind} over properties": lambda m, A, kind=kind: getattr(m, f"{kind}_over_properties")(
            A, A.property_names[:1]
        )
        for kind in ("mean", "var", "std")
    },
}
"""Reductions whose gradients agree where no gradient row is missing."""


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 1.0])
def test_random_maps(name: str, sparsity: float) -> None:
    map = without_empty_blocks(operand(0, sparsity=sparsity))
    theirs = OPERATIONS[name](upstream, interop.to_metatensor(map))
    agree(OPERATIONS[name](og, map), theirs)


@pytest.mark.parametrize("name", DENSE)
def test_reductions_of_dense_gradients(name: str) -> None:
    map = dense_map()
    ours = DENSE[name](og, map)
    theirs = DENSE[name](upstream, interop.to_metatensor(map))
    assert og.equal_metadata(ours, interop.from_metatensor(theirs))
    assert og.allclose(ours, interop.from_metatensor(theirs), rtol=1e-10, atol=1e-11)
    assert og.allclose(DENSE[name](og, cut_at(map, [[0, 2, 2, 5, 9]])), ours, rtol=1e-10, atol=1e-11)


def dense_map() -> og.TensorMap:
    """A block without components (upstream's reductions over properties do not take them), all rows present.

    A target of one sample is one of no other sample, so every group of targets must have rows of all samples.
    """
    rng = np.random.default_rng(3)
    samples = og.Labels(["system", "atom"], [[s, a] for s in (0, 1, 4) for a in range(3)])
    properties = og.Labels(["n", "l"], [[0, 0], [0, 1], [1, 0], [1, 1]])
    block = og.TensorBlock(rng.normal(size=(9, 4)), samples, [], properties)
    rows = og.Labels(["sample", "target"], [[r, t] for r in range(9) for t in range(2)])
    xyz = og.Labels.range("xyz", 3)
    block.add_gradient("positions", og.TensorBlock(rng.normal(size=(18, 3, 4)), rows, [xyz], properties))
    return og.TensorMap(og.Labels.single(), [block])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_real_maps(name: str, file: Path) -> None:
    given = upstream.load(str(file))
    ours = interop.from_metatensor(given)
    agree(OPERATIONS[name](og, ours), OPERATIONS[name](upstream, given))
    agree(OPERATIONS[name](og, ours.chunk(target_bytes=20_000)), OPERATIONS[name](upstream, given))


def test_dot() -> None:
    map = without_empty_blocks(operand(0))
    theirs = upstream.dot(interop.to_metatensor(map), interop.to_metatensor(weights(map)))
    agree(og.dot(map, weights(map)), theirs)


def test_dtypes_of_integers_with_numbers() -> None:
    map = without_empty_blocks(operand(0, dtype="int64", parameters={}))
    for call in (lambda m, A: m.add(A, 1), lambda m, A: m.multiply(A, 2), lambda m, A: m.pow(A, -2)):
        theirs = call(upstream, interop.to_metatensor(map))
        assert call(og, map).block(0).dtype == theirs.block(0).dtype == np.float64


def test_conversion_keeps_everything() -> None:
    map = operand(0, parameters=FLAT)
    assert_identical(interop.from_metatensor(interop.to_metatensor(map)), map)
    assert_identical(interop.from_metatensor(interop.to_metatensor(cut_at(map, ACROSS_SYSTEMS))), map)


DIFFERENT: dict[str, tuple[str, Call]] = {
    "gradient of x⁰ at 0": ("0 · 0⁻¹ is NaN upstream", lambda m, A: m.pow(m.multiply(A, 0), 0)),
}


@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
@pytest.mark.parametrize("name", DIFFERENT)
def test_known_differences_are_still_there(name: str) -> None:
    map = without_empty_blocks(operand(0, sparsity=1.0))
    call = DIFFERENT[name][1]
    assert not og.equal(call(og, map), interop.from_metatensor(call(upstream, interop.to_metatensor(map))))


def test_info_is_kept_here_and_dropped_upstream() -> None:
    map = operand(0)
    assert (map + 1).info() == {"source": "seed 0"}
    assert upstream.add(interop.to_metatensor(map), 1).info() == {}
