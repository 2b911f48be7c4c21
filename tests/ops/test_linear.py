"""dot with gradients on either side; systems of equations, out of core."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock, TensorMap, ValidationError
from outgrad.engine.solve.triangles import Factor
from outgrad.errors import LinearSystemError
from outgrad.testing import Parameter, assert_identical, check_gradient, random_block
from tests.ops.cases_linear import constant, least_squares, stacked
from tests.support.lazy import check_layout, cut_at, nothing_computed
from tests.support.operands import FLAT, operand

Array = np.ndarray[Any, Any]
PROPERTIES = Labels.range("n", 4)
CLOSED = {
    "cell": Parameter((), {"positions": Parameter((3,))}),
    "positions": Parameter((3,), {"cell": Parameter(), "positions": Parameter((3,))}),
}


def left(
    seed: int = 0, parameters: Any = FLAT, components: Sequence[Labels] = (), **settings: Any
) -> TensorBlock:
    samples = Labels(["system", "atom"], [[0, 0], [0, 2], [1, 0], [1, 1], [4, 0], [4, 1], [4, 2]])
    rng = np.random.default_rng(seed)
    return random_block(rng, samples, list(components), PROPERTIES, parameters, **settings)


def right(seed: int = 1, parameters: Any = FLAT, **settings: Any) -> TensorBlock:
    return random_block(
        np.random.default_rng(seed), Labels.range("q", 3), [], PROPERTIES, parameters, **settings
    )


def single(block: TensorBlock) -> TensorMap:
    return TensorMap(Labels.single(), [block])


# ---- dot ----
def dense(block: TensorBlock, parameter: str, targets: Array) -> Array:
    """A gradient (S, T, ...) with a row for every sample and target."""
    gradient = block.gradient(parameter)
    found = np.zeros((len(block), len(targets), *gradient.shape[1:]), block.dtype)
    for row, value in zip(gradient.samples.values, gradient.values, strict=True):
        found[row[0], targets.tolist().index(row[1:].tolist())] = value
    return found


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("parameter", list(FLAT))
def test_gradients_of_dot_by_hand(parameter: str, sparsity: float) -> None:
    x, y = left(sparsity=sparsity), right(sparsity=sparsity)
    targets = np.array([[0, 0], [0, 1], [1, 0]])
    gradient = og.dot(x, y).gradient(parameter)
    expected = np.einsum("st...p,qp->st...q", dense(x, parameter, targets), y.values)
    expected += np.einsum("sp,qt...p->st...q", x.values, dense(y, parameter, targets))
    np.testing.assert_allclose(dense(og.dot(x, y), parameter, targets), expected, atol=1e-13)
    assert gradient.components == x.gradient(parameter).components
    assert gradient.properties == y.samples


def test_a_row_on_the_right_acts_on_every_sample() -> None:
    """Rows are united with those of the left, and sorted by sample, then by target."""
    n = Labels.range("n", 1)
    x = TensorBlock(np.array([[2.0], [3.0]]), Labels.range("s", 2), [], n)
    rows = Labels(["sample", "atom"], [[1, 9], [1, 4]])
    x.add_gradient("r", TensorBlock(np.array([[10.0], [20.0]]), rows, [], n))
    y = TensorBlock(np.array([[1.0], [5.0]]), Labels.range("q", 2), [], n)
    rows = Labels(["sample", "atom"], [[1, 7], [0, 4]])
    y.add_gradient("r", TensorBlock(np.array([[100.0], [1000.0]]), rows, [], n))
    gradient = og.dot(x, y).gradient("r")
    assert gradient.samples.names == ["sample", "atom"]
    assert gradient.samples.values.tolist() == [[0, 4], [0, 7], [1, 4], [1, 7], [1, 9]]
    expected = [[2000, 0], [0, 200], [20 + 3000, 100], [0, 300], [10, 50]]
    assert gradient.values.tolist() == expected


def halves(map: TensorMap) -> tuple[TensorMap, TensorMap]:
    """The factors of dot, put into one map so that they move together."""
    x, y = map.blocks()
    return single(x), single(og.slice_block(y, "samples", [0, 2]))


def both(x: TensorBlock, y: TensorBlock) -> TensorMap:
    return TensorMap(Labels.range("side", 2), [x, y])


@pytest.mark.parametrize("parameters", [FLAT, CLOSED], ids=["flat", "nested"])
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gradients_on_both_sides_are_finite_differences(parameters: Any, sparsity: float, dtype: str) -> None:
    sides = [left(seed, parameters, sparsity=sparsity, dtype=dtype) for seed in (0, 1)]
    check_gradient(lambda map: og.dot(*halves(map)), both(*sides), directions=2)


@pytest.mark.parametrize("components", [[2], [2, 3]])
def test_components_stay_behind_those_of_gradients(components: list[int]) -> None:
    labels = [Labels.range(f"m{n}", size) for n, size in enumerate(components)]
    x, y = left(0, {}, labels), right()
    h = og.dot(x, y)
    assert h.components == labels
    for parameter in FLAT:
        own = y.gradient(parameter).components
        gradient = h.gradient(parameter)
        assert gradient.components == [*own, *labels]
        targets = np.unique(y.gradient(parameter).samples.values[:, 1:], axis=0)
        expected = np.einsum(
            "scp,qtkp->stkcq",
            *(
                a.reshape(a.shape[0], *lead, -1, 4)
                for a, lead in ((x.values, ()), (dense(y, parameter, targets), (len(targets),)))
            ),
        )
        shape = (len(x), len(targets), *gradient.shape[1:])
        np.testing.assert_allclose(dense(h, parameter, targets), expected.reshape(shape), atol=1e-13)


def test_a_side_without_a_parameter_does_not_depend_on_it() -> None:
    """The result is the one of gradients without rows."""
    x, y = left(0, CLOSED), right(1, {"cell": Parameter()})
    empty = TensorBlock(y.values, y.samples, [], PROPERTIES)
    empty.add_gradient("cell", constant_below(y.gradient("cell"), x.gradient("cell")))
    empty.add_gradient("positions", constant_below(None, x.gradient("positions")))
    assert_identical(og.dot(x, y), og.dot(x, empty))


def constant_below(gradient: TensorBlock | None, pattern: TensorBlock) -> TensorBlock:
    if gradient is None:
        return constant(pattern, np.zeros((0, *pattern.shape[1:])), Labels.empty(pattern.samples.names))
    made = gradient.copy()
    for name, below in pattern.gradients():
        made.add_gradient(name, constant_below(None, below))
    return made


def test_parameters_of_one_side_only() -> None:
    x, y = left(0, {"cell": Parameter()}), right(1, {"positions": Parameter((3,))})
    h = og.dot(x, y)
    assert h.gradients_list() == ["cell", "positions"]
    assert_identical(h.gradient("cell"), og.dot(x, og.remove_gradients(y)).gradient("cell"))
    assert_identical(h.gradient("positions"), og.dot(og.remove_gradients(x), y).gradient("positions"))


@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_rows_of_one_side_are_sorted_by_sample_too() -> None:
    x, y = left(0, {"cell": Parameter()}, order="any"), right(1, {"positions": Parameter((3,))})
    whole = og.dot(x, y)
    given = x.gradient("cell").samples.values
    expected = given[np.argsort(given[:, 0], kind="stable")]
    assert whole.gradient("cell").samples.values.tolist() == expected.tolist() != given.tolist()
    result = og.dot(x.chunk(target_bytes=100), y)
    check_layout(result)
    assert_identical(result, whole)


def test_without_gradients_on_the_right_rows_stay() -> None:
    x = left(order="any")
    h = og.dot(x, og.remove_gradients(right()))
    for parameter in FLAT:
        assert h.gradient(parameter).samples is x.gradient(parameter).samples


@pytest.mark.parametrize("order", ["sorted", "samples", "any"])
@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_chunks_of_either_side(order: Any) -> None:
    x, y = left(0, CLOSED, order=order), right(1, CLOSED, order=order)
    whole = og.dot(x, y)
    for edges in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 3, 3, 7, 7]):
        cut = cut_at(x, [edges])
        for other in (y, cut_at(y, [[0, 1, 3]]), cut_at(y, [[0, 0, 3, 3]])):
            with nothing_computed():
                result = og.dot(cut, other)
            check_layout(result)
            assert_identical(result, whole)
    assert_identical(og.dot(x, y.chunk(target_bytes=8)), whole)


def test_chunks_are_cut_where_products_are_larger() -> None:
    """Every sample gets a row for every target of the right: chunks of the left may be too long."""
    x, y = left(), right(sparsity=1.0)
    with dask.config.set({"outgrad.chunk-bytes": 3000}):
        result = og.dot(cut_at(x, [[0, 7]]), y)
        plain = og.dot(cut_at(x, [[0, 7]]), og.remove_gradients(y))
    outline = result._blocks().to_compute.outlines[0]
    assert outline.chunk_count > 1
    assert outline.chunk_bytes.max() <= 3000
    assert plain._blocks().to_compute.outlines[0].chunk_count == 1
    check_layout(result)
    assert_identical(result, og.dot(x, y))


def test_the_right_side_is_made_dense_once() -> None:
    result = og.dot(cut_at(left(), [[0, 1, 2, 3, 4, 5, 6, 7]]), right())
    names = [str(key[0]) for key in result.__dask_graph__()]
    assert sum(name.startswith("dense-dot-") for name in names) == 1
    assert sum(name.startswith("dot-") for name in names) == 7


def test_empty_factors() -> None:
    x, y = left(), right()
    none = og.slice_block(y, "samples", [])
    assert og.dot(x, none).shape == (7, 0)
    assert og.dot(x, none).gradient("cell").samples == x.gradient("cell").samples
    h = og.dot(og.slice_block(x, "samples", []), y)
    assert h.shape == (0, 3)
    assert h.gradient("positions").shape == (0, 3, 3)
    no_properties = [og.slice_block(block, "properties", []) for block in (x, y)]
    assert not og.dot(*no_properties).values.any()
    assert len(og.dot(TensorMap(Labels.empty("k"), []), TensorMap(Labels.empty("k"), []))) == 0


def test_components_on_the_right_are_refused() -> None:
    y = left(0, {}, [Labels.range("m", 2)])
    match = r"dot: tensor_2 should not have components, found \['m'\]; only tensor_1 may have them"
    with pytest.raises(ValidationError, match=match):
        og.dot(left(), y)


def test_gradients_with_respect_to_the_same_parameter_agree() -> None:
    x = left()
    match = "'dot' should have the same gradient sample names and components; of the gradients 'cell' found"
    renamed = right(1, {"cell": Parameter()}, targets=Labels(["a", "b"], [[0, 0]]))
    with pytest.raises(NotEqualError, match=match):
        og.dot(x, renamed)
    wider = right(1, {"cell": Parameter((2,))})
    with pytest.raises(
        NotEqualError, match=r"\['sample', 'system', 'atom'\], \['cell_0'\] with \[2\] entries"
    ):
        og.dot(x, wider)
    nested = right(1, {"positions": Parameter((3,), {"cell": Parameter((2,))})})
    with pytest.raises(NotEqualError, match=match):
        og.dot(x, nested)


def test_component_names_of_the_result_are_unique() -> None:
    x = left(0, {}, [Labels.range("positions_0", 2)])
    match = r"dot: the gradient 'positions' of the result would have two components 'positions_0'; rename"
    with pytest.raises(ValidationError, match=match):
        og.dot(x, right())


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("side", [1, 2])
def test_products_need_the_gradients_of_both(side: int, chunked: bool) -> None:
    """∂p∂q (x y) contains ∂q x ∂p y: where x depends on q, its gradient must be there."""
    parameters = [{"positions": Parameter((3,), {"cell": Parameter()})}, {**FLAT}]
    x, y = left(0, parameters[side - 1]), right(1, parameters[2 - side])
    given: Any = cut_at(x, [[0, 3, 7]]) if chunked else x
    match = rf"respect to \['cell'\], but tensor_{side}, which .* add the gradient 'cell' to the block"
    with nothing_computed(), pytest.raises(ValidationError, match=match):
        og.dot(given, y)


# ---- equations ----
def systems(dtype: str = "float64", parameters: Any = FLAT, **settings: Any) -> tuple[TensorMap, TensorMap]:
    component = [Labels.range("m", 2)]
    x = left(0, parameters, component, dtype=dtype, **settings)
    y = left(1, parameters, component, dtype=dtype, **settings)
    rename = og.slice_block(y, "properties", [1, 2, 3])
    return single(x), single(og.rename_dimension(rename, "properties", "n", "target"))


def notes(map: TensorMap, name: str = "lstsq") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(map.info()[name])
    return found


@pytest.mark.parametrize("parameters", [{}, FLAT, CLOSED], ids=["values", "gradients", "nested"])
@pytest.mark.parametrize("order", ["sorted", "samples", "any"])
def test_lstsq_is_that_of_the_stacked_equations(parameters: Any, order: Any) -> None:
    X, Y = systems(parameters=parameters, order=order)
    w = og.lstsq(X, Y, None)
    a, b = stacked(X.block(), Y.block())
    weights, _, rank, singular = np.linalg.lstsq(a, b, rcond=None)
    np.testing.assert_allclose(w.block().values, weights.T, rtol=1e-10, atol=1e-12)
    assert w.block().samples == Y.block().properties
    assert w.block().properties == X.block().properties
    assert w.block().components == []
    assert w.block().gradients_list() == []
    [note] = notes(w)
    assert note["equations"] == len(a)
    assert note["rank"] == rank == 4
    assert note["condition"] == pytest.approx(singular[0] / singular[-1], rel=1e-3)
    assert note["residual"] == pytest.approx(np.linalg.norm(a @ weights - b), rel=1e-3)


def test_rows_that_one_side_lacks_are_zero() -> None:
    """A row of X alone says that w is small along it; a row of Y alone says nothing of w."""
    n, sample = Labels.range("n", 1), Labels.range("s", 1)

    def block(value: float, target: int, gradient: float) -> TensorBlock:
        made = TensorBlock(np.array([[value]]), sample, [], n)
        rows = Labels(["sample", "t"], [[0, target]])
        made.add_gradient("r", TensorBlock(np.array([[gradient]]), rows, [], n))
        return made

    found = og.lstsq(single(block(3.0, 0, 4.0)), single(block(5.0, 1, 7.0)), None)
    assert found.block().values.tolist() == [[pytest.approx(3 * 5 / (3 * 3 + 4 * 4))]]
    assert notes(found)[0]["residual"] == pytest.approx(np.hypot(7, 4), rel=1e-3)


CUTS = [[0, 7], [0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 2, 2, 5, 7, 7], [0, 3, 7]]


@pytest.mark.parametrize("parameters", [{}, FLAT, CLOSED], ids=["values", "gradients", "nested"])
@pytest.mark.parametrize("edges", CUTS)
def test_any_chunks_give_the_same_solution(edges: list[int], parameters: Any) -> None:
    X, Y = systems(parameters=parameters, order="samples")
    whole = og.lstsq(X, Y, None)
    for given in [
        (cut_at(X, [edges]), Y),
        (cut_at(X, [edges]), cut_at(Y, [[0, 4, 7]])),
        (X, cut_at(Y, [edges])),
    ]:
        with nothing_computed():
            lazy = og.lstsq(*given, None)
            assert lazy.info() == {}
        check_layout(lazy)
        result = lazy.compute()
        og.allclose_raise(result, whole, rtol=1e-12, atol=1e-12)
        assert result.info() == whole.info()


def test_info_of_lazy_solutions_travels_with_the_data(tmp_path: Path) -> None:
    X, Y = systems()
    X.set_info("unit", "eV")
    whole = og.lstsq(X, Y, None)
    lazy = og.lstsq(X.chunk(target_bytes=500), Y, None)
    og.save(tmp_path / "w.zarr", lazy)
    og.save(tmp_path / "twice.mts", 2 * lazy)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster):
        on_a_cluster = (2 * lazy).persist(), (2 * lazy).compute()
        og.save(tmp_path / "cluster.zarr", og.slice(on_a_cluster[0], "properties", [0]))
    for result in (
        lazy.compute(),
        lazy.persist().compute(),
        (2 * lazy.persist()).compute(),
        dask.compute(pickle.loads(pickle.dumps(lazy)))[0],
        dask.compute(lazy, 2 * lazy)[1],
        dask.optimize(2 * lazy)[0].compute(),
        og.zeros_like(lazy).compute(),
        og.join([lazy, lazy], "samples", add_dimension="copy").compute(),
        og.load(tmp_path / "w.zarr"),
        og.load(tmp_path / "twice.mts"),
        og.open(tmp_path / "cluster.zarr"),
        on_a_cluster[1],
    ):
        assert result.info() == whole.info()
        assert list(result.info()) == ["unit", "lstsq"]
    assert lazy.info() == {"unit": "eV"}


def test_info_has_an_entry_for_each_block() -> None:
    X, Y = operand(0), operand(1)
    found = notes(og.lstsq(X, Y, 1e-10))
    assert [(note["equations"], note["rank"]) for note in found] == [
        (len(a), min(a.shape)) for a, _ in (stacked(x, y) for x, y in zip(X, Y, strict=True))
    ]
    assert found[2] == {"equations": 0, "rank": 0, "condition": None, "residual": 0.0}


def test_no_task_holds_more_than_a_chunk_or_factors() -> None:
    """300 chunks: their factors are stacked 16 at a time, and none is larger than (P + Q)²."""
    rng = np.random.default_rng(0)
    samples = Labels.range("s", 300)
    X, Y = (single(random_block(rng, samples, [], Labels.range("n", width), FLAT)) for width in (3, 2))
    lazy = og.lstsq(cut_at(X, [list(range(301))]), cut_at(Y, [list(range(301))]), None)
    graph = dict(lazy.__dask_graph__())
    results: dict[Any, Any] = {}
    keys = list(graph)
    for key, result in zip(keys, dask.get(graph, keys), strict=True):
        results[key] = result
        for each in result:
            if isinstance(each, Factor):
                assert each.triangle.shape[0] <= 5
                assert each.triangle.shape[1] == 5
    counts = [len(graph[key].dependencies) for key in keys]
    assert max(counts) <= 16
    levels = {str(key[0]) for key in keys if "tree" in str(key[0])}
    assert len(levels) == 2
    og.allclose_raise(lazy.compute(), og.lstsq(X, Y, None), rtol=1e-11)


def test_large_factors_are_joined_in_pairs() -> None:
    X, Y = systems()
    with dask.config.set({"outgrad.chunk-bytes": 64}):
        lazy = og.lstsq(cut_at(X, [CUTS[1]]), cut_at(Y, [CUTS[1]]), None)
    own = [task for key, task in lazy.__dask_graph__().items() if "solve" in str(key[0])]
    assert max(len(task.dependencies) for task in own) == 2
    og.allclose_raise(lazy.compute(), og.lstsq(X, Y, None), rtol=1e-12)


def test_equations_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory nothing of the size of all equations is built, whatever the order of gradient rows."""
    X, Y = systems(parameters=CLOSED, order="any")
    whole = og.lstsq(X, Y, None)
    monkeypatch.setattr("outgrad.engine.solve.triangles.EQUATION_BYTES", 1)
    lengths: list[int] = []
    original = np.linalg.qr

    def recorded(rows: Array, mode: Any) -> Any:
        lengths.append(len(rows))
        return original(rows, mode=mode)

    monkeypatch.setattr(np.linalg, "qr", recorded)
    og.allclose_raise(og.lstsq(X, Y, None), whole, rtol=1e-12)
    assert len(lengths) > 10
    assert (
        max(lengths) <= 7 + 3 * 14
    )  # a triangle, and pieces of twice as many rows, or one row of components


def conditioned(condition: float, rows: int = 200, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=size))[0] for size in ((rows, 5), (5, 5)))
    return (u * np.logspace(0, -np.log10(condition), 5)) @ v, rng.normal(size=(5, 2))


def maps_of(*arrays: Array) -> list[TensorMap]:
    return [
        single(TensorBlock(a, Labels.range("s", len(a)), [], Labels.range(name, a.shape[1])))
        for a, name in zip(arrays, ("n", "target"), strict=True)
    ]


def test_ill_conditioned_equations_keep_their_accuracy() -> None:
    """Products of the matrix with itself would have the condition 10¹⁶, and leave no digit."""
    a, weights = conditioned(1e8)
    X, Y = maps_of(a, a @ weights)
    for given in (X, cut_at(X, [list(range(0, 201, 10))])):
        found = og.lstsq(given, Y, 1e-14).compute()
        np.testing.assert_allclose(found.block().values, weights.T, rtol=1e-6)
        assert notes(found)[0]["condition"] == pytest.approx(1e8, rel=1e-3)
        assert notes(found)[0]["residual"] == 0.0
    normal = np.linalg.solve(a.T @ a, a.T @ a @ weights)
    assert np.abs(normal - weights).max() > 1e-3


@pytest.mark.parametrize("rcond", [None, -1, 0.0, 1e-12, 1e-6, 1e-3, np.float32(0.5)])
@pytest.mark.parametrize("chunked", [False, True])
def test_rcond_cuts_as_in_numpy(rcond: Any, chunked: bool) -> None:
    a, _ = conditioned(1e10, rows=30)
    b = np.random.default_rng(1).normal(size=(30, 2))
    X, Y = maps_of(a, b)
    found = og.lstsq(cut_at(X, [[0, 7, 30]]) if chunked else X, Y, rcond).compute()
    weights, _, rank, _ = np.linalg.lstsq(a, b, rcond=rcond)
    assert notes(found)[0]["rank"] == rank
    np.testing.assert_allclose(found.block().values, weights.T, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("chunked", [False, True])
def test_of_many_solutions_the_smallest_is_taken(chunked: bool) -> None:
    """More unknowns than equations, and columns that depend on others."""
    rng = np.random.default_rng(0)
    for a in (rng.normal(size=(3, 6)), np.repeat(rng.normal(size=(9, 2)), 3, axis=1), np.zeros((4, 3))):
        b = rng.normal(size=(len(a), 2))
        X, Y = maps_of(a, b)
        found = og.lstsq(cut_at(X, [[0, 0, 2, len(a)]]) if chunked else X, Y, None).compute()
        expected = np.linalg.lstsq(a, b, rcond=None)[0]
        np.testing.assert_allclose(found.block().values, expected.T, atol=1e-12)
        assert notes(found)[0]["rank"] == np.linalg.matrix_rank(a)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128", "int32", "float16"])
def test_double_precision_inside(dtype: str) -> None:
    X, Y = systems(dtype=dtype)
    expected = least_squares(X.block(), Y.block())
    for given in (X, cut_at(X, [[0, 2, 7]])):
        found = og.lstsq(given, Y, 1e-12).compute().block()
        assert found.dtype == np.dtype("float64" if dtype == "int32" else dtype)
        np.testing.assert_allclose(found.values, expected, rtol=max(1e-11, 2 * np.finfo(found.dtype).eps))


def test_blocks_and_drivers() -> None:
    X, Y = systems()
    for driver in ("gels", "gelsd", "gelss", "gelsy", None):
        assert_identical(og.lstsq(X.block(), Y.block(), 1e-9, driver=driver), og.lstsq(X, Y, 1e-9).block())


def test_blocks_are_found_by_key() -> None:
    X, Y = operand(0), operand(1)
    turned = TensorMap(Labels(Y.keys.names, Y.keys.values[::-1]), Y.blocks()[::-1])
    assert_identical(og.lstsq(X, turned, 1e-9), og.lstsq(X, Y, 1e-9))


@pytest.mark.parametrize("name", ["lstsq", "solve"])
def test_equations_need_the_same_labels(name: str) -> None:
    call: Any = (lambda X, Y: og.lstsq(X, Y, None)) if name == "lstsq" else og.solve
    x = left(0, {}, [Labels.range("m", 2)])
    fewer = og.slice_block(x, "samples", [0, 1])
    with pytest.raises(NotEqualError, match=f"inputs to '{name}' should have the same samples"):
        call(x, fewer)
    other = left(0, {}, [Labels("m", [[1], [0]])])
    with pytest.raises(NotEqualError, match=f"inputs to '{name}' should have the same components"):
        call(x, other)
    with pytest.raises(NotEqualError, match=f"inputs to '{name}' should have the same gradient"):
        call(x, left(0, FLAT, [Labels.range("m", 2)]))
    with pytest.raises(NotEqualError, match=f"inputs to '{name}' should have the same keys"):
        call(single(x), TensorMap(Labels.range("k", 1), [x]))
    with pytest.raises(TypeError, match=f"{name}: X is a TensorMap, but Y is a TensorBlock"):
        call(single(x), x)


@pytest.mark.parametrize("wrong", ["1e-10", True, 1j, [1e-3]])
def test_rcond_is_a_number(wrong: Any) -> None:
    X, Y = systems()
    with pytest.raises(TypeError, match="lstsq: rcond must be a number or None, got "):
        og.lstsq(X, Y, wrong)


@pytest.mark.parametrize("wrong", [1, 2.5, np.nan, np.inf])
def test_rcond_is_below_one(wrong: float) -> None:
    X, Y = systems()
    with pytest.raises(
        ValidationError, match=r"lstsq: rcond = .* would treat every singular value as zero; give"
    ):
        og.lstsq(X, Y, wrong)


def test_drivers_have_names() -> None:
    X, Y = systems()
    with pytest.raises(ValidationError, match=r"lstsq: driver 'svd' is unknown; give one of \['gels', "):
        og.lstsq(X, Y, None, driver="svd")


@pytest.mark.parametrize("chunked", [False, True])
def test_numbers_that_are_not_finite(chunked: bool) -> None:
    X, Y = maps_of(np.ones((3, 1)), np.array([[1.0], [np.nan], [2.0]]))
    with pytest.raises(
        LinearSystemError, match="lstsq: the equations of the block hold NaN or infinite numbers"
    ):
        og.lstsq(cut_at(X, [[0, 1, 3]]) if chunked else X, Y, None).compute()


# ---- solve ----
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
@pytest.mark.parametrize("chunked", [False, True])
def test_solutions_are_those_of_numpy(dtype: str, chunked: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, size=(6, width)).astype(dtype) for width in (6, 2))
    if dtype == "complex128":
        a = a + 1j * rng.normal(size=a.shape)
    X, Y = maps_of(a, b)
    found = og.solve(cut_at(X, [[0, 1, 1, 6]]) if chunked else X, Y).compute()
    expected = np.linalg.solve(a, b).T
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.block().values, expected, rtol=1e-4 if dtype == "float32" else 1e-11)
    assert notes(found, "solve")[0]["rank"] == 6
    assert notes(found, "solve")[0]["residual"] == 0.0


@pytest.mark.parametrize("chunked", [False, True])
def test_gradients_are_more_equations(chunked: bool) -> None:
    """Y = X w with gradients of all orders: w is found, with fewer samples than unknowns."""
    X, _ = systems(parameters=CLOSED, sparsity=1.0)
    X = single(og.slice_block(X.block(), "samples", [0]))
    weights = np.array([[1.0, 2, 3, 4], [0, -1, 0, 2]])
    W = TensorBlock(weights, Labels.range("target", 2), [], PROPERTIES)
    Y = og.dot(X, single(W))
    found = og.solve(X.chunk(target_bytes=8) if chunked else X, Y).compute()
    np.testing.assert_allclose(found.block().values, weights, rtol=1e-11, atol=1e-12)
    assert notes(found, "solve")[0]["residual"] == 0.0


def test_components_are_equations() -> None:
    a = np.random.default_rng(0).normal(size=(2, 2, 4))
    m = [Labels.range("m", 2)]
    X = TensorBlock(a, Labels.range("s", 2), m, PROPERTIES)
    Y = TensorBlock(a[..., :1] * 2 - a[..., 3:], Labels.range("s", 2), m, Labels.range("t", 1))
    np.testing.assert_allclose(og.solve(X, Y).values, [[2, 0, 0, -1]], atol=1e-12)


@pytest.mark.parametrize("chunked", [False, True])
def test_systems_must_be_square(chunked: bool) -> None:
    X, Y = maps_of(np.ones((3, 2)), np.ones((3, 1)))
    match = r"solve: the values in each block of X should be square: .* has 3 equations and 2 properties"
    with nothing_computed(), pytest.raises(ValidationError, match=match):
        og.solve(cut_at(X, [[0, 1, 3]]) if chunked else X, Y)
    few = [single(og.slice_block(map.block(), "samples", [0])) for map in systems(sparsity=0.0)]
    match = (
        "solve: X should have, with gradients, at least as many equations as properties; .* 2 equations and 4"
    )
    with pytest.raises(ValidationError, match=match):
        og.solve(*few)


@pytest.mark.parametrize("a", [np.ones((3, 3)), np.zeros((2, 2)), np.arange(9.0).reshape(3, 3)])
def test_singular_systems_are_an_error_when_computed(a: Array) -> None:
    X, Y = maps_of(a, a[:, :1])
    rank = np.linalg.matrix_rank(a)
    match = f"solve: the equations of the block are singular, of rank {rank} for {len(a)} unknowns; lstsq"
    with pytest.raises(LinearSystemError, match=match) as error:
        og.solve(X, Y)
    assert isinstance(error.value, np.linalg.LinAlgError)
    with nothing_computed():
        lazy = og.solve(cut_at(X, [[0, 1, len(a)]]), Y)
    with pytest.raises(LinearSystemError, match=match):
        lazy.compute()


def test_one_system_without_unknowns() -> None:
    X, Y = maps_of(np.zeros((0, 0)), np.zeros((0, 2)))
    assert og.solve(X, Y).block().shape == (2, 0)
    assert og.lstsq(X, Y, None).block().shape == (2, 0)
    empty = TensorMap(Labels.empty("k"), [])
    assert og.lstsq(empty, empty, None).info() == og.solve(empty, empty).info() == {}


# ---- metatensor ----
def test_parity_with_metatensor() -> None:
    upstream = pytest.importorskip("metatensor")
    pytest.importorskip("metatensor.operations")
    interop = pytest.importorskip("outgrad.interop.metatensor")

    X, Y = systems(sparsity=1.0)
    theirs = upstream.lstsq(interop.to_metatensor(X), interop.to_metatensor(Y), rcond=1e-10)
    for given in (X, X.chunk(target_bytes=500)):
        ours = og.lstsq(given, Y, rcond=1e-10).compute()
        assert og.equal_metadata(ours, interop.from_metatensor(theirs))
        og.allclose_raise(ours, interop.from_metatensor(theirs), rtol=1e-11, atol=1e-12)
    rng = np.random.default_rng(0)
    X, Y = maps_of(rng.normal(size=(5, 5)), rng.normal(size=(5, 2)))
    theirs = upstream.solve(interop.to_metatensor(X), interop.to_metatensor(Y))
    assert og.equal_metadata(og.solve(X, Y), interop.from_metatensor(theirs))
    og.allclose_raise(og.solve(X, Y), interop.from_metatensor(theirs), rtol=1e-11)


def test_gradients_of_the_sides_are_looked_at_chunk_by_chunk() -> None:
    """Rows of X and Y differ, in values, gradients and gradients of gradients: chunks unite their own."""
    X, Y = systems(parameters=CLOSED, order="samples", sparsity=0.5)
    lazy = og.lstsq(cut_at(X, [CUTS[1]]), cut_at(Y, [CUTS[1]]), None)
    [report] = notes(lazy.compute())
    assert report["equations"] == len(stacked(X.block(), Y.block())[0])
