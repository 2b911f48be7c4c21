"""The switch of checks: how it is set, and what is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock
from tests.support.lazy import cut_at
from tests.support.operands import operand


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    og.unsafe_enable_checks()


def block(first: int, samples: int = 2, name: str = "system") -> TensorBlock:
    labels = Labels(name, np.arange(first, first + samples)[:, None]), Labels.range("n", 3)
    return TensorBlock(np.full((samples, 3), float(first)), labels[0], [], labels[1])


def test_calls_set_the_switch_for_good() -> None:
    assert og.checks_enabled()
    assert repr(og.unsafe_disable_checks()) == "checks disabled"
    assert not og.checks_enabled()
    assert repr(og.unsafe_enable_checks()) == "checks enabled"
    assert og.checks_enabled()


def test_contexts_restore_the_switch() -> None:
    with og.unsafe_disable_checks():
        assert not og.checks_enabled()
        with og.unsafe_enable_checks():
            assert og.checks_enabled()
            with og.unsafe_disable_checks() as inner:
                assert repr(inner) == "checks disabled"
            assert og.checks_enabled()
        assert not og.checks_enabled()
    assert og.checks_enabled()
    with pytest.raises(KeyError), og.unsafe_disable_checks():
        raise KeyError
    assert og.checks_enabled()


def test_a_context_that_is_entered_later_and_again() -> None:
    disable = og.unsafe_disable_checks()
    og.unsafe_enable_checks()
    for _ in range(2):
        with disable:
            assert not og.checks_enabled()
        assert og.checks_enabled()


def test_the_configuration_is_the_switch() -> None:
    with dask.config.set({"outgrad.checks": False}):
        assert not og.checks_enabled()
    assert og.checks_enabled()


@pytest.mark.parametrize(
    ("variable", "value", "enabled"),
    [
        ("OUTGRAD_UNSAFE_DISABLE_CHECKS", "Yes", False),
        ("OUTGRAD_UNSAFE_DISABLE_CHECKS", "0", True),
        ("DASK_OUTGRAD__CHECKS", "false", False),
    ],
)
def test_environment_variables(variable: str, value: str, enabled: bool) -> None:
    command = [sys.executable, "-W", "ignore", "-c", "import outgrad; print(outgrad.checks_enabled())"]
    environment = {**os.environ, variable: value}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert out == f"{enabled}\n"


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_labels_are_compared_only_with_checks(name: str, lazy: bool) -> None:
    call: Any = getattr(og, name)
    first, second = block(1), block(5)
    if lazy:
        first, second = first.chunk(), second.chunk()
    with pytest.raises(NotEqualError, match="should have the same samples"):
        call(first, second)
    with og.unsafe_disable_checks():
        result = call(first, second)
        renamed = call(first, block(5, name="structure"))
    assert result.samples == renamed.samples == first.samples
    expected = {"add": 6, "subtract": -4, "multiply": 5, "divide": 0.2}[name]
    assert (result.compute().values == expected).all()
    assert (renamed.compute().values == expected).all()


def test_samples_in_another_order_are_not_aligned() -> None:
    first = block(0)
    second = TensorBlock(
        np.array([[0.0] * 3, [10.0] * 3]), Labels("system", [[1], [0]]), [], first.properties
    )
    with og.unsafe_disable_checks():
        assert og.add(first, second).values[:, 0].tolist() == [0, 10]
        assert og.add(first, second, align="outer").values[:, 0].tolist() == [10, 0]
    assert og.add(first, second).values[:, 0].tolist() == [10, 0]


def test_shapes_keys_and_gradients_are_compared_always() -> None:
    map, other = operand(0), operand(1)
    cases = {
        "same samples": (block(0), block(0, samples=3)),
        "same keys": (map, og.append_dimension(map, "keys", "x", 0)),
        "same gradient": (map, og.remove_gradients(other, "cell")),
        "same properties": (map, og.slice(other, "properties", Labels("l", [[1]]))),
        "number of components": (map, og.sum_over_components(other, "m")),
    }
    with og.unsafe_disable_checks():
        for match, operands in cases.items():
            with pytest.raises(NotEqualError, match=match):
                og.add(*operands)
        components = og.rename_dimension(other, "components", "m", "mu")
        with pytest.raises(NotEqualError, match="same gradient"):
            og.add(map, og.rename_dimension(other, "samples", "atom", "center"))
        total = og.add(map, components)
    assert total.component_names == ["m"]


def test_gradient_rows_are_united_without_checks() -> None:
    map, other = operand(0), operand(1)
    expected = og.multiply(map, other)
    cuts = [[0, 1, 4, 7], [0, 3, 4], [0, 0]]
    with og.unsafe_disable_checks():
        assert og.equal(og.multiply(map, other), expected)
        assert og.equal(og.multiply(cut_at(map, cuts), other), expected)
