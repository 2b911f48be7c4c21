"""Maps: construction, its rules, selection of blocks, and info."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, LabelsEntry, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, random_block
from tests.support.operands import CLOSED, KEYS, operand


def block(
    sample: str = "system",
    components: tuple[str, ...] = ("m",),
    name: str = "n",
    parameters: dict[str, Parameter] | None = None,
    **settings: Any,
) -> TensorBlock:
    return random_block(
        np.random.default_rng(0),
        Labels.range(sample, 2),
        [Labels.range(each, 2) for each in components],
        Labels.range(name, 3),
        parameters,
        **settings,
    )


KEYS_4 = Labels(["a", "b"], [[0, 0], [0, 1], [1, 0], [2, 5]])


@pytest.fixture(params=["numpy", "dask"])
def map(request: pytest.FixtureRequest) -> TensorMap:
    made = TensorMap(KEYS_4, [og.block_from_array(np.full((n + 1, 2), float(n))) for n in range(4)])
    return made if request.param == "numpy" else made.chunk(16)


def first_values(block: TensorBlock) -> float:
    return float(np.asarray(block.values)[0, 0])


# ---- construction ----
WRONG: dict[str, tuple[str, Callable[[], TensorBlock]]] = {
    "samples": (
        r"sample names of block 0 are \['system'\], but those of block 1 are \['atom'\]",
        lambda: block("atom"),
    ),
    "components": (
        r"component names of block 0 are \['m'\], but those of block 1 are \['k'\]",
        lambda: block(components=("k",)),
    ),
    "number of components": (
        r"component names of block 0 are \['m'\], but those of block 1 are \[\]",
        lambda: block(components=()),
    ),
    "properties": (
        r"property names of block 0 are \['n'\], but those of block 1 are \['l'\]",
        lambda: block(name="l"),
    ),
    "gradients": (
        r"gradients of block 0 are \[\], but those of block 1 are \['x'\]",
        lambda: block(parameters={"x": Parameter()}),
    ),
    "dtype": (
        r"block 0 has dtype float64, but block 1 has float32; convert one of them with .to\(dtype=…\)",
        lambda: block(dtype="float32"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("chunked", [False, True])
def test_blocks_must_agree(name: str, chunked: bool) -> None:
    match, make = WRONG[name]
    other = make().chunk() if chunked else make()
    with pytest.raises(ValidationError, match=f"TensorMap: {match}"):
        TensorMap(Labels.range("k", 2), [block(), other])


def test_gradients_must_agree_in_names() -> None:
    one = block(parameters={"x": Parameter((3,))})
    renamed = block(parameters={"x": Parameter((3,))}, targets=Labels("target", [[0]]))
    match = (
        r"sample names of block 0 are \['sample', 'system', 'atom'\], but those of gradient 'x' of block 1"
    )
    with pytest.raises(ValidationError, match=match):
        TensorMap(Labels.range("k", 2), [one, renamed])
    more = block(parameters={"x": Parameter((3, 3))})
    with pytest.raises(
        ValidationError, match=r"component names of block 0 .* those of gradient 'x' of block 1"
    ):
        TensorMap(Labels.range("k", 2), [one, more])
    nested = block(parameters={"x": Parameter((3,), {"x": Parameter()})})
    with pytest.raises(
        ValidationError, match=r"gradients of block 0 are \[\], but those of gradient 'x' of block 1 are"
    ):
        TensorMap(Labels.range("k", 2), [one, nested])


def test_lengths_and_the_order_of_gradients_may_differ() -> None:
    parameters = {"x": Parameter(), "y": Parameter()}
    one = block(parameters=parameters)
    other = random_block(
        np.random.default_rng(1),
        Labels.range("system", 5),
        [Labels.range("m", 1)],
        Labels.range("n", 0),
        dict(reversed(parameters.items())),
    )
    made = TensorMap(Labels.range("k", 2), [one, other])
    assert_identical(made + made, 2 * made)
    assert_identical(made.chunk(1).compute(), made)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="TensorMap: keys must be Labels, got list"):
        TensorMap([0], [block()])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"TensorMap: blocks\[1\] must be a TensorBlock, got ndarray"):
        TensorMap(Labels.range("k", 2), [block(), np.ones(2)])  # type: ignore[list-item]
    with pytest.raises(ValidationError, match="got 2 keys for 1 blocks; give one key per block"):
        TensorMap(Labels.range("k", 2), [block()])


def test_blocks_can_be_used_again(map: TensorMap) -> None:
    for blocks in (
        map.blocks(),
        map.blocks()[::-1],
        map.blocks()[:2],
        [map.block(1), map.block(1)],
        list(map),
    ):
        again = TensorMap(Labels.range("k", len(blocks)), blocks)
        assert [first_values(one) for one in again] == [first_values(one) for one in blocks]
        assert_identical(
            again.compute(), TensorMap(Labels.range("k", len(blocks)), [b.compute() for b in blocks])
        )


def test_one_lazy_block_makes_all_lazy() -> None:
    made = TensorMap(Labels.range("k", 3), [block(), block().chunk(8), block()])
    assert all(one.chunks is not None for one in made)
    assert_identical(made, TensorMap(Labels.range("k", 3), [block()] * 3))


def test_gradients_become_maps() -> None:
    map = operand(0, parameters=CLOSED)
    for given in (map, map.chunk(300)):
        made = TensorMap(KEYS, [one.gradient("positions") for one in given])
        assert made.sample_names == ["sample", "system", "atom"]
        assert made.component_names == ["positions_1", "m"]
        assert_identical(
            made.block(0).gradient("cell").copy(), map.block(0).gradient("positions").gradient("cell").copy()
        )


def test_a_map_without_blocks() -> None:
    empty = TensorMap(Labels.empty("k"), [])
    assert len(empty) == 0
    assert list(empty) == empty.blocks() == list(empty.items()) == []
    assert (empty.sample_names, empty.component_names, empty.property_names) == ([], [], [])
    assert empty.dtype is None
    assert empty.nbytes == 0
    for made in (empty, empty.chunk()):
        assert str(made) == "TensorMap with 0 blocks\nkeys: k"
        for result in (
            made + 1,
            made * made,
            abs(made),
            made @ made,
            og.sum_over_samples(made, "a"),
            og.sum_over_properties(made, "n"),
            og.slice(made, "samples", [0]),
            og.slice(made, "properties", [0]),
            og.remove_gradients(made),
            made.to(dtype="float32"),
            made.copy(),
        ):
            assert_identical(result.compute(), empty)
        assert made == empty
        with pytest.raises(ValidationError, match="no block is selected"):
            made.block()


# ---- selection ----
@pytest.mark.parametrize(
    ("selection", "number"),
    [
        (0, 0), (3, 3), (-1, 3), (-4, 0), (np.int64(2), 2), (np.uint8(1), 1),
        ({"b": 5}, 3), ({"a": 0, "b": 1}, 1), (Labels(["b", "a"], [[1, 0]]), 1),
        (Labels("b", [[5]]), 3), (LabelsEntry(["a", "b"], [1, 0]), 2), (KEYS_4.entry(1), 1),
    ],
)  # fmt: skip
def test_one_block(map: TensorMap, selection: Any, number: int) -> None:
    for found in (map.block(selection), map[selection], *map.blocks(selection)):
        assert first_values(found) == number


def test_keywords(map: TensorMap) -> None:
    assert first_values(map.block(a=1)) == 2
    assert first_values(map.block(a=0, b=np.int32(1))) == 1
    assert [first_values(one) for one in map.blocks(a=0)] == [0, 1]
    assert [first_values(one) for one in map.blocks({"b": 0})] == [0, 2]
    assert len(map.blocks()) == 4
    assert len(map.blocks({})) == 4


def test_by_number(map: TensorMap) -> None:
    assert first_values(map.block_by_id(-2)) == 2
    assert [first_values(one) for one in map.blocks_by_id([3, 0])] == [3, 0]
    for number in (4, -5):
        for call in (map.block, map.block_by_id, map.blocks, map.__getitem__):
            with pytest.raises(
                IndexError, match=rf"^block\w*\({number}\): index is out of range for a map with 4 blocks$"
            ):
                call(number)


def test_iteration(map: TensorMap) -> None:
    assert len(map) == 4
    assert [first_values(one) for one in map] == [0, 1, 2, 3]
    assert [(key["a"], first_values(one)) for key, one in map.items()] == [(0, 0), (0, 1), (1, 2), (2, 3)]


def test_the_only_block() -> None:
    assert first_values(TensorMap(Labels.single(), [og.block_from_array(np.ones((1, 1)))]).block()) == 1


SELECTION_ERRORS: list[tuple[type[Exception], str, Callable[[TensorMap], Any]]] = [
    (
        ValidationError,
        r"block\(a=0\): 2 blocks are selected, expected one; the keys are \['a', 'b'\] with 4 entries; "
        r"add dimensions, or call blocks\(…\)",
        lambda m: m.block(a=0),
    ),
    (ValidationError, r"block\(a=7\): no block is selected, expected one", lambda m: m.block(a=7)),
    (ValidationError, r"block\(\): 4 blocks are selected", lambda m: m.block()),
    (
        ValidationError,
        r"blocks\(a=7, b=0\): no block is selected; the keys are",
        lambda m: m.blocks(a=7, b=0),
    ),
    (ValidationError, r"block\({'a': 9}\): no block is selected", lambda m: m.block({"a": 9})),
    (ValueError, "c", lambda m: m.block(c=0)),
    (TypeError, "block: the value of 'a' must be an int, got 0.0", lambda m: m.block(a=0.0)),
    (TypeError, "blocks: the value of 'a' must be an int, got 'x'", lambda m: m.blocks(a="x")),
    (ValidationError, "32-bit", lambda m: m.block(a=2**40)),
    (
        TypeError,
        "block: got a selection and keyword arguments; give only one of them",
        lambda m: m.block(0, a=0),
    ),
    (
        TypeError,
        "block: the selection must be an int, Labels, a LabelsEntry or a dict, got float",
        lambda m: m.block(1.0),
    ),
    (TypeError, "block: the selection must be an int, .* got slice", lambda m: m[0:2]),
    (TypeError, "blocks: the selection must be an int, .* got list", lambda m: m.blocks([0, 1])),
]


@pytest.mark.parametrize(("error", "match", "call"), SELECTION_ERRORS)
def test_selections_that_fit_nothing(map: TensorMap, error: Any, match: str, call: Any) -> None:
    with pytest.raises(error, match=match):
        call(map)


def test_labels_that_select_several_blocks(map: TensorMap) -> None:
    assert [first_values(one) for one in map.blocks(Labels("b", [[0], [5]]))] == [0, 2, 3]
    with pytest.raises(ValidationError, match="3 blocks are selected"):
        map.block(Labels("b", [[0], [5]]))


# ---- names and sizes ----
def test_names() -> None:
    map = operand(0)
    assert map.sample_names == ["system", "atom"]
    assert map.component_names == ["m"]
    assert map.property_names == ["n", "l"]
    assert map.dtype == np.float64
    assert map.device == "cpu"
    assert not map.is_view
    assert map.keys == KEYS
    assert map.nbytes == sum(one.nbytes for one in map) == map.chunk(1).nbytes


# ---- info ----
def test_info() -> None:
    map = operand(0)
    map.set_info("author", "")
    map.set_info("author", "ÅÄÖ\0 and more")
    assert map.get_info("author") == "ÅÄÖ\0 and more"
    assert map.get_info("nothing") is None
    assert map.info() == {"source": "seed 0", "author": "ÅÄÖ\0 and more"}
    map.info()["source"] = "changed"
    assert map.get_info("source") == "seed 0"
    with pytest.raises(TypeError, match=r"set_info\('n', 1\): key and value must be str"):
        map.set_info("n", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"set_info\(1, 'n'\): key and value must be str"):
        map.set_info(1, "n")  # type: ignore[arg-type]


def test_info_survives_everything() -> None:
    map = operand(0)
    map.set_info("empty", "")
    for made in (
        map.copy(),
        map.copy(deep=False),
        map.to(dtype="float32"),
        map.chunk(),
        map.chunk().compute(),
    ):
        assert made.info() == {"source": "seed 0", "empty": ""}
    assert map.chunk().persist().info() == map.info()
