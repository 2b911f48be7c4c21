"""Calls that differ in one parameter: where a name leaves it out, two of them have the names of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap

ROWS = 36
CHUNK_BYTES = 26_000
"""Every chunk has rows of every group, and groups cross chunks."""

Call = Callable[[TensorMap], TensorMap]


def block(rng: np.random.Generator, gradients: Mapping[str, str]) -> TensorBlock:
    """Values of two components, whose samples fall into three groups in two ways."""
    row = np.arange(ROWS)
    samples = Labels(["i", "a", "b"], np.stack([row, row % 3, (row // 3) % 3], 1))
    properties = Labels(["n", "m"], [[0, 0], [1, 1], [0, 2]])
    components = [Labels.range("mu", 3), Labels.range("nu", 3)]
    found = TensorBlock(rng.normal(size=(ROWS, 3, 3, 3)), samples, components, properties)
    for name, direction in gradients.items():
        table = np.stack([np.repeat(row, 2), np.tile([0, 1], ROWS)], 1)
        own = [Labels.range(direction, 3), *components]
        values = rng.normal(size=(2 * ROWS, 3, 3, 3, 3))
        found.add_gradient(name, TensorBlock(values, Labels(["sample", "atom"], table), own, properties))
    return found


def tensor(seed: int = 0, positions: str = "positions", cell: str = "cell") -> TensorMap:
    rng = np.random.default_rng(seed)
    keys = Labels(["k", "l"], [[0, 0], [1, 0], [0, 1], [1, 1]])
    return TensorMap(keys, [block(rng, {positions: "xyz", cell: "abc"}) for _ in keys])


def _flat(x: TensorMap) -> TensorMap:
    return og.components_to_properties(x, ["mu", "nu"])


def _column(x: TensorMap, number: int) -> TensorMap:
    return og.slice(_flat(x), "properties", [number])


def _random(seed: int) -> Call:
    def call(x: TensorMap) -> TensorMap:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            return og.random_uniform_like(x)
        finally:
            np.random.set_state(state)

    return call


def _scaled(by: float) -> Call:
    """Functions of one name in one module, which differ in what they close over."""

    def f(values: Any) -> Any:
        return by * values

    def derivative(values: Any) -> Any:
        return np.full_like(values, by)

    return lambda x: og.apply(x, f, derivative)


def _reductions() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for kind in ("sum", "mean", "var", "std"):
        over_samples = getattr(og, f"{kind}_over_samples")
        for names in (["a"], ["b"], ["i"], ["a", "b"], ["i", "a"], ["i", "b"], ["b", "a"]):
            found[f"{kind} by {names}"] = lambda x, f=over_samples, names=names: f(x, by=names)
        over_properties = getattr(og, f"{kind}_over_properties")
        for name in ("n", "m"):
            found[f"{kind} over {name}"] = lambda x, f=over_properties, name=name: f(x, name)
    return found


def _keys() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for names in ("k", "l", ["k", "l"], ["l", "k"]):
        found[f"keys_to_properties {names}"] = lambda x, n=names: og.keys_to_properties(x, n)
        for sort in (True, False):
            found[f"keys_to_samples {names} {sort}"] = lambda x, n=names, sort=sort: og.keys_to_samples(
                x, n, sort_samples=sort
            )
    for wanted in ([[0], [1]], [[1], [0]], [[0]], [[0], [1], [2]], [[0], [1], [2], [3]]):
        keys = Labels("k", wanted)
        found[f"keys_to_properties {wanted}"] = lambda x, keys=keys: og.keys_to_properties(x, keys)
    wider = Labels("k", [[0], [1], [2]])
    for fill in (0.0, -0.0, 7.0, np.nan):
        found[f"fill {fill}"] = lambda x, fill=fill: og.keys_to_properties(x, wider, fill_value=fill)
    return found


def _moves() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for axis in ("keys", "samples", "components", "properties", "all"):
        for descending in (False, True):
            found[f"sort {axis} {descending}"] = lambda x, a=axis, d=descending: og.sort(x, a, descending=d)
    samples = [[0, 3, 9], [3, 0, 9], [0, 3, 10], Labels("a", [[1]]), Labels("b", [[1]])]
    for number, rows in enumerate(samples):
        found[f"samples {number}"] = lambda x, rows=rows: og.slice(x, "samples", rows)
    for columns in ([0, 1], [1, 0], [0, 2]):
        found[f"properties {columns}"] = lambda x, c=columns: og.slice(x, "properties", c)
    for name in ("a", "b"):
        parts = [Labels(name, [[0]]), Labels(name, [[1]])]
        for n in range(2):
            found[f"split {name} {n}"] = lambda x, p=parts, n=n: og.split(x, "samples", p)[n]
            found[f"split_by {name} {n}"] = lambda x, name=name, n=n: og.split_by(x, name)[n]
    return found


def _joins() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for axis in ("samples", "properties"):
        for names in ("z", "y"):
            found[f"join {axis} {names}"] = lambda x, a=axis, n=names: og.join([x, 2 * x], a, add_dimension=n)
        found[f"join {axis} reversed"] = lambda x, a=axis: og.join([2 * x, x], a, add_dimension="z")
        found[f"join {axis} narrow"] = lambda x, a=axis: og.join(
            [x.to(np.float32), 2 * x], a, add_dimension="z"
        )
    return found


def _alignments() -> dict[str, Call]:
    found: dict[str, Call] = {}
    partners: dict[str, Call] = {
        "k": lambda x: og.filter_blocks(x, Labels("k", [[0]])),
        "l": lambda x: og.filter_blocks(x, Labels("l", [[0]])),
        "rows": lambda x: og.slice(x, "samples", [0, 1, 2]),
        "other rows": lambda x: og.slice(x, "samples", [0, 1, 3]),
        "doubled": lambda x: og.multiply(x, 2),
    }
    for operation in ("add", "subtract", "multiply", "divide"):
        function = getattr(og, operation)
        for name, partner in partners.items():
            for align in ("inner",) if operation == "divide" else ("outer", "inner"):
                found[f"{operation} {name} {align}"] = lambda x, f=function, p=partner, a=align: f(
                    x, p(x), align=a
                )
        for number in (2, 2.0, 3, -0.0, 0.0, np.float32(2), np.float32(0.1), 0.1):
            if operation != "divide" or number:
                found[f"{operation} {number!r}"] = lambda x, f=function, n=number: f(x, n)
        found[f"{operation} itself"] = lambda x, f=function: f(x, x)
        found[f"{operation} turned"] = lambda x, f=function: f(og.multiply(x, 2), x)
    return found


def _others() -> dict[str, Call]:
    found: dict[str, Call] = {
        "1 - x": lambda x: 1 - x,
        "x - 1": lambda x: x - 1,
        "x ** 2": lambda x: x**2,
        "x ** 3": lambda x: x**3,
        "2 ** x": lambda x: 2**x,
        "3 ** x": lambda x: 3**x,
        "float32": lambda x: x.to(np.float32),
        "complex": lambda x: x.to(np.complex128),
        "zeros": og.zeros_like,
        "ones": og.ones_like,
        "zeros, one gradient": lambda x: og.zeros_like(x, gradients=list(x.block(0).gradients_list())[:1]),
        "zeros, the other": lambda x: og.zeros_like(x, gradients=list(x.block(0).gradients_list())[1:]),
        "one gradient": lambda x: og.remove_gradients(x, x.block(0).gradients_list()[0]),
        "the other": lambda x: og.remove_gradients(x, x.block(0).gradients_list()[1]),
        "no gradients": og.remove_gradients,
        "components": lambda x: og.permute_dimensions(x, "components", [1, 0]),
        "scaled by 2": _scaled(2.0),
        "scaled by 3": _scaled(3.0),
        "random 0": _random(0),
        "random 1": _random(1),
        "solutions 0": lambda x: og.lstsq(_flat(x), _column(x, 0), rcond=None),
        "solutions 1": lambda x: og.lstsq(_flat(x), _column(x, 1), rcond=None),
        "fewer": lambda x: og.lstsq(_flat(x), _column(x, 0), rcond=0.5),
        "dot": lambda x: og.dot(_flat(x), og.remove_gradients(_flat(x))),
        "dot, doubled": lambda x: og.dot(_flat(x), og.remove_gradients(_flat(2 * x))),
        "renamed": lambda x: og.rename_dimension(x, "samples", "a", "c"),
        "gradient": lambda x: TensorMap(x.keys, [b.gradient(b.gradients_list()[0]) for b in x]),
        "other gradient": lambda x: TensorMap(x.keys, [b.gradient(b.gradients_list()[1]) for b in x]),
    }
    for names in (["mu"], ["nu"], ["mu", "nu"], ["nu", "mu"]):
        found[f"to properties {names}"] = lambda x, n=names: og.components_to_properties(x, n)
        found[f"sum over {names}"] = lambda x, n=names: og.sum_over_components(x, n)
    return found


CALLS: dict[str, Call] = {**_reductions(), **_keys(), **_moves(), **_joins(), **_alignments(), **_others()}
