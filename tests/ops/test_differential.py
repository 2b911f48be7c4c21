"""Every operation that metatensor has, on random maps: the same result, or a documented difference.

Where metatensor refuses what Outgrad can do, there is nothing to compare. What it does otherwise is listed in
``docs/differences.md``, which has tests of its own; here operations are called so that both should agree.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import outgrad as og
from outgrad.testing.strategies import tensor_maps
from tests.support.lazy import cut_at

upstream = pytest.importorskip("metatensor")
pytest.importorskip("metatensor.operations")
interop = pytest.importorskip("outgrad.interop.metatensor")

Call = Callable[[Any, Any], Any]


def first(m: Any, labels: Any, count: int = 1) -> Any:
    """Labels that select what agrees with the first entry in the first dimension."""
    return m.Labels(list(labels.names[:1]), np.array(labels.values[:count, :1]))


def wide(m: Any, A: Any) -> Any:
    """A map without zeros."""
    return m.add(m.multiply(A, A), 1)


def shifted(m: Any, A: Any) -> Any:
    """The same map for other systems."""
    return m.TensorMap(A.keys, [_moved(m, block) for block in A])


def _moved(m: Any, block: Any) -> Any:
    table = np.array(block.samples.values)
    table[:, 0] += 100
    moved = m.TensorBlock(
        np.array(block.values), m.Labels(block.samples.names, table), block.components, block.properties
    )
    for name, gradient in block.gradients():
        moved.add_gradient(name, gradient.copy())
    return moved


def renamed(m: Any, A: Any) -> Any:
    return m.rename_dimension(A, "properties", "n", "k")


def weights(m: Any, A: Any) -> Any:
    """Values (2, P) for each block."""
    samples = m.Labels(["q"], np.array([[0], [1]]))
    return m.TensorMap(
        A.keys,
        [
            m.TensorBlock(np.arange(2.0 * len(b.properties)).reshape(2, -1) + 1, samples, [], b.properties)
            for b in A
        ],
    )


ANY: dict[str, Call] = {
    "abs": lambda m, A: m.abs(A),
    "add": lambda m, A: m.add(A, m.multiply(A, 3)),
    "add number": lambda m, A: m.add(A, 2),
    "subtract": lambda m, A: m.subtract(A, m.multiply(A, 0.5)),
    "multiply": lambda m, A: m.multiply(A, A),
    "divide": lambda m, A: m.divide(A, wide(m, A)),
    "divide number": lambda m, A: m.divide(A, 3),
    "pow": lambda m, A: m.pow(wide(m, A), -1.5),
    "operators": lambda m, A: -(A + A) * 2 - A / 4,
    "dot": lambda m, A: m.dot(A, weights(m, A)),
    "sum_over_samples": lambda m, A: m.sum_over_samples(A, ["atom"]),
    "sum of all samples": lambda m, A: m.sum_over_samples(A, ["system", "atom"]),
    "sum_over_properties": lambda m, A: m.sum_over_properties(A, ["n"]),
    "slice samples": lambda m, A: m.slice(A, "samples", first(m, A.block(0).samples, 2)),
    "slice properties": lambda m, A: m.slice(A, "properties", first(m, A.block(0).properties)),
    "split": lambda m, A: m.split(A, "samples", [first(m, b.samples) for b in A])[0],
    "split properties": lambda m, A: m.split(A, "properties", [first(m, b.properties) for b in A])[-1],
    "filter_blocks": lambda m, A: m.filter_blocks(A, first(m, A.keys)),
    "drop_blocks": lambda m, A: m.drop_blocks(A, first(m, A.keys)),
    "drop_empty_blocks": lambda m, A: m.drop_empty_blocks(A),
    "sort": lambda m, A: m.sort(A),
    "sort samples": lambda m, A: m.sort(A, "samples"),
    "sort properties descending": lambda m, A: m.sort(A, ["properties", "keys"], descending=True),
    "make_contiguous": lambda m, A: m.make_contiguous(A),
    "join samples": lambda m, A: m.join([A, shifted(m, A)], "samples"),
    "join samples, named": lambda m, A: m.join([A, A, A], "samples", add_dimension="part"),
    "join properties": lambda m, A: m.join([A, m.multiply(A, 2)], "properties", add_dimension="part"),
    "join other properties": lambda m, A: m.join([A, renamed(m, A)], "properties"),
    "join union": lambda m, A: m.join(
        [A, shifted(m, m.drop_blocks(A, first(m, A.keys)))], "samples", different_keys="union"
    ),
    "join intersection": lambda m, A: m.join(
        [A, shifted(m, m.drop_blocks(A, first(m, A.keys)))], "samples", different_keys="intersection"
    ),
    "append_dimension": lambda m, A: m.append_dimension(A, "samples", "x", 3),
    "append to keys": lambda m, A: m.append_dimension(A, "keys", "x", np.arange(len(A.keys))),
    "insert_dimension": lambda m, A: m.insert_dimension(A, "properties", 0, "x", 3),
    "permute_dimensions": lambda m, A: m.permute_dimensions(A, "samples", [1, 0]),
    "remove_dimension": lambda m, A: m.remove_dimension(
        m.append_dimension(A, "samples", "x", 3), "samples", "x"
    ),
    "rename_dimension": lambda m, A: m.rename_dimension(A, "samples", "atom", "center"),
    "ones_like": lambda m, A: m.ones_like(A),
    "zeros_like": lambda m, A: m.zeros_like(A, gradients=[]),
    "random_uniform_like": lambda m, A: m.multiply(m.random_uniform_like(A), 0),
    "empty_like": lambda m, A: m.zeros_like(m.empty_like(A)),
    "detach": lambda m, A: m.detach(A),
    "remove_gradients": lambda m, A: m.remove_gradients(A),
    "remove one gradient": lambda m, A: m.remove_gradients(A, ["cell"]),
    "lstsq": lambda m, A: m.lstsq(A, m.multiply(A, 2), rcond=1e-10),
}
"""Operations on maps whose blocks may differ in everything but names."""

UNIFORM: dict[str, Call] = {
    "keys_to_properties": lambda m, A: A.keys_to_properties("center_type"),
    "both keys to properties": lambda m, A: A.keys_to_properties(["neighbor_type", "center_type"]),
    "keys_to_properties, filled": lambda m, A: A.keys_to_properties(
        "center_type", fill_value=-2.0, sort_samples=False
    ),
    "keys_to_properties of some": lambda m, A: A.keys_to_properties(
        m.Labels(["center_type"], np.array([[3], [1], [9]]))
    ),
    "keys_to_samples": lambda m, A: A.keys_to_samples("neighbor_type"),
    "both keys to samples": lambda m, A: A.keys_to_samples(
        ["center_type", "neighbor_type"], sort_samples=False
    ),
    "components_to_properties": lambda m, A: A.components_to_properties(A.component_names[:1] or ["none"]),
}
"""Operations on maps whose blocks have the same components and properties."""

NO_GRADIENTS: dict[str, Call] = {
    f"{kind}_over_{axis}": lambda m, A, kind=kind, axis=axis, name=name: getattr(m, f"{kind}_over_{axis}")(
        A, name
    )
    for kind in ("mean", "var", "std")
    for axis, name in (("samples", "atom"), ("properties", "n"))
}
REDUCED = list(NO_GRADIENTS)
"""Reductions, whose gradients differ where rows are missing: test_metatensor compares dense ones."""

ANSWERS: dict[str, Call] = {
    "equal": lambda m, A: (m.equal(A, A), m.equal(A, m.add(A, 1))),
    "allclose": lambda m, A: (m.allclose(A, m.multiply(A, 1 + 1e-15)), m.allclose(A, m.add(A, 1))),
    "equal_metadata": lambda m, A: (m.equal_metadata(A, m.multiply(A, 2)), m.equal_metadata(A, m.sort(A))),
    "unique_metadata": lambda m, A: m.unique_metadata(A, "samples", ["system"]).values.tolist(),
    "of a gradient": lambda m, A: m.unique_metadata(A, "samples", "sample", gradient="cell").values.tolist(),
    "one_hot": lambda m, A: m.one_hot(A.block(0).samples, m.unique_metadata(A, "samples", "system")).tolist(),
    "is_contiguous": lambda m, A: m.is_contiguous(A),
    "names": lambda m, A: (A.sample_names, A.component_names, A.property_names),
}


# Maps that upstream refuses are thrown away: for some operations most of them.
ANY_MAPS = settings(suppress_health_check=[*settings().suppress_health_check, HealthCheck.filter_too_much])


def theirs(call: Call, map: og.TensorMap) -> Any:
    """What upstream makes of it; maps that it refuses are not compared."""
    try:
        return call(upstream, interop.to_metatensor(map))
    except Exception:
        assume(False)


def compare(call: Call, map: og.TensorMap) -> None:
    expected = interop.from_metatensor(theirs(call, map))
    ours = call(og, map)
    og.equal_metadata_raise(ours, expected)
    og.allclose_raise(ours, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    lazy = call(og, cut_at(map, [[0, (len(b) + 1) // 2, len(b)] for b in map]))
    og.equal_metadata_raise(lazy, expected)
    og.allclose_raise(lazy, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ANY)
@ANY_MAPS
@given(data=st.data())
def test_maps_of_any_blocks(name: str, data: Any) -> None:
    map = data.draw(tensor_maps())
    if "sum" in name or "sort" in name:  # upstream names or sorts blocks without entries otherwise
        assume(all(block.values.size for block in map))
    compare(ANY[name], map)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNIFORM)
@ANY_MAPS
@given(data=st.data())
def test_maps_of_uniform_blocks(name: str, data: Any) -> None:
    map = data.draw(tensor_maps(uniform=True, key_names=["center_type", "neighbor_type"], max_blocks=4))
    compare(UNIFORM[name], map)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NO_GRADIENTS)
@ANY_MAPS
@given(data=st.data())
def test_maps_without_gradients(name: str, data: Any) -> None:
    settings = {"component_names": []} if "properties" in name else {}  # upstream divides along another axis
    map = data.draw(tensor_maps(parameters={}, **settings))
    assume(all(block.values.size for block in map))
    compare(NO_GRADIENTS[name], map)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ANSWERS)
@ANY_MAPS
@given(data=st.data())
def test_answers(name: str, data: Any) -> None:
    map = data.draw(tensor_maps())
    assume(all(block.values.size for block in map))
    expected = theirs(ANSWERS[name], map)
    assert ANSWERS[name](og, map) == expected


def test_every_function_of_upstream_is_compared() -> None:
    """Functions that are not called above have tests of their own, in the files named here."""
    elsewhere = {
        "solve": "test_linear",
        "block_from_array": "test_create_like",
        "requires_grad": "test_arrays",
        "checks_enabled": "test_switches",
        "unsafe_disable_checks": "test_switches",
        "unsafe_enable_checks": "test_switches",
    }
    source = Path(__file__).read_text(encoding="utf-8")
    names = [name for name in dir(upstream.operations) if callable(getattr(upstream.operations, name))]
    for name in names:
        base = name.removesuffix("_raise").removesuffix("_block")
        base = {"join_blocks": "join"}.get(base, base)
        if base in REDUCED:
            continue
        called = any(f"{prefix}{base}{suffix}" in source for prefix in ("m.", '"') for suffix in ("(", '"'))
        assert name.startswith("_") or name == "NotEqualError" or base in elsewhere or called, name
