"""Moving keys and components: orders of labels, fill values, chunks, errors, and parity with metatensor."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, random_block
from outgrad.testing.strategies import DTYPES, SPARSITIES, labels
from tests.ops.cases_keys import ALL_NAMES, REQUESTED
from tests.support import EXAMPLES
from tests.support.lazy import check_layout, chunks_of, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, FLAT, ONE_ROW, operand


def small_block(
    samples: list[int],
    properties: list[int],
    rows: list[list[int]],
    components: tuple[int, ...] = (),
    own: tuple[int, ...] = (0,),
    dtype: Any = float,
) -> TensorBlock:
    """Values count from 1; the gradient, with the components ``own``, from 101."""
    s, p = Labels("s", np.c_[samples]), Labels("p", np.c_[properties])
    inner = [Labels.range(f"c{n}", size) for n, size in enumerate(components)]
    shape = (len(samples), *components, len(properties))
    block = TensorBlock(np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype), s, inner, p)
    shape = (len(rows), len(own), *components, len(properties))
    values = np.arange(101, 101 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    table = Labels(["sample", "a"], np.array(rows).reshape(-1, 2))
    block.add_gradient("g", TensorBlock(values, table, [Labels("x", np.c_[list(own)]), *inner], p))
    return block


KEYS = Labels(["a", "b"], [[1, 5], [2, 5], [1, 3]])


def small_map(last: list[int] | None = None, **options: Any) -> TensorMap:
    """Samples 3, 1 and 2, 1 are merged where a = 1."""
    blocks = [
        small_block([3, 1], [7, 8], [[0, 0], [1, 1]], **options),
        small_block([4, 0], [7, 8], [[0, 0]], **options),
        small_block([2, 1], last or [7, 8], [[0, 4], [1, 1]], **options),
    ]
    return TensorMap(KEYS, blocks)


@pytest.fixture(params=["numpy", "dask"])
def lazily(request: pytest.FixtureRequest) -> Callable[[TensorMap], TensorMap]:
    """Chunks of one row each, or arrays in memory."""
    if request.param == "numpy":
        return lambda map: map
    return lambda map: cut_at(map, [list(range(len(block) + 1)) for block in map])


def table(labels_: Labels) -> list[list[int]]:
    return labels_.values.tolist()  # type: ignore[no-any-return]


# ---- orders of labels ----
def test_keys_to_properties(lazily: Any) -> None:
    result = lazily(small_map()).keys_to_properties("b").compute()
    assert result.keys == Labels("a", [[1], [2]])
    block = result.block(0)
    assert table(block.samples) == [[1], [2], [3]]
    assert block.properties == Labels(["b", "p"], [[5, 7], [5, 8], [3, 7], [3, 8]])
    assert block.values.tolist() == [[3, 4, 3, 4], [0, 0, 1, 2], [1, 2, 0, 0]]
    gradient = block.gradient("g")
    assert table(gradient.samples) == [[0, 1], [1, 4], [2, 0]]
    assert gradient.values[:, 0].tolist() == [[103, 104, 103, 104], [0, 0, 101, 102], [101, 102, 0, 0]]


def test_keys_to_samples(lazily: Any) -> None:
    result = lazily(small_map([8, 9])).keys_to_samples("b", fill_value=-1).compute()
    block = result.block(0)
    assert block.samples == Labels(["s", "b"], [[1, 3], [1, 5], [2, 3], [3, 5]])
    assert table(block.properties) == [[7], [8], [9]]
    assert block.values.tolist() == [[-1, 3, 4], [3, 4, -1], [-1, 1, 2], [1, 2, -1]]
    gradient = block.gradient("g")
    assert table(gradient.samples) == [[0, 1], [1, 1], [2, 4], [3, 0]]
    assert gradient.values[:, 0].tolist() == [[-1, 103, 104], [103, 104, -1], [-1, 101, 102], [101, 102, -1]]


def test_names_move_in_the_order_of_the_caller() -> None:
    wide = small_map([8, 9]).keys_to_properties(["b", "a"])
    assert wide.keys == Labels.single()
    assert wide.block().properties.names == ["b", "a", "p"]
    assert table(wide.block().properties)[2:5] == [[5, 2, 7], [5, 2, 8], [3, 1, 8]]
    assert small_map().keys_to_samples(["b", "a"]).block().samples.names == ["s", "b", "a"]
    assert small_map().keys_to_samples(["a", "b"]).sample_names == ["s", "a", "b"]


def test_samples_as_they_appear_but_gradient_rows_sorted(lazily: Any) -> None:
    wide = lazily(small_map()).keys_to_properties("b", sort_samples=False).block(0).compute()
    assert table(wide.samples) == [[3], [1], [2]]
    assert table(wide.gradient("g").samples) == [[0, 0], [1, 1], [2, 4]]
    long = lazily(small_map()).keys_to_samples("b", sort_samples=False).block(0).compute()
    assert table(long.samples) == [[3, 5], [1, 5], [2, 3], [1, 3]]
    assert table(long.gradient("g").samples) == [[0, 0], [1, 1], [2, 4], [3, 1]]


@pytest.mark.parametrize("name", ["keys_to_properties", "keys_to_samples"])
def test_nothing_is_merged_without_names(name: str, lazily: Any) -> None:
    result = getattr(lazily(small_map()), name)([]).compute()
    assert result.keys == KEYS
    assert [table(block.samples) for block in result] == [[[1], [3]], [[0], [4]], [[1], [2]]]
    assert table(result.block(0).gradient("g").samples) == [[0, 1], [1, 0]]
    assert result.property_names == ["p"]
    kept = getattr(small_map(), name)([], sort_samples=False)
    assert all(a.samples == b.samples for a, b in zip(kept, small_map(), strict=True))
    assert table(kept.block(0).gradient("g").samples) == [[0, 0], [1, 1]]


def test_a_text_is_one_name() -> None:
    map = TensorMap(Labels(["ab", "a"], [[0, 0], [0, 1]]), small_map().blocks()[:2])
    assert map.keys_to_properties("ab").keys.names == ["a"]
    assert_identical(map.keys_to_properties("ab"), map.keys_to_properties(("ab",)))


# ---- keys that are asked for ----
def test_requested_keys_give_the_properties(lazily: Any) -> None:
    result = lazily(small_map()).keys_to_properties(Labels("b", [[9], [3]])).compute()
    first, second = result.blocks()
    assert table(first.properties) == table(second.properties) == [[9, 7], [9, 8], [3, 7], [3, 8]]
    assert table(first.samples) == [[1], [2], [3]]  # those of the key 5 too
    assert first.values.tolist() == [[0, 0, 3, 4], [0, 0, 1, 2], [0, 0, 0, 0]]
    assert table(first.gradient("g").samples) == [[0, 1], [1, 4], [2, 0]]
    assert first.gradient("g").values[:, 0].tolist() == [[0, 0, 103, 104], [0, 0, 101, 102], [0, 0, 0, 0]]
    assert not second.values.any()


def test_requested_keys_of_two_dimensions() -> None:
    wanted = Labels(["b", "a"], [[3, 1], [5, 5], [5, 2]])
    block = small_map().keys_to_properties(wanted, fill_value=np.nan).block()
    assert block.properties.names == ["b", "a", "p"]
    assert np.isnan(block.values[:, 2:4]).all()
    assert block.values[:, :2][~np.isnan(block.values[:, :2])].tolist() == [3, 4, 1, 2]


def test_labels_without_entries_are_names() -> None:
    for name in ("keys_to_properties", "keys_to_samples"):
        call = getattr(small_map(), name)
        assert_identical(call(Labels.empty("b")), call("b"))


def test_requested_properties_must_be_the_same() -> None:
    with pytest.raises(
        ValidationError, match=r"if the blocks have different property labels; pass the names \['b'\]"
    ):
        small_map([8, 9]).keys_to_properties(Labels("b", [[3]]))


def test_keys_to_samples_takes_no_entries() -> None:
    match = "keys_to_samples: keys_to_move should not contain any entry, got Labels with 1; pass the names"
    with pytest.raises(ValidationError, match=match):
        small_map().keys_to_samples(Labels("b", [[3]]))


# ---- fill values ----
def test_cells_of_values_and_gradients_are_filled(lazily: Any) -> None:
    block = lazily(small_map()).keys_to_properties("b", fill_value=np.nan).block(0).compute()
    assert np.isnan(block.values).tolist() == [
        [False] * 4,
        [True, True, False, False],
        [False, False, True, True],
    ]
    gradient = block.gradient("g")
    assert len(gradient.samples) == 3  # rows that no block has stay missing
    assert np.isnan(gradient.values[1:, 0]).tolist() == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_fill_values_of_complex_numbers() -> None:
    block = small_map(dtype=complex).keys_to_properties("b", fill_value=2j).block(0)
    assert block.values[1].tolist() == [2j, 2j, 1, 2]


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("int64", np.nan),
        ("int64", np.inf),
        ("int64", 2.5),
        ("int8", 200),
        ("uint8", -1),
        ("bool", 2),
        ("bool", np.nan),
        ("int64", 1j),
        ("float64", 1j),
        pytest.param("float64", 10**400, id="a large integer"),
        ("float32", 1e300),
        ("complex64", 1e300j),
    ],
)
def test_fill_values_fit_the_dtype(dtype: str, fill: Any) -> None:
    match = re.escape(f"fill_value {fill} does not fit into {dtype}, the dtype of the map; convert it first")
    for name in ("keys_to_properties", "keys_to_samples"):
        with pytest.raises(ValidationError, match=f"{name}: {match}"), nothing_computed():
            getattr(small_map(dtype=dtype).chunk(), name)("b", fill_value=fill)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("int64", 3.0),
        ("int8", -128),
        ("bool", True),
        ("bool", np.float32(1)),
        ("float32", 0.1),
        ("float32", np.inf),
        ("float64", np.array(2)),
        ("complex64", 1),
        ("complex128", complex("nan")),
        ("float64", 2**70),
        ("uint64", 2**64 - 1),
        ("int64", Fraction(4, 2)),
        ("float64", np.longdouble(2)),
        ("complex128", np.clongdouble(2j)),
    ],
)
def test_fill_values_that_fit(dtype: str, fill: Any) -> None:
    block = small_map(dtype=dtype).keys_to_properties("b", fill_value=fill).block(0)
    assert block.dtype == block.gradient("g").dtype == dtype
    np.testing.assert_array_equal(block.values[1, :2], np.full(2, fill).astype(dtype))


@pytest.mark.parametrize("fill", [[1], "1", None, np.ones(2)])
def test_fill_values_are_numbers(fill: Any) -> None:
    match = f"keys_to_samples: fill_value must be a single number, got {type(fill).__name__}"
    with pytest.raises(TypeError, match=match):
        small_map().keys_to_samples("b", fill_value=fill)


def test_equal_fill_values_share_their_names() -> None:
    map = small_map().chunk()
    first, second = (map.keys_to_properties("b", fill_value=fill) for fill in (1, 1.0))
    assert first.__dask_keys__() == second.__dask_keys__()
    other = map.keys_to_properties("b", fill_value=2)
    assert first.__dask_keys__() != other.__dask_keys__()


# ---- errors ----
@pytest.mark.parametrize("name", ["keys_to_properties", "keys_to_samples"])
def test_what_cannot_move(name: str) -> None:
    call: Any = getattr(small_map().chunk(), name)
    function = getattr(og, name)
    unknown = r"'zz' is not part of the keys for this tensor map, whose dimensions are \['a', 'b'\]"
    repeated = "label dimensions must be unique, got 'b' multiple times in keys_to_move"
    no_names = "keys_to_move must be a str or a list of str, got "
    block, empty = small_map().block(0), TensorMap(Labels.empty("b"), [])
    for error, match, run in [
        (ValidationError, unknown, lambda: call(["b", "zz"])),
        (ValidationError, repeated, lambda: call(["b", "b"])),
        (TypeError, no_names + r"\[1\]", lambda: call([1])),
        (TypeError, no_names + "1", lambda: call(1)),
        (TypeError, "tensor must be a TensorMap, got TensorBlock", lambda: function(block, "b")),
        (ValidationError, "there are no keys to move in an empty TensorMap", lambda: function(empty, "b")),
    ]:
        with pytest.raises(error, match=f"{name}: {match}"), nothing_computed():
            run()


@pytest.mark.parametrize(
    ("name", "axis", "taken"),
    [("keys_to_properties", "properties", "p"), ("keys_to_samples", "samples", "s")],
)
def test_names_must_not_clash(name: str, axis: str, taken: str) -> None:
    map = TensorMap(Labels(taken, [[0], [1], [2]]), small_map().blocks())
    match = rf"{name}: label dimensions must be unique, but \['{taken}'\] would occur twice in the {axis}"
    with pytest.raises(ValidationError, match=match):
        getattr(map, name)(taken)


def blocks_with(first: TensorBlock, second: TensorBlock) -> TensorMap:
    return TensorMap(Labels(["a", "b"], [[0, 1], [0, 2]]), [first, second])


@pytest.mark.parametrize("name", ["keys_to_properties", "keys_to_samples"])
def test_components_must_be_the_same(name: str) -> None:
    map = blocks_with(small_block([0], [0], [], (2,)), small_block([0], [0], [], (3,)))
    match = (
        rf"{name}: can not move keys to \w+ if the blocks have different components labels, call "
        r"components_to_properties first; the component 'c0' differs in the blocks \(a=0, b=1\) and "
        r"\(a=0, b=2\): \[0, 1\] and \[0, 1, 2\]"
    )
    with pytest.raises(ValidationError, match=match):
        getattr(map, name)("b")
    assert getattr(map.components_to_properties("c0"), name)("b").component_names == []
    getattr(map, name)([])  # blocks that are not merged may differ


@pytest.mark.parametrize("own", [(1,), (0, 1), tuple(range(20))])
def test_components_of_gradients_must_be_the_same(own: tuple[int, ...]) -> None:
    map = blocks_with(small_block([0], [0], [[0, 0]]), small_block([0], [0], [[0, 0]], own=own))
    match = r"make them the same; the component 'x' of the gradient 'g' differs in the blocks .*: \[0\] and "
    shown = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …] of 20" if len(own) == 20 else str(list(own))
    with pytest.raises(ValidationError, match=match + re.escape(shown)):
        map.keys_to_properties("b")


def test_components_of_gradients_of_gradients_must_be_the_same() -> None:
    def block(size: int) -> TensorBlock:
        nested = {"g": Parameter((), {"h": Parameter((size,))})}
        return random_block(np.random.default_rng(0), Labels.range("s", 2), [], Labels.range("p", 2), nested)

    with pytest.raises(
        ValidationError, match="the component 'h_0' of the gradient 'g/h' differs in the blocks"
    ):
        blocks_with(block(1), block(2)).keys_to_samples("b")


# ---- blocks without content ----
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("samples", "properties"), [([], [0, 1]), ([0, 1], []), ([], [])])
def test_blocks_without_samples_or_properties(
    samples: list[int], properties: list[int], chunked: bool
) -> None:
    map = blocks_with(small_block(samples, properties, []), small_block(samples, properties, []))
    wide, long = (
        getattr(map.chunk() if chunked else map, name)("b")
        for name in ("keys_to_properties", "keys_to_samples")
    )
    assert wide.compute().block().shape == (len(samples), 2 * len(properties))
    assert long.compute().block().shape == (2 * len(samples), len(properties))
    assert wide.block().gradient("g").shape == (0, 1, 2 * len(properties))


# ---- chunks ----
def wide_map(count: int = 300) -> TensorMap:
    """Samples that interleave, and gradient rows that some blocks lack."""
    rng = np.random.default_rng(0)
    blocks = []
    for _ in range(4):
        samples = Labels("system", np.sort(rng.permutation(2 * count)[:count])[:, None])
        blocks.append(
            random_block(rng, samples, [], Labels.range("n", 3), FLAT, targets=Labels.range("atom", 2))
        )
    return TensorMap(Labels(["a", "b"], [[0, 0], [1, 0], [0, 1], [0, 2]]), blocks)


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("name", ["keys_to_properties", "keys_to_samples"])
@pytest.mark.parametrize("target", [600, 5000])
def test_results_have_several_chunks(name: str, sort: bool, target: int) -> None:
    map = wide_map()
    expected = getattr(map, name)("b", sort_samples=sort, fill_value=np.nan)
    with dask.config.set({"outgrad.chunk-bytes": target}):
        result = getattr(map.chunk(), name)("b", sort_samples=sort, fill_value=np.nan)
    check_layout(result)
    assert_identical(result, expected)
    for outline in result._blocks().to_compute.outlines:
        row = outline.nbytes / outline.shape[0]
        assert outline.chunk_count > 10
        assert (outline.chunk_bytes <= target + 20 * row).all()


def test_the_chunks_of_wider_blocks_are_cut_anew() -> None:
    """Blocks of the same samples: a chunk of the merged block is not as many times larger."""
    rng = np.random.default_rng(0)
    samples, n = Labels.range("system", 200), Labels.range("n", 4)
    map = TensorMap(
        Labels.range("b", 10), [random_block(rng, samples, [], n, {"cell": Parameter()}) for _ in range(10)]
    )
    with dask.config.set({"outgrad.chunk-bytes": 2000}):
        result = map.chunk().keys_to_properties("b")
    assert result.block().samples == samples
    chunks = chunks_of(result)[0]
    assert max(chunk.nbytes for chunk in chunks) < 4000
    assert_identical(result, map.keys_to_properties("b"))


def test_labels_that_stay_are_not_made_anew() -> None:
    samples = Labels.range("s", 3)
    block = TensorBlock(np.ones((3, 2)), samples, [], Labels.range("p", 2))
    map = TensorMap(Labels.range("b", 2), [block, block])
    assert map.keys_to_properties("b").block().samples is samples
    assert map.keys_to_samples("b").block().properties is block.properties
    assert map.keys_to_properties([]).block(0).properties is block.properties


def test_stored_maps(tmp_path: Path) -> None:
    map = operand(0, uniform=True)
    og.save(tmp_path / "map.zarr", map)
    for names in ("neighbor_type", ALL_NAMES):
        assert_identical(
            og.open(tmp_path / "map.zarr").keys_to_properties(names), map.keys_to_properties(names)
        )
        assert_identical(og.open(tmp_path / "map.zarr").keys_to_samples(names), map.keys_to_samples(names))
    opened = og.open(tmp_path / "map.zarr").components_to_properties("m")
    assert not opened.block(0).samples.is_loaded
    assert_identical(opened, map.components_to_properties("m"))


def test_gradient_rows_in_any_order() -> None:
    map = operand(0, uniform=True, order="any")
    for name in ("keys_to_properties", "keys_to_samples"):
        expected = getattr(operand(0, uniform=True, order="any"), name)("neighbor_type")
        with pytest.warns(og.errors.UnsortedGradientWarning):
            chunked = map.chunk(target_bytes=200)
        assert_identical(getattr(chunked, name)("neighbor_type"), expected)
        for block in expected:
            rows = block.gradient("positions").samples.values
            assert table(Labels(["s", "x", "a"], rows)) == sorted(rows.tolist())


@pytest.mark.parametrize("cut", [ONE_ROW, ACROSS_SYSTEMS])
def test_requested_keys_and_nan_in_chunks(cut: Any) -> None:
    for parameters in (FLAT, CLOSED):
        map = operand(0, uniform=True, parameters=parameters, order="samples")
        for names in (REQUESTED, ALL_NAMES):
            expected = map.keys_to_properties(names, fill_value=np.nan, sort_samples=False)
            assert_identical(
                cut_at(map, cut).keys_to_properties(names, fill_value=np.nan, sort_samples=False), expected
            )


def test_no_sample_has_any_gradient_row() -> None:
    for name in ("keys_to_properties", "keys_to_samples"):
        result = getattr(operand(0, uniform=True, sparsity=0.0), name)(ALL_NAMES).block()
        assert result.gradient("strain").shape[0] == 0


# ---- components ----
def three_components(parameters: Any = CLOSED) -> TensorMap:
    rng = np.random.default_rng(0)
    blocks = [
        random_block(
            rng,
            Labels.range("s", 4),
            [Labels(f"c{n}", np.arange(size)[::-1, None]) for n, size in enumerate(sizes)],
            Labels("p", [[3], [1]]),
            parameters,
        )
        for sizes in ((2, 3, 4), (1, 2, 3))
    ]
    return TensorMap(Labels.range("k", 2), blocks)


def check_moved(before: TensorBlock, after: TensorBlock, name: str) -> None:
    """Values by NumPy, and the same for every gradient below."""
    axis = 1 + [component.names[0] for component in before.components].index(name)
    moved = np.moveaxis(before.values, axis, -2)
    assert np.array_equal(after.values, moved.reshape(*moved.shape[:-2], -1))
    assert [c.names[0] for c in after.components] == [
        c.names[0] for c in before.components if c.names != [name]
    ]
    for parameter, gradient in before.gradients():
        check_moved(gradient, after.gradient(parameter), name)
        assert after.gradient(parameter).samples == gradient.samples


@pytest.mark.parametrize("name", ["c0", "c1", "c2"])
def test_one_of_three_components_moves(name: str, lazily: Any) -> None:
    map = three_components()
    result = lazily(map).components_to_properties(name).compute()
    for before, after in zip(map, result, strict=True):
        check_moved(before, after, name)
        assert after.properties.names == [name, "p"]
        size = len(before.components[int(name[1])])
        assert table(after.properties) == [[c, p] for c in range(size)[::-1] for p in (3, 1)]


@pytest.mark.parametrize("names", [["c0", "c2"], ["c2", "c0"], ["c1", "c0", "c2"], ["c2", "c1", "c0"]])
def test_components_move_one_after_the_other(names: list[str], lazily: Any) -> None:
    map = three_components()
    result, expected = lazily(map).components_to_properties(names), map
    for name in names:
        expected = expected.components_to_properties(name)
    assert_identical(result, expected)
    assert result.property_names == [*names[::-1], "p"]


def test_several_components_are_one_task_a_part() -> None:
    map = cut_at(three_components(FLAT), [[0, 2, 4], [0, 1, 4]])
    result = map.components_to_properties(["c0", "c2"])
    assert len(set(result.__dask_graph__()) - set(map.__dask_graph__())) == len(map.__dask_keys__())


def test_no_component_moves() -> None:
    map = three_components()
    map.set_info("source", "here")
    result = map.components_to_properties([])
    assert_identical(result, map)
    result.set_info("source", "there")
    assert map.get_info("source") == "here"


def test_components_of_a_block() -> None:
    block = three_components().block(0)
    expected = three_components().components_to_properties("c1").block(0)
    assert_identical(og.components_to_properties(block, "c1"), expected)
    assert_identical(og.components_to_properties_block(block=block, dimensions="c1"), expected)


def test_components_of_no_blocks() -> None:
    empty = TensorMap(Labels.empty("k"), [])
    assert_identical(empty.components_to_properties("c0"), empty)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("samples", "properties"), [([], [0, 1]), ([0, 1], [])])
def test_components_without_content(samples: list[int], properties: list[int], chunked: bool) -> None:
    map = TensorMap(Labels.single(), [small_block(samples, properties, [], (2, 3))])
    block = (map.chunk() if chunked else map).components_to_properties("c0").compute().block()
    assert block.shape == (len(samples), 3, 2 * len(properties))
    assert block.gradient("g").shape == (0, 1, 3, 2 * len(properties))


@pytest.mark.parametrize("names", ["zz", "c", ["c0", "c0"], ["c1", "positions_3"], "positions_3"])
def test_components_must_be_those_of_the_values(names: Any) -> None:
    unknown = names if isinstance(names, str) else names[1]
    match = (
        rf"components_to_properties: unable to find '{unknown}' in the components of the values, which are \["
    )
    map = three_components()
    assert "positions_3" in [c.names[0] for c in map.block(0).gradient("positions").components]
    with pytest.raises(ValidationError, match=match), nothing_computed():
        map.chunk().components_to_properties(names)


def test_other_errors_of_components() -> None:
    block = TensorBlock(
        np.ones((1, 2, 2)), Labels.range("s", 1), [Labels.range("p", 2)], Labels.range("p", 2)
    )
    match = r"components_to_properties: label dimensions must be unique, but \['p'\] would occur twice in"
    with pytest.raises(ValidationError, match=match):
        og.components_to_properties(block, "p")
    with pytest.raises(
        TypeError, match="components_to_properties: tensor must be a TensorMap or a TensorBlock"
    ):
        og.components_to_properties(1, "p")  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"dimensions must be a str or a list of str, got \[0\]"):
        og.components_to_properties(block, [0])  # type: ignore[list-item]


# ---- parity with metatensor ----
@pytest.fixture(scope="module")
def upstream() -> ModuleType:
    return pytest.importorskip("metatensor")  # type: ignore[no-any-return]


def agree(call: Callable[[Any], Any], map: TensorMap) -> None:
    """The same bits as metatensor, in memory and in chunks."""
    theirs = og.from_metatensor(call(og.to_metatensor(map)))
    assert_identical(call(map), theirs)
    with dask.config.set({"outgrad.chunk-bytes": 3000}):
        assert_identical(call(map.chunk(target_bytes=1000)), theirs)


CALLS: dict[str, Callable[[Any, bool], Any]] = {
    "first to properties": lambda A, sort: A.keys_to_properties(A.keys.names[0], sort_samples=sort),
    "last to properties": lambda A, sort: A.keys_to_properties([A.keys.names[-1]], sort_samples=sort),
    "all to properties": lambda A, sort: A.keys_to_properties(list(A.keys.names)[::-1], sort_samples=sort),
    "none to properties": lambda A, sort: A.keys_to_properties([], sort_samples=sort),
    "first to samples": lambda A, sort: A.keys_to_samples(A.keys.names[0], sort_samples=sort),
    "last to samples": lambda A, sort: A.keys_to_samples([A.keys.names[-1]], sort_samples=sort),
    "all to samples": lambda A, sort: A.keys_to_samples(list(A.keys.names)[::-1], sort_samples=sort),
    "none to samples": lambda A, sort: A.keys_to_samples([], sort_samples=sort),
}


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
@pytest.mark.usefixtures("upstream")
def test_real_maps(file: Path, name: str, sort: bool) -> None:
    map = og.load(file)
    if (
        name.startswith(("first", "all")) and map.component_names
    ):  # blocks of different angular momentum have different components
        map = map.components_to_properties(map.component_names)
    agree(lambda A: CALLS[name](A, sort), map)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
@pytest.mark.usefixtures("upstream")
def test_components_of_real_maps(file: Path) -> None:
    map = og.load(file)
    if not map.component_names:
        pytest.skip("no components")
    agree(lambda A: A.components_to_properties(map.component_names), map)


def test_sparse_samples_as_in_the_tutorial(upstream: ModuleType) -> None:
    map = og.load(next(file for file in EXAMPLES if file.stem == "radial-spectrum"))

    def call(A: Any) -> Any:
        return A.keys_to_samples("center_type").keys_to_properties("neighbor_type", fill_value=np.nan)

    agree(call, map)
    dense = call(map).block()
    assert list(dict.fromkeys(dense.properties["neighbor_type"].tolist())) == [6, 8, 7]
    assert np.isnan(dense.values).any()
    theirs = upstream.Labels(["neighbor_type"], np.array([[1], [8]]))
    long = map.keys_to_samples("center_type")
    found = og.from_metatensor(og.to_metatensor(long).keys_to_properties(theirs))
    assert_identical(long.keys_to_properties(Labels("neighbor_type", [[1], [8]])), found)


@st.composite
def mergeable(draw: st.DrawFn, same_properties: bool = False, nested: bool = False) -> TensorMap:
    """A map of up to four blocks with the same components, of which any may be empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keys = draw(labels(("a", "b"), min_size=1, max_size=4, low=0, high=2))
    parameters = draw(
        st.sampled_from([{}, FLAT, {"positions": Parameter((3,))}, *([CLOSED] if nested else [])])
    )
    components = [Labels.range("m", 2)] * draw(st.integers(0, 1))
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype != "bool"]))
    shared = draw(labels(("n",), max_size=3))
    blocks = []
    for _ in range(len(keys)):
        properties = shared if same_properties else draw(labels(("n",), max_size=3, low=0, high=3))
        samples = draw(labels(("system", "atom"), max_size=5, low=0, high=2))
        sparsity = draw(st.sampled_from(SPARSITIES))
        blocks.append(
            random_block(rng, samples, components, properties, parameters, sparsity=sparsity, dtype=dtype)
        )
    return TensorMap(keys, blocks)


@given(mergeable(), st.sampled_from(sorted(CALLS)), st.booleans())
@pytest.mark.usefixtures("upstream")
def test_random_maps(map: TensorMap, name: str, sort: bool) -> None:
    agree(lambda A: CALLS[name](A, sort), map)


@given(
    mergeable(same_properties=True), labels(("b",), min_size=1, max_size=4, low=0, high=3), st.integers(0, 2)
)
def test_random_requests(upstream: ModuleType, map: TensorMap, wanted: Labels, fill: int) -> None:
    theirs = og.to_metatensor(map).keys_to_properties(og.to_metatensor(wanted), fill_value=fill)
    assert_identical(map.keys_to_properties(wanted, fill_value=fill), og.from_metatensor(theirs))


@given(mergeable(nested=True), st.data())
def test_chunks_of_random_maps(map: TensorMap, data: Any) -> None:
    edges = [sorted([0, *data.draw(st.lists(st.integers(0, len(b)), max_size=3)), len(b)]) for b in map]
    call, sort = CALLS[data.draw(st.sampled_from(sorted(CALLS)))], data.draw(st.booleans())
    with dask.config.set({"outgrad.chunk-bytes": data.draw(st.sampled_from([100, 1000, 10**6]))}):
        result = call(cut_at(map, edges), sort)
    check_layout(result)
    assert_identical(result, call(map, sort))


@pytest.mark.parametrize("name", ["c0", "c1", "c2"])
@pytest.mark.usefixtures("upstream")
def test_upstream_scrambles_two_components_behind_the_moved_one(name: str) -> None:
    map = three_components(FLAT)
    theirs = og.from_metatensor(og.to_metatensor(map).components_to_properties(name))
    ours = map.components_to_properties(name)
    assert og.equal_metadata(ours, theirs)
    assert og.equal(ours, theirs) == (name != "c0")
