"""copy, deepcopy, pickle and to."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from outgrad import TensorMap
from outgrad.testing import assert_identical
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, operand

KINDS = ["map", "block", "gradient"]


@pytest.fixture(params=KINDS)
def tensor(request: pytest.FixtureRequest) -> Any:
    return part_of(operand(0, parameters=CLOSED, sparsity=1.0), request.param)


def part_of(map: TensorMap, kind: str) -> Any:
    block = map.block(0)
    return map if kind == "map" else block if kind == "block" else block.gradient("positions")


def arrays(tensor: Any) -> list[np.ndarray]:
    blocks = tensor._blocks()
    return [chunk.values for n in range(len(blocks)) for _, chunk in blocks.chunks[n].walk()]


@pytest.mark.parametrize("make", [lambda t: t.copy(), copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_deep_copies_share_no_values(tensor: Any, make: Any) -> None:
    made = make(tensor)
    assert_identical(made, tensor)
    assert not any(
        np.shares_memory(a, b) for a, b in zip(arrays(made), arrays(tensor), strict=True) if a.size
    )
    before = [array.copy() for array in arrays(tensor)]
    for array in arrays(made):
        array[...] = 0
    assert all(np.array_equal(a, b) for a, b in zip(arrays(tensor), before, strict=True))


@pytest.mark.parametrize("make", [lambda t: t.copy(deep=False), copy.copy])
def test_shallow_copies_share_values(tensor: Any, make: Any) -> None:
    made = make(tensor)
    assert made is not tensor
    assert all(a is b for a, b in zip(arrays(made), arrays(tensor), strict=True))


def test_copies_have_info_of_their_own() -> None:
    map = operand(0)
    for made in (map.copy(), copy.copy(map), copy.deepcopy(map)):
        made.set_info("source", "copy")
        assert map.get_info("source") == "seed 0"


def test_labels_are_shared(tensor: Any) -> None:
    first = tensor if not isinstance(tensor, TensorMap) else tensor.block(0)
    copied = tensor.copy() if not isinstance(tensor, TensorMap) else tensor.copy().block(0)
    assert copied.samples is first.samples
    assert copied.properties is first.properties


def test_a_shallow_copy_can_get_gradients_of_its_own() -> None:
    block = operand(0).block(0)
    made = block.copy(deep=False)
    made.add_gradient("more", block.gradient("cell"))
    assert "more" not in block.gradients_list()
    assert made.gradient("more").values is block.gradient("cell").values


def test_lazy_copies_compute_nothing() -> None:
    lazy = cut_at(operand(0), ACROSS_SYSTEMS)
    with nothing_computed():
        made = [lazy.copy(), copy.deepcopy(lazy), lazy.block(0).copy()]
    assert_identical(made[0], operand(0))
    assert_identical(made[2], operand(0).block(0))


# ---- to ----
@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), "complex128", "int64"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_to_another_dtype(kind: str, chunked: bool, dtype: Any) -> None:
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    tensor = part_of(map, kind)
    given = part_of(cut_at(map, ACROSS_SYSTEMS), kind) if chunked else tensor
    with nothing_computed():
        made = given.to(dtype=dtype)
    assert made.dtype == np.dtype(dtype)
    computed = made.compute()
    assert all(array.dtype == np.dtype(dtype) for array in arrays(computed))
    for array, before in zip(arrays(computed), arrays(tensor), strict=True):
        assert np.array_equal(array, before.astype(dtype))


def test_to_the_same_shares_memory(tensor: Any) -> None:
    for made in (tensor.to(), tensor.to(dtype="float64"), tensor.to(device="cpu"), tensor.to(arrays="numpy")):
        assert all(a is b for a, b in zip(arrays(made), arrays(tensor), strict=True))


def test_to_dask_and_back(tensor: Any) -> None:
    with nothing_computed():
        lazy = tensor.to(arrays="dask")
        assert lazy.to(arrays="dask").__dask_keys__() == lazy.__dask_keys__()
        narrow = tensor.to(arrays="dask", dtype="float32")
    assert_identical(lazy, tensor)
    assert_identical(narrow, tensor.to(dtype="float32"))
    with pytest.raises(
        ValueError, match=r"to\(arrays='numpy'\): the data are lazy; compute\(\) brings them into m"
    ):
        lazy.to(arrays="numpy")


@pytest.mark.parametrize("wrong", [{"device": "cuda"}, {"arrays": "torch"}])
def test_only_the_cpu(tensor: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"to\(device=.*arrays=.*\): data are on the CPU, as 'numpy' or 'dask' arrays"
    ):
        tensor.to(**wrong)


def test_to_takes_dtype_and_device_by_position_as_metatensor_does() -> None:
    for given in (operand(0), operand(0).block(0)):
        assert given.to(np.float32, "cpu").dtype == np.float32
        assert given.to("cpu", np.dtype("float32"), non_blocking=True).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (np.float32, np.float64),
            {},
            ValueError,
            "^to: two dtypes are given, .*float32.* and .*float64.*; give one$",
        ),
        ((np.float32,), {"dtype": "float64"}, ValueError, "^to: two dtypes are given"),
        (("cpu", "cpu"), {}, ValueError, "^to: two devices are given, 'cpu' and 'cpu'; give one$"),
        ((3,), {}, TypeError, "^to: a dtype or a device is needed, got int$"),
        (("float32",), {}, ValueError, r"^to\(device='float32', arrays=None\): data are on the CPU"),
    ],
)
def test_to_refuses_what_it_does_not_know(
    arguments: tuple[Any, ...], options: dict[Any, Any], error: type[Exception], message: str
) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        operand(0).to(*arguments, **options)
