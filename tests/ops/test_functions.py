"""Powers by a map, functions of the user, and the ready ones: laws, limits, and errors."""

from __future__ import annotations

import doctest
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, check_gradient
from outgrad.testing.strategies import tensor_maps
from tests.ops.cases_functions import ARCTAN, LAYER, UNIT, exponents, layer, unit
from tests.support import ROOT
from tests.support.elsewhere import printed_with_hash_seeds
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, FLAT, KEYS, operand

MAP = operand(0)
NESTED = operand(0, parameters=CLOSED)
PAGE = ROOT / "docs" / "reference" / "functions.rst"


def minus_sin(x: Any) -> Any:
    return -np.sin(x)


def minus_cos(x: Any) -> Any:
    return -np.cos(x)


DERIVATIVES: dict[str, tuple[Callable[..., Any], ...]] = {
    "exp": (np.exp, np.exp, np.exp),
    "sin": (np.sin, np.cos, minus_sin),
    "cos": (np.cos, minus_sin, minus_cos),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2)),
    "square": (np.square, lambda x: 2 * x, lambda x: np.full_like(x, 2)),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
}
POSITIVE: dict[str, tuple[Callable[..., Any], ...]] = {
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / x**2),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), lambda x: -0.25 / np.sqrt(x) ** 3),
}


# ---- laws ----
def assert_agree(a: TensorMap, b: TensorMap) -> None:
    """Values and gradients agree; a row that only one of them has is zero."""
    difference = og.subtract(a, b)._blocks()
    for number in range(len(difference)):
        for _, chunk in difference.chunks[number].walk():
            np.testing.assert_allclose(chunk.values, 0, atol=1e-7)


@given(map=tensor_maps(nested=True), name=st.sampled_from([*DERIVATIVES, *POSITIVE]))
def test_ready_functions_are_those_with_the_derivatives_written_out(map: TensorMap, name: str) -> None:
    f, *df = {**DERIVATIVES, **POSITIVE}[name]
    given_ = map if name in DERIVATIVES else og.square(map) + 1
    assert og.allclose(getattr(og, name)(given_), og.apply(given_, f, df), rtol=1e-10, atol=1e-10)


@given(tensor_maps(nested=True))
def test_the_logarithm_of_the_exponential_is_the_identity(map: TensorMap) -> None:
    powers = og.apply(map, np.exp, (np.exp, np.exp))
    f, *df = POSITIVE["log"]
    assert_agree(og.apply(powers, f, df), map)
    assert_agree(og.log(og.exp(map)), map)


@given(tensor_maps(nested=True))
def test_powers_by_a_constant_map_are_powers_by_a_number(map: TensorMap) -> None:
    for n in (-1.0, 0.0, 1.0, 2.0, 3.0):
        assert_agree(og.pow(map, filled(map, n)), og.pow(map, n))
    assert_agree(og.pow(filled(map, 2.0), map), 2.0**map)


def filled(map: TensorMap, number: float) -> TensorMap:
    """One number everywhere, without gradients."""
    blocks = [TensorBlock(np.full(b.shape, number), b.samples, b.components, b.properties) for b in map]
    return TensorMap(map.keys, blocks)


def test_rows_one_after_the_other_are_functions_of_elements() -> None:
    """A function that does not mix properties is the same for elements and rows, gradients too."""

    def jvp(x: Any, a: Any) -> Any:
        return ARCTAN[0](x) * a

    def second(x: Any, a: Any, b: Any) -> Any:
        return ARCTAN[1](x) * a * b

    by_rows = og.apply_rows(NESTED, np.arctan, [jvp, second])
    assert og.allclose(by_rows, og.apply(NESTED, np.arctan, ARCTAN), rtol=1e-12, atol=1e-12)
    assert og.equal_metadata(by_rows, og.apply(NESTED, np.arctan, ARCTAN))


# ---- powers by a map ----
def test_exponents_are_aligned_by_key() -> None:
    other = operand(1)
    turned = TensorMap(Labels(KEYS.names, KEYS.values[::-1]), other.blocks()[::-1])
    base = og.abs(MAP)
    assert_identical(og.pow(base, turned), og.pow(base, other))
    fewer = TensorMap(Labels(KEYS.names, KEYS.values[:2]), other.blocks()[:2])
    with pytest.raises(NotEqualError, match="inputs to 'pow' should have the same number of blocks"):
        og.pow(base, fewer)


@pytest.mark.parametrize("parameters", [FLAT, CLOSED])
def test_negative_bases_have_whole_powers_without_a_warning(parameters: Any) -> None:
    map = operand(0, parameters=parameters)
    assert any((block.values < 0).any() for block in map)
    check_gradient(lambda A: og.pow(A, exponents(A)), map, directions=1)


def test_gradients_of_both_or_of_one() -> None:
    other = TensorMap(KEYS, [og.remove_gradients(block, "cell") for block in operand(1)])
    match = (
        r"'pow' should have the same gradient parameters; in block 0 found \['cell', 'positions', 'strain'\]"
    )
    with pytest.raises(NotEqualError, match=match):
        og.pow(MAP, other)
    base = og.abs(MAP)
    assert og.pow(og.remove_gradients(base), base).block(0).gradients_list() == [
        "cell",
        "positions",
        "strain",
    ]


@pytest.mark.parametrize("chunked", [False, True])
def test_zeros_with_whole_powers_have_finite_gradients(chunked: bool) -> None:
    """0⁰ = 1 and 0¹ = 0 where both change: the weight of x is that of a polynomial."""
    labels = Labels.range("s", 3), Labels.range("n", 1)
    base, power = (
        TensorBlock(np.array(values), labels[0], [], labels[1])
        for values in ([[0.0]] * 3, [[1.0], [2.0], [3.0]])
    )
    rows = Labels(["sample"], [[0], [1], [2]])
    for block in (base, power):
        block.add_gradient("x", TensorBlock(np.ones((3, 1)), rows, [], labels[1]))
    result = (base.chunk() if chunked else base) ** power
    assert result.compute().gradient("x").values.tolist() == [[1.0], [0.0], [0.0]]
    power.values[:] = 0
    constant = og.remove_gradients(power)
    assert (base**constant).gradient("x").values.tolist() == [[0.0]] * 3
    assert (base**constant).values.tolist() == [[1.0]] * 3


def test_powers_of_integers_are_floats() -> None:
    integers = operand(0, dtype="int64", parameters={})
    result = og.pow(integers, filled(integers, -1).to(dtype="int8"))
    assert result.dtype == np.float64
    assert og.allclose(result, 1 / integers)


# ---- limits of ready functions ----
def block_of(*values: float) -> TensorBlock:
    """One property, and a gradient that is 1 everywhere."""
    samples, properties = Labels.range("s", len(values)), Labels.range("n", 1)
    block = TensorBlock(np.array(values)[:, None], samples, [], properties)
    rows = Labels("sample", np.arange(len(values))[:, None])
    block.add_gradient("x", TensorBlock(np.ones((len(values), 1)), rows, [], properties))
    return block


def test_the_root_of_zero_has_an_infinite_derivative() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert og.sqrt(block_of(0.0)).gradient("x").values == np.inf


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_negative_numbers_warn_as_in_numpy(name: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"invalid value encountered in {name}"):
        assert np.isnan(getattr(og, name)(og.remove_gradients(block_of(-1.0))).values)


def test_reciprocals_of_integers_are_floats() -> None:
    integers = og.block_from_array(np.array([[2, 4]]))
    assert og.reciprocal(integers).values.tolist() == [[0.5, 0.25]]
    assert og.reciprocal(integers) == 1 / integers


def test_squares_of_integers_are_integers() -> None:
    assert og.square(og.block_from_array(np.array([[-3]]))).values.dtype == np.int64


@pytest.mark.parametrize("name", [*DERIVATIVES, *POSITIVE])
def test_ready_functions_take_maps_and_blocks(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: A must be a TensorMap or a TensorBlock, got ndarray"):
        getattr(og, name)(np.ones((2, 2)))
    positive = og.abs(MAP)
    assert_identical(getattr(og, name)(positive.block(0)), getattr(og, name)(positive).block(0))


# ---- apply ----
def both_ways(map: TensorMap) -> list[TensorMap]:
    return [map, cut_at(map, ACROSS_SYSTEMS)]


def refuses(match: str, call: Callable[[TensorMap], Any], map: TensorMap = MAP) -> None:
    """In memory at once, and lazily before anything is computed."""
    for given_ in both_ways(map):
        with nothing_computed(), pytest.raises(ValidationError, match=match):
            call(given_)


def test_derivatives_that_are_missing() -> None:
    refuses(
        "apply: the map has gradients, so the derivative is needed; give df, or drop the ",
        lambda A: og.apply(A, np.exp),
    )
    refuses(
        r"apply: the gradient is itself differentiated, so the second derivative is needed; give df=\(df, d2",
        lambda A: og.apply(A, np.exp, np.exp),
        NESTED,
    )
    third = {"cell": Parameter((), {"cell": Parameter((), {"cell": Parameter()})})}
    refuses(
        r"apply: .* the third derivative is needed; give df=\(df, d2f, d3f\)",
        lambda A: og.apply(A, np.exp, [np.exp, np.exp]),
        operand(0, parameters=third),
    )
    refuses(
        "apply_rows: the map has gradients, so the derivative is needed; give jvp",
        lambda A: og.apply_rows(A, unit),
    )
    refuses(
        r"apply_rows: the gradient is itself .* second derivative is needed; give jvp=\(jvp, d2f\)",
        lambda A: og.apply_rows(A, unit, UNIT[0]),
        NESTED,
    )


def test_no_derivative_is_needed_without_gradients() -> None:
    plain = og.remove_gradients(MAP)
    for map in both_ways(plain):
        assert og.equal(og.apply(map, np.exp), og.exp(plain))
        assert og.apply_rows(map, layer).block(0).properties == Labels.range("property", 3)


def test_functions_return_arrays_of_the_same_shape() -> None:
    for f, found in [
        (lambda x: 2.0, "float"),
        (lambda x: x.tolist(), "list"),
        (lambda x: x.sum(axis=0), r"the shape \(.*\)"),
        (lambda x: x.astype(str), "the dtype <U"),
    ]:
        refuses(f"apply: f must return .*; it returned {found}", lambda A, f=f: og.apply(A, f, np.exp))
        match = f"apply: df must return .*; it returned {found}"
        refuses(match, lambda A, f=f: og.apply(A, np.exp, f))
        match = rf"apply: df\[1\] must return .*; it returned {found}"
        refuses(match, lambda A, f=f: og.apply(A, np.exp, (np.exp, f)), NESTED)


def test_functions_work_without_entries() -> None:
    match = (
        r"apply: f failed on an array without entries, of shape .*: ValueError\('zero-size array.*elementwise"
    )
    refuses(match, lambda A: og.apply(A, lambda x: x / x.max(), np.exp))


def test_the_dtype_does_not_depend_on_values() -> None:
    match = (
        "apply: f returned complex128 of these values, but float64 of an array without rows; the dtype must"
    )
    with pytest.raises(ValidationError, match=match):
        og.apply(MAP, np.emath.sqrt, np.exp)
    lazy = og.apply(cut_at(MAP, ACROSS_SYSTEMS), np.emath.sqrt, np.exp)
    with pytest.raises(ValidationError, match=match):
        lazy.compute()


def test_functions_of_complex_numbers_are_holomorphic() -> None:
    numbers = operand(0, dtype="complex128")
    refuses("apply: f makes real numbers of complex ones", lambda A: og.apply(A, np.abs, np.sign), numbers)
    assert og.apply(og.remove_gradients(numbers), np.abs).dtype == np.float64


def test_the_dtype_is_that_of_the_function() -> None:
    def narrow(x: Any) -> Any:
        return x.astype(np.float32)

    def one(x: Any) -> Any:
        return np.ones_like(x)

    for map in both_ways(MAP):
        result = og.apply(map, narrow, one)
        assert result.dtype == np.float32
        assert {g.dtype for block in result.compute() for _, g in block.gradients()} == {np.dtype("float32")}


def test_functions_cannot_change_their_argument() -> None:
    def in_place(x: Any, *_: Any) -> Any:
        x *= 2
        return x

    plain = og.remove_gradients(MAP).block(0)
    for call in (og.apply, og.apply_rows):
        with pytest.raises(ValueError, match="output array is read-only"):
            call(plain, in_place)


def test_results_share_no_memory_with_operands() -> None:
    plain = og.remove_gradients(MAP).block(0)
    for result in (og.apply(plain, lambda x: x), og.apply_rows(plain, lambda x: x)):
        result.values[:] = 0  # writable
        assert (plain.values != 0).all()


def test_types_of_arguments() -> None:
    for call, name in ((og.apply, "df"), (og.apply_rows, "jvp")):
        function = call.__name__
        with pytest.raises(
            TypeError, match=f"{function}: tensor must be a TensorMap or a TensorBlock, got int"
        ):
            call(1, np.exp)  # type: ignore[type-var]
        with pytest.raises(TypeError, match=f"{function}: f must be a function, got str"):
            call(MAP, "exp", np.exp)
        match = rf"{function}: {name} must be a function or a list of functions, got "
        for wrong in ("exp", [np.exp, 2], 1.0):
            with pytest.raises(TypeError, match=match):
                call(MAP, np.exp, wrong)
    with pytest.raises(TypeError, match="apply_rows: properties must be Labels, got list"):
        og.apply_rows(MAP, unit, UNIT, ["n"])


# ---- apply_rows ----
def test_components_are_rows() -> None:
    block = og.remove_gradients(MAP).block(0)
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(x.shape)
        return x

    og.apply_rows(block, f)
    assert seen == [(0, 4), (21, 4)]  # 7 samples with 3 components each


def test_properties_of_the_result() -> None:
    named = Labels(["hidden"], [[4], [7], [9]])
    for map in both_ways(MAP):
        assert og.apply_rows(map, unit, UNIT).block(0).properties == MAP.block(0).properties
        result = og.apply_rows(map, layer, LAYER)
        assert all(block.properties == Labels.range("property", 3) for block in result)
        result = og.apply_rows(map, layer, LAYER, named)
        assert all(block.properties == named for block in result)
        assert all(g.properties == named for block in result for _, g in block.gradients())


def test_properties_keep_their_names_in_all_blocks_or_in_none() -> None:
    def first_two(x: Any) -> Any:
        return x[:, :2]

    plain = og.remove_gradients(MAP)  # 4, 2 and 1 properties
    found = og.apply_rows(plain, first_two)
    assert [block.properties.names for block in found] == [["property"]] * 3
    assert og.apply_rows(plain.block(1), first_two).properties == plain.block(1).properties


def test_the_number_of_properties() -> None:
    refuses(
        "apply_rows: f returns 3 columns, but properties has 2 entries; give one entry for each column",
        lambda A: og.apply_rows(A, layer, LAYER, Labels.range("q", 2)),
    )


def test_shapes_of_rows() -> None:
    match = r"apply_rows: f must return an array \(N, Q\) for an array \(N, 4\); it returned "
    refuses(match + r"the shape \(0,\)", lambda A: og.apply_rows(A, lambda x: x.sum(axis=1), UNIT))
    refuses(match + r"the shape \(4, 4\)", lambda A: og.apply_rows(A, lambda x: x.T @ x, UNIT))
    refuses(match + "float", lambda A: og.apply_rows(A, lambda x: 1.0, UNIT))
    match = (
        r"apply_rows: jvp must return an array \(N, 3\) for 2 arrays \(N, 4\); it returned the shape \(0, 4\)"
    )
    refuses(match, lambda A: og.apply_rows(A, layer, lambda x, a: a))


def normalised(x: Any) -> Any:
    return x / x.max()  # fails without rows


def test_functions_that_need_rows() -> None:
    match = (
        r"apply_rows: f failed for arrays without rows, of shape \(0, 4\): ValueError\(.*properties=Labels"
    )
    refuses(match, lambda A: og.apply_rows(A, normalised, UNIT))
    match = "apply_rows: jvp failed for arrays without rows"
    refuses(match, lambda A: og.apply_rows(A, unit, lambda x, a: a / a.max()))

    def first(x: Any) -> Any:
        return x[:, [int(np.argmax(x[0] == x[0]))]]

    for block in (og.remove_gradients(MAP.block(0)), og.remove_gradients(MAP.block(2))):
        for given_ in (block, block.chunk()):
            found = og.apply_rows(given_, first, properties=Labels.range("only", 1)).compute()
            assert found.dtype == np.float64
            assert np.array_equal(found.values, block.values[..., :1])


def test_the_dtype_given_by_properties_is_that_of_the_map() -> None:
    block = og.block_from_array(np.array([[1, 2]]))
    with pytest.raises(
        ValidationError, match=r"apply_rows: f returned float64 of these values, but .* int64"
    ):
        og.apply_rows(block, normalised, properties=Labels.range("p", 2))


def test_shapes_are_checked_in_tasks_too() -> None:
    """A function that keeps rows only where there are none."""
    lazy = og.apply_rows(og.remove_gradients(MAP).block(0).chunk(), lambda x: x[:2])
    match = r"apply_rows: f must return an array of shape \(21, 4\) here; it returned the shape \(2, 4\)"
    with pytest.raises(ValidationError, match=match):
        lazy.compute()


def test_blocks_without_properties_or_samples_and_maps_without_blocks() -> None:
    empty = og.block_from_array(np.zeros((3, 0)))
    assert og.apply_rows(empty, lambda x: x).shape == (3, 0)
    assert og.apply_rows(empty, lambda x: np.ones((len(x), 2))).values.tolist() == [[1.0, 1.0]] * 3
    assert og.apply(empty, np.exp).shape == og.exp(empty).shape == (3, 0)
    none = TensorMap(Labels.empty(["k"]), [])
    for call in (lambda A: og.apply(A, np.exp), lambda A: og.apply_rows(A, unit), og.exp, lambda A: A**A):
        assert len(call(none)) == 0


def test_gradients_without_rows() -> None:
    map = operand(0, parameters=CLOSED, sparsity=0.0)
    for given_ in both_ways(map):
        result = og.apply_rows(given_, layer, LAYER).compute()
        assert result.block(0).gradient("positions").gradient("cell").shape == (0, 3, 3, 3)


# ---- tasks ----
def doubled() -> Callable[[Any], Any]:
    return lambda x: 2 * x


def tripled(factor: float) -> Callable[[Any], Any]:
    return lambda x: factor * x


def test_names_follow_the_code_of_functions() -> None:
    map = cut_at(og.remove_gradients(MAP), ACROSS_SYSTEMS)
    for call in (og.apply, og.apply_rows):
        keys = [call(map, f).__dask_keys__() for f in (doubled(), doubled(), tripled(2), tripled(3), np.exp)]
        assert keys[0] == keys[1]
        assert len({str(own) for own in keys}) == 4
    assert og.apply(map, np.exp).__dask_keys__() != og.apply(map, np.exp, np.exp).__dask_keys__()


ELSEWHERE = """
import numpy as np, outgrad as og
block = og.block_from_array(np.ones((4, 2))).chunk(16)
print(og.apply(block, lambda x: x + 1).__dask_keys__(), og.apply_rows(block, lambda x: x).__dask_keys__())
"""


def test_names_of_lambdas_are_the_same_in_another_process() -> None:
    assert len(printed_with_hash_seeds(ELSEWHERE)) == 1


def test_lambdas_travel_by_cloudpickle() -> None:
    map = cut_at(MAP, ACROSS_SYSTEMS)
    for result in (
        og.apply(map, lambda x: x**2, lambda x: 2 * x),
        og.apply_rows(map, lambda x: x**2, lambda x, dx: 2 * x * dx),
    ):
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(result)
        assert og.allclose(pickle.loads(cloudpickle.dumps(result)), og.square(MAP))


@pytest.mark.cluster
def test_lambdas_run_on_workers() -> None:
    map = cut_at(MAP, ACROSS_SYSTEMS)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        assert og.allclose(og.apply(map, lambda x: x**2, lambda x: 2 * x).compute(), og.square(MAP))
        rows = og.apply_rows(map, lambda x: x**2, lambda x, dx: 2 * x * dx)
        assert og.allclose(rows.compute(), og.square(MAP))


# ---- the page ----
def test_examples_of_the_page_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried) == (0, 16)


# ---- clip ----
def test_bounds_belong_to_the_interval() -> None:
    """Its derivative is taken as 1 on a bound, as by PyTorch."""
    block = og.block_from_array(np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]]))
    table = og.Labels("sample", [[0]])
    block.add_gradient("x", og.TensorBlock(np.full((1, 6), 3.0), table, [], block.properties))
    clipped = og.clip(block, 0, 1)
    np.testing.assert_array_equal(clipped.values, [[0, 0, 0.5, 1, 1, np.nan]])
    assert clipped.gradient("x").values.tolist() == [[0, 3, 3, 3, 0, 3]]


def test_clipped_integers_stay_integers() -> None:
    block = og.block_from_array(np.array([[1, 5, 9]], dtype=np.int16))
    assert og.clip(block, np.int64(2), 6).values.tolist() == [[2, 5, 6]]
    assert og.clip(block, 2, 6).dtype == np.int16
    assert og.clip(block, 2.5).values.tolist() == [[2.5, 5.0, 9.0]]


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ({}, og.ValidationError, "clip: got neither min nor max; give at least one bound"),
        ({"min": 2, "max": 1}, og.ValidationError, "clip: min=2 is larger than max=1; swap them"),
        ({"max": np.nan}, og.ValidationError, "clip: max is NaN; give a number, or None for no bound"),
        ({"min": "0"}, TypeError, "clip: min must be a real number or None, got str"),
        ({"max": 1j}, TypeError, "clip: max must be a real number or None, got complex"),
    ],
)
def test_bounds_that_are_refused(bounds: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        og.clip(og.block_from_array(np.ones((1, 1))), **bounds)


def test_complex_numbers_are_not_clipped() -> None:
    block = og.block_from_array(np.ones((1, 1), complex))
    with pytest.raises(og.ValidationError, match=r"^clip: the values are complex128, and"):
        og.clip(block, 0, 1)
