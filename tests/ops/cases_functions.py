"""Rows of the table: functions of each element and of each row, powers by a map."""

from __future__ import annotations

from typing import Any

import numpy as np

import outgrad as og
from outgrad import TensorBlock, TensorMap
from tests.ops.case import Array, Case, Exceptions, value


# ---- arguments away from 0, where logarithms and roots have no derivative ----
def positive(map: TensorMap) -> TensorMap:
    """x² + 1/2: positive for real numbers, holomorphic for complex ones."""
    return og.square(map) + 0.5


# ---- exponents without gradients ----
def exponents_like(values: Array) -> Array:
    """Integers from −2 to 3, also 0 and 1."""
    return (np.arange(values.size).reshape(values.shape) % 6 - 2).astype(np.int8)


def exponents(map: TensorMap) -> TensorMap:
    return TensorMap(
        map.keys,
        [
            TensorBlock(
                exponents_like(np.empty(block.shape)), block.samples, block.components, block.properties
            )
            for block in map
        ],
    )


def raised(block: TensorBlock) -> Array:
    values = block.values
    floats = values if values.dtype.kind in "fc" else values.astype(float)
    return np.asarray(floats ** exponents_like(values))


# ---- arctan and its derivatives: module-level, so that plain pickle knows them ----
def arctan_1(x: Array) -> Array:
    return np.asarray(1 / (1 + x * x))


def arctan_2(x: Array) -> Array:
    return -2 * x * arctan_1(x) ** 2


def arctan_3(x: Array) -> Array:
    return np.asarray((6 * x * x - 2) * arctan_1(x) ** 3)


ARCTAN = (arctan_1, arctan_2, arctan_3)


# ---- x/|x| with the derivatives of s(q) x for q = x·x, s = q^(−1/2) ----
def both(x: Array, y: Array) -> Array:
    return (x * y).sum(axis=-1, keepdims=True)


def root(x: Array, order: int) -> Array:
    """The derivatives of q^(−1/2)."""
    factor = (1, -1 / 2, 3 / 4, -15 / 8)[order]
    return np.asarray(factor * both(x, x) ** (-0.5 - order))


def unit(x: Array) -> Array:
    return x * root(x, 0)


def unit_1(x: Array, a: Array) -> Array:
    return a * root(x, 0) + 2 * x * root(x, 1) * both(x, a)


def unit_2(x: Array, a: Array, b: Array) -> Array:
    first, second, mixed = 2 * both(x, a), 2 * both(x, b), 2 * both(a, b)
    return (a * second + b * first + x * mixed) * root(x, 1) + x * root(x, 2) * first * second


def unit_3(x: Array, a: Array, b: Array, c: Array) -> Array:
    qa, qb, qc = (2 * both(x, each) for each in (a, b, c))
    qab, qac, qbc = 2 * both(a, b), 2 * both(a, c), 2 * both(b, c)
    return (
        (a * qbc + b * qac + c * qab) * root(x, 1)
        + (a * qb * qc + b * qa * qc + c * qa * qb + x * (qa * qbc + qb * qac + qc * qab)) * root(x, 2)
        + x * root(x, 3) * qa * qb * qc
    )


UNIT = (unit_1, unit_2, unit_3)


# ---- a layer of a network: tanh(x W − 1/4), with numbers whose sums are exact in any order ----
LAYER_SIZE = 3


def mixed(x: Array) -> Array:
    """x W; the matrix is float16, which widens no other dtype."""
    matrix = (np.arange(x.shape[-1] * LAYER_SIZE) % 7 - 3).reshape(-1, LAYER_SIZE).astype(np.float16) / 8
    return np.asarray((x[..., None] * matrix).sum(axis=-2))


def layer(x: Array) -> Array:
    return np.tanh(mixed(x) - 0.25)


def layer_1(x: Array, a: Array) -> Array:
    return (1 - layer(x) ** 2) * mixed(a)


def layer_2(x: Array, a: Array, b: Array) -> Array:
    return -2 * layer(x) * (1 - layer(x) ** 2) * mixed(a) * mixed(b)


def layer_3(x: Array, a: Array, b: Array, c: Array) -> Array:
    return (6 * layer(x) ** 2 - 2) * (1 - layer(x) ** 2) * mixed(a) * mixed(b) * mixed(c)


LAYER = (layer_1, layer_2, layer_3)


def on_maps(name: str) -> Any:
    return getattr(og, name)


CASES = [
    *(
        Case(name, name, on_maps(name), value(getattr(np, name)), linear=False)
        for name in ("exp", "tanh", "sin", "cos")
    ),
    *(
        Case(
            name,
            name,
            lambda A, name=name: on_maps(name)(positive(A)),
            value(lambda x, name=name: getattr(np, name)(np.square(x) + 0.5)),
            linear=False,
            passes=3,  # the square, the sum, and the function
        )
        for name in ("log", "sqrt")
    ),
    Case("square of a map", "square", og.square, value(np.square), linear=False),
    Case(
        "clip",
        "clip",
        lambda A: og.clip(A, -0.41, 0.73),
        value(lambda x: np.clip(x, -0.41, 0.73)),
        complex=False,
    ),
    Case(
        "clip below",
        "clip",
        lambda A: og.clip(A, min=0.1),
        value(lambda x: np.clip(x, 0.1, None)),
        rule="below",
        complex=False,
    ),
    Case("reciprocal", "reciprocal", og.reciprocal, value(lambda x: 1.0 / x), linear=False),
    Case(
        "map ** map",
        "pow",
        lambda A, B: og.pow(positive(A), B),
        value(lambda x, y: np.power(np.square(x) + 0.5, y)),
        2,
        rule="map",
        linear=False,
        passes=3,
    ),
    Case(
        "map ** integers",
        "pow",
        lambda A: A ** exponents(A),
        raised,
        rule="integers",
        linear=False,
        passes=3,
        exceptions=Exceptions(own_operand=True),
    ),
    Case(
        "apply arctan",
        "apply",
        lambda A: og.apply(A, np.arctan, ARCTAN),
        value(np.arctan),
        linear=False,
    ),
    Case(
        "unit rows",
        "apply_rows",
        lambda A: og.apply_rows(A, unit, UNIT),
        value(unit),
        linear=False,
    ),
    Case(
        "layer of a network",
        "apply_rows",
        lambda A: og.apply_rows(A, layer, LAYER),
        value(layer),
        linear=False,
    ),
]
