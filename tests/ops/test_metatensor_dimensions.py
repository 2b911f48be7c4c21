"""Parity with metatensor-operations: dimensions, choosing blocks, new values, distinct labels, arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad import TensorMap
from tests.support import EXAMPLES
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS, operand
from tests.support.upstream import agree, interop, upstream, without_empty_blocks

Call = Callable[[Any, Any], Any]


def table(*rows: tuple[int, ...]) -> Any:
    return np.array(rows, dtype=np.int32)


UPSTREAM: dict[str, Call] = {
    "append keys": lambda m, A: m.append_dimension(A, "keys", "x", np.array([4, 2])),
    "append keys, number": lambda m, A: m.append_dimension(A, "keys", "x", 4),
    "append samples": lambda m, A: m.append_dimension(A, "samples", "x", 4),
    "append properties": lambda m, A: m.append_dimension(A, "properties", "x", 4),
    "insert keys": lambda m, A: m.insert_dimension(A, "keys", 0, "x", np.array([4, 2])),
    "insert samples": lambda m, A: m.insert_dimension(A, "samples", 1, "x", 4),
    "insert properties": lambda m, A: m.insert_dimension(A, "properties", 0, "x", 4),
    "permute samples": lambda m, A: m.permute_dimensions(A, "samples", [1, 0]),
    "permute properties": lambda m, A: m.permute_dimensions(A, "properties", [1, 0]),
    "remove keys": lambda m, A: m.remove_dimension(
        m.append_dimension(A, "keys", "x", np.array([4, 2])), "keys", "center_type"
    ),
    "remove samples": lambda m, A: m.remove_dimension(
        m.append_dimension(A, "samples", "x", 2), "samples", "x"
    ),
    "rename keys": lambda m, A: m.rename_dimension(A, "keys", "center_type", "x"),
    "rename samples": lambda m, A: m.rename_dimension(A, "samples", "atom", "x"),
    "rename components": lambda m, A: m.rename_dimension(A, "components", "m", "x"),
    "rename components of gradients": lambda m, A: m.rename_dimension(A, "components", "strain_1", "x"),
    "rename properties": lambda m, A: m.rename_dimension(A, "properties", "l", "x"),
    "filter": lambda m, A: m.filter_blocks(A, m.Labels(["center_type"], table((1,), (7,), (6,)))),
    "drop": lambda m, A: m.drop_blocks(A, m.Labels(["center_type"], table((6,), (7,)))),
    "drop empty": lambda m, A: m.drop_empty_blocks(A),
    "zeros": lambda m, A: m.zeros_like(A),
    "zeros of one gradient": lambda m, A: m.zeros_like(A, "cell"),
    "ones": lambda m, A: m.ones_like(A, gradients=["cell", "strain"]),
    "ones without gradients": lambda m, A: m.ones_like(A, []),
    "detach": lambda m, A: m.detach(A),
    "make contiguous": lambda m, A: m.make_contiguous(A),
    "requires grad": lambda m, A: m.requires_grad(A, False),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_random_maps(name: str) -> None:
    map = without_empty_blocks(operand(0))
    theirs = UPSTREAM[name](upstream, interop.to_metatensor(map))
    agree(UPSTREAM[name](og, map), theirs)
    ours = UPSTREAM[name](og, cut_at(map, ACROSS_SYSTEMS[:2]))
    assert dask.is_dask_collection(ours)
    agree(ours, theirs)


def test_an_empty_block_is_dropped() -> None:
    map = operand(0)
    agree(og.drop_empty_blocks(map), upstream.drop_empty_blocks(interop.to_metatensor(map)))


LABELS: dict[str, Call] = {
    "samples": lambda m, A: m.unique_metadata(A, "samples", ["system", "atom"]),
    "one dimension": lambda m, A: m.unique_metadata(A, "samples", "system"),
    "other order": lambda m, A: m.unique_metadata(A, "samples", ("atom", "system")),
    "gradient": lambda m, A: m.unique_metadata(A, "samples", ["atom"], A.block(0).gradients_list()[0]),
    "block": lambda m, A: m.unique_metadata_block(A.block(0), "samples", ["atom"]),
    "properties": lambda m, A: m.unique_metadata(A, "properties", A.property_names[:1]),
}


def files() -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in EXAMPLES]


@pytest.mark.parametrize("name", LABELS)
def test_distinct_labels_of_random_maps(name: str) -> None:
    map = operand(0)
    compare_labels(LABELS[name](og, map), LABELS[name](upstream, interop.to_metatensor(map)))


@pytest.mark.parametrize("file", files())
def test_distinct_labels_of_real_maps(file: Any) -> None:
    theirs = upstream.load(str(file))
    ours = interop.from_metatensor(theirs)
    for axis, names in (("samples", ours.sample_names), ("properties", ours.property_names)):
        compare_labels(og.unique_metadata(ours, axis, names), upstream.unique_metadata(theirs, axis, names))


def compare_labels(ours: og.Labels, theirs: Any) -> None:
    assert ours.names == list(theirs.names)
    assert np.array_equal(ours.values, theirs.values)
    assert ours.values.dtype == theirs.values.dtype


def test_one_hot() -> None:
    def encoded(m: Any) -> Any:
        atoms = m.Labels(["atom", "type"], table((0, 6), (1, 1), (2, 1), (3, 8)))
        return m.one_hot(atoms, m.Labels(["type"], table((1,), (8,), (6,))))

    assert np.array_equal(encoded(og), encoded(upstream))
    assert encoded(og).dtype == encoded(upstream).dtype


def test_random_numbers_of_integers_are_zero_and_of_booleans_true() -> None:
    for dtype in ("int64", "bool", "complex128", "float32"):
        map = without_empty_blocks(operand(0, dtype=dtype, parameters={}))
        ours = og.random_uniform_like(map).block(0).values
        theirs = upstream.random_uniform_like(interop.to_metatensor(map)).block(0).values
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if dtype in ("int64", "bool"):
            assert np.array_equal(ours, theirs)
        assert not np.iscomplexobj(ours) or ((ours.imag == 0).all() and (theirs.imag == 0).all())


def test_contiguity() -> None:
    values = np.asfortranarray(np.ones((2, 3)))

    def answers(m: Any) -> list[bool]:
        block = m.TensorBlock(values, m.Labels.range("s", 2), [], m.Labels.range("p", 3))
        return [m.is_contiguous_block(block), m.is_contiguous_block(m.make_contiguous_block(block))]

    assert answers(og) == answers(upstream) == [False, True]


def test_warnings_of_requires_grad() -> None:
    map = without_empty_blocks(operand(0, parameters={}))
    text = "`requires_grad=True` does nothing for numpy arrays"
    for m, given in ((og, map), (upstream, interop.to_metatensor(map))):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            m.requires_grad(given)
        assert found
        assert all(text in str(warning.message) for warning in found)


def test_switches_of_checks() -> None:
    for m in (og, upstream):
        assert m.checks_enabled()
        with m.unsafe_disable_checks() as switch:
            assert not m.checks_enabled()
            assert repr(switch) == "checks disabled"
        assert m.checks_enabled()


WRONG: dict[str, tuple[type[Exception], Call]] = {
    "axis": (ValueError, lambda m, A: m.rename_dimension(A, "blocks", "a", "b")),
    "append to components": (ValueError, lambda m, A: m.append_dimension(A, "components", "x", 1)),
    "length": (ValueError, lambda m, A: m.append_dimension(A, "samples", "x", np.array([0]))),
    "position": (IndexError, lambda m, A: m.insert_dimension(A, "samples", 5, "x", 0)),
    "permutation": (ValueError, lambda m, A: m.permute_dimensions(A, "samples", [0])),
    "unknown name": (ValueError, lambda m, A: m.remove_dimension(A, "samples", "x")),
    "filter": (TypeError, lambda m, A: m.filter_blocks(A, [0])),
    "copy": (TypeError, lambda m, A: m.drop_blocks(A, A.keys, copy=1)),
    "copy of drop empty": (TypeError, lambda m, A: m.drop_empty_blocks(A, copy="no")),
    "gradient": (ValueError, lambda m, A: m.zeros_like(A, "x")),
    "unique axis": (ValueError, lambda m, A: m.unique_metadata(A, "components", "m")),
    "unique axis type": (TypeError, lambda m, A: m.unique_metadata(A, 0, "m")),
    "unique names": (TypeError, lambda m, A: m.unique_metadata(A, "samples", 3)),
    "unique name": (ValueError, lambda m, A: m.unique_metadata(A, "samples", "x")),
    "unique gradient": (TypeError, lambda m, A: m.unique_metadata(A, "samples", "atom", 3)),
    "one-hot names": (ValueError, lambda m, A: m.one_hot(A.keys, A.block(0).samples)),
    "one-hot value": (ValueError, lambda m, A: m.one_hot(A.keys, m.Labels.range("center_type", 1))),
}
TEXTS = {
    "axis": "is not a valid axis. Choose from",
    "append to components": "is not a valid axis. Choose from",
    "gradient": "requested gradient 'x' ",
    "unique axis": "must be either 'samples' or 'properties'",
    "unique name": "'x' not found in the dimensions of",
    "one-hot names": "only one label dimension can be extracted as one-hot encoding",
    "one-hot value": "is present in the labels, but was not found in the dimension",
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_of_the_same_kind(name: str) -> None:
    error, call = WRONG[name]
    map: TensorMap = without_empty_blocks(operand(0))
    for m, given in ((og, map), (upstream, interop.to_metatensor(map))):
        with pytest.raises(error) as found:
            call(m, given)
        assert TEXTS.get(name, "") in str(found.value)
