"""Distinct labels and one-hot encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorMap, ValidationError
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, operand
from tests.support.stored import stored

MAP = operand(0)


def distinct(tables: list[Any]) -> list[tuple[int, ...]]:
    return sorted({tuple(row) for table in tables for row in table.tolist()})


@pytest.mark.parametrize("names", [["system"], ["atom"], ["system", "atom"], ["atom", "system"]])
@pytest.mark.parametrize("kind", ["memory", "lazy", "stored"])
def test_distinct_samples(names: list[str], kind: str) -> None:
    map = {"memory": MAP, "lazy": cut_at(MAP, ACROSS_SYSTEMS), "stored": stored(MAP)}[kind]
    for parameter in (None, "cell", "positions"):
        blocks = [block if parameter is None else block.gradient(parameter) for block in MAP]
        columns = [blocks[0].samples.names.index(name) for name in names]
        with nothing_computed():
            found = og.unique_metadata(map, "samples", names, parameter)
            one = og.unique_metadata_block(map.block(0), "samples", tuple(names), gradient=parameter)
        assert found.names == one.names == names
        assert found.values.dtype == np.int32
        expected = distinct([block.samples.values[:, columns] for block in blocks])
        assert [tuple(row) for row in found.values.tolist()] == expected
        assert [tuple(row) for row in one.values.tolist()] == distinct([blocks[0].samples.values[:, columns]])


def test_distinct_properties() -> None:
    assert og.unique_metadata(MAP, "properties", "n")["n"].tolist() == [0, 1, 2, 4]
    assert og.unique_metadata(MAP, "properties", ["l"], "cell")["l"].tolist() == [0, 1]
    assert og.unique_metadata(MAP, "samples", "sample", "cell").names == ["sample"]


def test_nothing_is_found_in_nothing() -> None:
    empty = TensorMap(Labels.empty("key"), [])
    for found in (
        og.unique_metadata(empty, "samples", ["system", "atom"]),
        og.unique_metadata(empty, "samples", ["system", "atom"], "positions"),
        og.unique_metadata(MAP.block(2), "samples", ["system", "atom"]),
    ):
        assert found == Labels.empty(["system", "atom"])


def test_errors_of_unique_metadata() -> None:
    call: Any = og.unique_metadata
    for match, arguments in {
        r"unique_metadata: 'x' not found in the dimensions of the samples, which are \['system', 'atom'\]": (
            "samples",
            ["atom", "x"],
        ),
        "unique_metadata: axis must be either 'samples' or 'properties', got 'keys'": ("keys", "center_type"),
        r"unique_metadata: gradient 'x' not found; the blocks have \['cell', 'po": ("samples", "atom", "x"),
        "unique_metadata: names is empty; give at least one dimension of the samples": ("samples", []),
        "Labels: names must differ, found 'atom' twice": ("samples", ["atom", "atom"]),
    }.items():
        with pytest.raises(ValidationError, match=match):
            call(MAP, *arguments)
    for match, arguments in {
        "unique_metadata: axis must be a str, got int": (0, "atom"),
        "unique_metadata: names must be a str, or a list of str, got 3": ("samples", 3),
        r"unique_metadata: names must be a str, or a list of str, got \['atom', 3\]": (
            "samples",
            ["atom", 3],
        ),
        "unique_metadata: gradient must be a str, got list": ("samples", "atom", ["cell"]),
    }.items():
        with pytest.raises(TypeError, match=match):
            call(MAP, *arguments)
    with pytest.raises(
        TypeError, match="unique_metadata: tensor must be a TensorMap or a TensorBlock, got L"
    ):
        call(MAP.keys, "samples", "atom")
    with pytest.raises(TypeError, match="unique_metadata_block: block must be a TensorBlock, got TensorMap"):
        og.unique_metadata_block(MAP, "samples", "atom")


ATOMS = Labels(["atom", "type"], [[0, 6], [1, 1], [2, 1], [3, -4], [4, 6]])


def test_one_hot() -> None:
    types = Labels("type", [[1], [6], [8], [-4]])
    encoded = og.one_hot(ATOMS, types)
    assert encoded.dtype == np.int32
    assert encoded.flags.writeable
    assert np.array_equal(encoded, ATOMS["type"][:, None] == types["type"][None, :])


def test_one_hot_of_nothing() -> None:
    types = Labels("type", [[1], [6]])
    assert og.one_hot(Labels.empty(["atom", "type"]), types).shape == (0, 2)
    assert og.one_hot(Labels.empty("type"), Labels.empty("type")).shape == (0, 0)


def test_errors_of_one_hot() -> None:
    call: Any = og.one_hot
    with pytest.raises(
        ValidationError, match="type=-4 is present in the labels, but was not found in the dim"
    ):
        call(ATOMS, Labels("type", [[1], [6]]))
    with pytest.raises(ValidationError, match="type=6 is present in the labels"):
        call(ATOMS, Labels.empty("type"))
    with pytest.raises(
        ValidationError, match=r"only one label dimension can be extracted.*\['atom', 'type'\]"
    ):
        call(ATOMS, ATOMS)
    with pytest.raises(ValueError, match=r"Labels: 'n' is not a dimension; use one of \['atom', 'type'\]"):
        call(ATOMS, Labels("n", [[1]]))
    with pytest.raises(TypeError, match="one_hot: labels must be Labels, got list"):
        call([1], ATOMS)
    with pytest.raises(TypeError, match="one_hot: dimension must be Labels, got str"):
        call(ATOMS, "type")
