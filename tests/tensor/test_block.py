"""Blocks: construction, its rules, and what can be asked."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, ValidationError
from outgrad.testing import Parameter, random_block

S, M, N = Labels(["system", "atom"], [[0, 0], [0, 1], [2, 0]]), Labels("m", [[-1], [0]]), Labels.range("n", 4)
VALUES = np.arange(24.0).reshape(3, 2, 4)


def block(values: Any = VALUES, samples: Any = S, components: Any = (M,), properties: Any = N) -> TensorBlock:
    return TensorBlock(values, samples, components, properties)


def test_a_block_gives_back_what_it_was_made_of() -> None:
    made = block()
    assert made.values is VALUES
    assert made.samples is S
    assert made.components == [M]
    assert made.properties is N
    assert made.shape == (3, 2, 4)
    assert len(made) == 3
    assert made.dtype == np.float64
    assert made.device == "cpu"
    assert made.nbytes == 24 * 8
    assert made.chunks is None
    assert not made.is_view
    assert made.gradients_list() == []
    assert list(made.gradients()) == []


def test_arguments_have_names() -> None:
    made = TensorBlock(values=VALUES, samples=S, components=[M], properties=N)
    assert made == block()


@pytest.mark.parametrize("shape", [(0, 2, 4), (3, 2, 0), (0, 2, 0)])
def test_blocks_may_be_empty(shape: tuple[int, ...]) -> None:
    samples = S if shape[0] else Labels.empty(["system", "atom"])
    made = block(np.zeros(shape), samples=samples, properties=Labels.range("n", shape[-1]))
    assert made.shape == shape
    assert made.nbytes == 0
    assert made.chunk(8).compute() == made


def test_axes_may_share_names() -> None:
    TensorBlock(np.zeros((2, 2, 2)), Labels.range("n", 2), [Labels.range("n", 2)], Labels.range("n", 2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int8", "int64", "uint16", "bool"])
def test_dtypes(dtype: str) -> None:
    assert block(VALUES.astype(dtype)).dtype == dtype


def test_values_cannot_be_exchanged_but_written() -> None:
    made = block(VALUES.copy())
    with pytest.raises(AttributeError, match=r"values of a block cannot be replaced.*block.values\[:\] = …"):
        made.values = VALUES
    made.values[:] = 7
    assert (made.values == 7).all()


def test_components_may_come_from_an_iterator() -> None:
    assert block(components=iter([M])) == block()


def test_components_cannot_be_changed_from_outside() -> None:
    made = block()
    made.components.clear()
    assert made.components == [M]


WRONG_TYPES = [
    (
        {"values": [[1.0]]},
        "TensorBlock: values must be a NumPy or Dask array, got list; convert with numpy.asarr",
    ),
    ({"values": 1.0}, "values must be a NumPy or Dask array, got float"),
    ({"samples": [[0, 0]]}, "TensorBlock: samples must be Labels, got list"),
    ({"properties": None}, "TensorBlock: properties must be Labels, got NoneType"),
    ({"components": ["m"]}, r"TensorBlock: components\[0\] must be Labels, got str"),
]


@pytest.mark.parametrize(("changes", "match"), WRONG_TYPES)
def test_wrong_types(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        block(**changes)


TWO = Labels(["m", "k"], [[0, 0], [1, 0]])
WRONG = [
    (
        {"values": VALUES[0]},
        r"values have 2 axes, shape \(2, 4\), but samples, 1 component\(s\) and properties nee",
    ),
    (
        {"components": []},
        r"values have 3 axes, shape \(3, 2, 4\), but .* 0 component\(s\) .* need 2; give one Labels",
    ),
    ({"values": VALUES[:2]}, "axis 0 of the values has 2 entries, but the samples have 3; values have shape"),
    (
        {"values": VALUES[:, :1]},
        r"axis 1 of the values has 1 entries, but the m have 2; .* labels describe \(3, 2, 4\)",
    ),
    ({"values": VALUES[..., :3]}, "axis 2 of the values has 3 entries, but the properties have 4"),
    (
        {"components": [TWO]},
        r"components\[0\] must have one dimension and at least one entry, got .*\['m', 'k'\]",
    ),
    ({"components": [Labels.empty("m")]}, r"components\[0\] must have one .* with 0 entries"),
    (
        {"values": np.zeros((3, 2, 2, 4)), "components": [M, M]},
        r"component names must differ, found \['m'\] more than once in \['m', 'm'\]",
    ),
    (
        {"values": VALUES.astype(str)},
        r"values must be numbers or booleans, got dtype <U32; convert with values.asty",
    ),
    ({"values": VALUES.astype(object)}, "values must be numbers or booleans, got dtype object"),
    ({"values": VALUES.astype("M8[s]")}, "values must be numbers or booleans, got dtype datetime64"),
]


@pytest.mark.parametrize(("changes", "match"), WRONG)
@pytest.mark.parametrize("lazy", [False, True])
def test_wrong_labels_and_values(changes: dict[str, Any], match: str, lazy: bool) -> None:
    if lazy:
        changes = {**changes, "values": da.from_array(changes.get("values", VALUES), chunks=-1)}
    with pytest.raises(ValidationError, match=match):
        block(**changes)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_values_have_two_axes_or_more(shape: tuple[int, ...]) -> None:
    for values in (np.zeros(shape), da.zeros(shape)):
        with pytest.raises(ValidationError, match=rf"values have {len(shape)} axes"):
            block(values)


# ---- gradients ----
def test_gradients_are_views() -> None:
    made = random_block(np.random.default_rng(0), S, [M], N, {"p": Parameter((3,)), "q": Parameter()})
    assert made.gradients_list() == ["p", "q"]
    assert made.has_gradient("p")
    assert not made.has_gradient("r")
    gradient = made.gradient("p")
    assert gradient.is_view
    assert gradient.samples.names == ["sample", "system", "atom"]
    assert gradient.components[1:] == [M]
    assert gradient.properties is N
    assert gradient.values is made.gradient("p").values
    gradient.values[:] = 1
    assert (made.gradient("p").values == 1).all()
    assert [name for name, _ in made.gradients()] == ["p", "q"]
    assert all(one == made.gradient(name) for name, one in made.gradients())
    assert made.nbytes == made.values.nbytes + sum(g.values.nbytes for _, g in made.gradients())


@pytest.mark.parametrize("name", ["r", "", "p/q"])
def test_gradients_that_are_not_there(name: str) -> None:
    made = random_block(np.random.default_rng(0), S, [M], N, {"p": Parameter()})
    match = rf"gradient\('{name}'\): gradient not found; the block has \['p'\]"
    with pytest.raises(ValidationError, match=match):
        made.gradient(name)


def test_blocks_from_arrays() -> None:
    array = np.arange(120.0).reshape(2, 3, 4, 5)
    made = og.block_from_array(array)
    assert made.values is array
    assert made.samples == Labels.range("sample", 2)
    assert made.components == [Labels.range("component_1", 3), Labels.range("component_2", 4)]
    assert made.properties == Labels.range("property", 5)
    folded = og.block_from_array(array, sample_names=["s", "t"], property_names=["n", "l"])
    assert folded.shape == (6, 20)
    assert folded.samples.values.tolist()[:4] == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert folded.properties.values.tolist()[:6] == [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4], [1, 0]]
    assert (folded.values == array.reshape(6, 20)).all()
    named = og.block_from_array(array, component_names=["m", "k"])
    assert [component.names for component in named.components] == [["m"], ["k"]]
    assert og.block_from_array(da.from_array(array)).compute() == made
