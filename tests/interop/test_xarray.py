"""Blocks and maps to xarray and back."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.errors import ValidationError
from outgrad.testing import Parameter, assert_identical, random_block, strategies
from tests.support.lazy import nothing_computed
from tests.support.stored import Source, stored

xarray = pytest.importorskip("xarray")
pandas = pytest.importorskip("pandas")

SAMPLES = Labels(["system", "atom"], [[0, 4], [0, 5], [1, 4], [2, 2]])
N = Labels("n", [[3], [1]])
XYZ = Labels.range("xyz", 3)


def a_block(parameters: dict[str, Parameter] | None = None, **settings: Any) -> TensorBlock:
    given = {"samples": SAMPLES, "components": [Labels("m", [[-1], [1]])], "properties": N, **settings}
    if parameters is None:
        parameters = {"positions": Parameter((3,), {"cell": Parameter((2,))}), "strain": Parameter((3, 3))}
    return random_block(np.random.default_rng(3), parameters=parameters, sparsity=0.8, **given)


BLOCK = a_block()
DATA = BLOCK.to_xarray()


def gradient_names(tensor: Any) -> list[Any]:
    """Names of gradients at every depth, in their order."""
    return [[path for path, _ in metadata.walk()] for metadata in tensor._blocks().metadata]


def read_back(block: TensorBlock) -> TensorBlock:
    return og.from_xarray(block.to_xarray())  # type: ignore[no-any-return]


class TestRoundTrip:
    @given(strategies.tensor_maps(nested=True, dtype=None, key_names=("center_type", "l")), st.text())
    def test_maps(self, map: TensorMap, text: str) -> None:
        map.set_info("unit", text)
        tree = map.to_datatree()
        assert len(tree.children) == len(map)
        back = og.from_xarray(tree)
        assert_identical(back, map)
        assert gradient_names(back) == gradient_names(map)

    @given(strategies.blocks(nested=True, order="any"))
    def test_blocks(self, block: TensorBlock) -> None:
        back = read_back(block)
        assert_identical(back, block)
        assert gradient_names(back) == gradient_names(block)

    @given(strategies.tensor_maps(nested=True, dtype=None), st.integers(1, 300))
    def test_lazy_maps_stay_lazy(self, map: TensorMap, target_bytes: int) -> None:
        lazy = map.chunk(target_bytes)
        with nothing_computed():
            back = og.from_xarray(lazy.to_datatree())
        assert all(block.chunks is not None for block in back)
        assert_identical(back, map)

    def test_gradients_alone(self) -> None:
        for path in (["positions"], ["positions", "cell"], ["strain"]):
            block = BLOCK
            for parameter in path:
                block = block.gradient(parameter)
            assert_identical(read_back(block), block)

    def test_labels_without_names(self) -> None:
        nothing = Labels.empty(())
        block = TensorBlock(np.empty((0, 2, 0)), nothing, [Labels.range("m", 2)], nothing)
        assert_identical(read_back(block), block)

    def test_a_map_without_blocks(self) -> None:
        map = TensorMap(Labels.empty(["center_type", "keys"]), [])
        map.set_info("unit", "eV")
        assert_identical(og.from_xarray(map.to_datatree()), map)

    def test_info_that_is_not_computed_yet_is_left_out(self) -> None:
        square = TensorMap(Labels.single(), [TensorBlock(np.eye(2), SAMPLES.slice_rows(0, 2), [], N)])
        solved = og.lstsq(square.chunk(), square.chunk(), rcond=1e-10)
        with nothing_computed():
            assert solved.to_datatree().attrs == {}

    def test_arrays_are_shared(self) -> None:
        back = read_back(BLOCK)
        assert np.shares_memory(DATA["values"].to_numpy(), BLOCK.values)
        assert np.shares_memory(back.values, BLOCK.values)
        assert np.shares_memory(back.gradient("strain").values, BLOCK.gradient("strain").values)


class TestWhatIsRead:
    def test_every_label_table_once(self) -> None:
        map = stored(TensorMap(Labels.range("key", 2), [BLOCK, a_block(samples=SAMPLES.slice_rows(0, 2))]))
        map.to_datatree()
        tables = [labels for metadata in map._blocks().metadata for labels in own_labels(metadata)]
        assert sorted(Source.reads) == sorted((own.digest, 0, len(own)) for own in tables)

    def test_they_are_not_kept(self) -> None:
        map = stored(TensorMap(Labels.range("key", 1), [BLOCK]))
        map.to_datatree()
        assert not any(m.samples.is_loaded for b in map._blocks().metadata for _, m in b.walk())


def own_labels(metadata: Any) -> list[Labels]:
    """The label tables of a block, without those that its gradients share with it."""
    found = [metadata.properties, *metadata.components]
    for path, node in metadata.walk():
        above = metadata.at(path[:-1]).components if path else node.components
        found += [node.samples, *node.components[: len(node.components) - len(above)]]
    return found


class TestDatasets:
    def test_dimensions_and_names(self) -> None:
        dimensions = {name: variable.dims for name, variable in DATA.data_vars.items()}
        assert dimensions == {
            "values": ("samples", "m", "properties"),
            "gradient.positions": ("positions.samples", "positions_1", "m", "properties"),
            "gradient.positions.cell": ("positions.cell.samples", "cell_2", "positions_1", "m", "properties"),
            "gradient.strain": ("strain.samples", "strain_1", "strain_2", "m", "properties"),
        }
        assert {"system", "atom", "n", "m", "positions.sample", "positions.cell.atom"} <= set(DATA.coords)

    def test_values_and_labels(self) -> None:
        for path, name in (((), "values"), (("positions", "cell"), "gradient.positions.cell")):
            block = BLOCK
            for parameter in path:
                block = block.gradient(parameter)
            np.testing.assert_array_equal(DATA[name].to_numpy(), block.values)
            prefix = "".join(f"{parameter}." for parameter in path)
            for column in block.samples.names:
                coordinate = DATA[name].coords[prefix + column]
                np.testing.assert_array_equal(coordinate.to_numpy(), block.samples[column])
                assert coordinate.dtype == np.int32

    def test_one_dimension_is_a_plain_index_and_several_are_a_multiindex(self) -> None:
        assert isinstance(DATA.indexes["samples"], pandas.MultiIndex)
        assert type(DATA.indexes["n"]) is pandas.Index
        assert "properties" not in DATA.coords

    def test_selection_by_coordinates(self) -> None:
        rows = SAMPLES["system"] == 0
        selected = DATA["values"].isel(samples=DATA["system"] == 0).sel(n=3, m=1)
        np.testing.assert_array_equal(selected.to_numpy(), BLOCK.values[rows, 1, 0])
        one = DATA["values"].sel(system=1, atom=4)
        np.testing.assert_array_equal(one.to_numpy(), BLOCK.values[2])
        rows = BLOCK.gradient("positions").samples["atom"] == 1
        selected = DATA["gradient.positions"].sel({"positions.atom": 1, "positions_1": 2})
        np.testing.assert_array_equal(selected.to_numpy(), BLOCK.gradient("positions").values[rows, 2])

    def test_selections_of_a_lazy_block_compute_only_these(self) -> None:
        data = BLOCK.chunk(1).to_xarray()
        with nothing_computed():
            selected = data["values"].sel(system=0).sel(n=1)
        np.testing.assert_array_equal(selected.to_numpy(), BLOCK.values[:2, :, 1])

    def test_gradients_share_a_component_with_the_same_labels_only(self) -> None:
        block = a_block({}, components=[])
        for parameter, component in (("a", XYZ), ("b", XYZ), ("c", Labels.range("xyz", 2))):
            rows = Labels("sample", [[0]])
            gradient = TensorBlock(np.ones((1, len(component), 2)), rows, [component], N)
            block.add_gradient(parameter, gradient)
        data = block.to_xarray()
        assert [data[f"gradient.{each}"].dims[1] for each in "abc"] == ["xyz", "xyz", "c.xyz"]
        assert_identical(og.from_xarray(data), block)

    def test_trees_have_a_node_for_each_block(self) -> None:
        keys = Labels(["center_type", "keys"], [[6, -1], [1, 0]])
        tree = TensorMap(keys, [BLOCK, BLOCK]).to_datatree()
        assert list(tree.children) == ["center_type=6,keys=-1", "center_type=1,keys=0"]
        node = tree["center_type=1,keys=0"]
        assert node.attrs == {"center_type": 1, "keys": 0}
        xarray.testing.assert_identical(node.to_dataset().drop_attrs(deep=False), DATA)
        np.testing.assert_array_equal(tree["center_type"], [6, 1])
        np.testing.assert_array_equal(tree["keys.keys"], [-1, 0])


NAMES = ("values", "samples", "properties", "keys", "components", "gradient", "n", "sample", "row")


class TestNames:
    """Labels and gradients may be called what something else in a Dataset is called."""

    def test_labels_on_two_axes(self) -> None:
        samples = Labels(["n", "m", "samples"], [[0, 1, 2]])
        properties = Labels(["n", "values"], [[0, 1]])
        block = a_block({}, samples=samples, properties=properties)
        data = block.to_xarray()
        assert data["values"].dims == ("samples", "m", "properties")
        found = {name for name in data.coords if name not in ("samples", "properties", "m")}
        assert found == {"n", "samples.m", "samples.samples", "properties.n", "properties.values"}
        assert_identical(og.from_xarray(data), block)

    @given(st.data())
    def test_any_label_may_be_called_anything(self, data: st.DataObject) -> None:
        some = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3)
        samples, middle, properties, parameters = (data.draw(some) for _ in range(4))
        block = random_block(
            np.random.default_rng(0),
            data.draw(strategies.labels(samples)),
            [Labels.range(name, 2) for name in middle],
            data.draw(strategies.labels(properties)),
            {name: Parameter((2,), {"n": Parameter()}) for name in parameters},
            targets=data.draw(strategies.labels([name for name in properties if name != "sample"] or ["n"])),
        )
        map = TensorMap(Labels(samples, [range(len(samples))]), [block])
        assert_identical(og.from_xarray(map.to_datatree()), map)

    @pytest.mark.parametrize(
        "parameter", ["a/b", "a.b", "", "samples", "gradient", "gradient.a", "row-of-a", "ε"]
    )
    def test_gradients_may_be_called_anything(self, parameter: str) -> None:
        nested = {"b": Parameter(), "samples": Parameter((2,))}
        block = a_block({"a": Parameter((3,), nested), parameter: Parameter((), nested)})
        map = TensorMap(Labels.single(), [block])
        back = og.from_xarray(map.to_datatree())
        assert_identical(back, map)
        assert gradient_names(back) == gradient_names(map)

    def test_names_are_enough_where_attributes_are_lost(self) -> None:
        data = DATA.copy()
        for variable in data.data_vars.values():
            variable.attrs = {}
        assert_identical(og.from_xarray(data), BLOCK)

    def test_coordinates_without_an_index(self) -> None:
        indexes = [name for name in DATA.dims if isinstance(DATA.indexes.get(name), pandas.MultiIndex)]
        assert "positions.cell.samples" in indexes
        assert_identical(og.from_xarray(DATA.reset_index(indexes)), BLOCK)

    def test_a_path_of_one_text_as_files_of_netcdf_have_it(self) -> None:
        data = DATA.copy()
        data["gradient.strain"].attrs["gradient"] = "strain"
        assert_identical(og.from_xarray(data), BLOCK)


class TestSelections:
    """Gradient rows follow the samples that were selected with xarray."""

    @given(strategies.blocks(nested=True), st.data(), st.booleans())
    def test_samples(self, block: TensorBlock, data: st.DataObject, lazy: bool) -> None:
        kept = data.draw(st.lists(st.booleans(), min_size=len(block), max_size=len(block)))
        rows = np.flatnonzero(kept)
        selection = Labels(block.samples.names, block.samples.values[rows])
        with nothing_computed():
            given = block.chunk(50) if lazy else block
            selected = og.from_xarray(given.to_xarray().isel(samples=rows))
        assert_identical(selected, og.slice_block(block, "samples", selection))

    def test_reordered_samples(self) -> None:
        order = [2, 0, 3, 1]
        back = og.from_xarray(DATA.isel(samples=order))
        np.testing.assert_array_equal(back.values, BLOCK.values[order])
        for parameter, gradient in BLOCK.gradients():
            samples = back.gradient(parameter).samples
            np.testing.assert_array_equal(np.take(order, samples["sample"]), gradient.samples["sample"])
            np.testing.assert_array_equal(back.gradient(parameter).values, gradient.values)

    def test_gradient_rows(self) -> None:
        rows = [3, 0]
        back = og.from_xarray(DATA.isel({"positions.samples": rows}))
        assert_identical(back.gradient("strain"), BLOCK.gradient("strain"))
        ours, before = back.gradient("positions"), BLOCK.gradient("positions")
        np.testing.assert_array_equal(ours.samples.values, before.samples.values[rows])
        cell, all_cells = ours.gradient("cell"), before.gradient("cell")
        kept = np.isin(all_cells.samples["sample"], rows)
        np.testing.assert_array_equal(cell.values, all_cells.values[kept])
        np.testing.assert_array_equal(
            np.take(rows, cell.samples["sample"]), all_cells.samples["sample"][kept]
        )

    def test_a_level_that_is_gone_takes_its_dimension_along(self) -> None:
        selected = og.from_xarray(DATA.sel(system=0))
        assert selected.samples == Labels("atom", [[4], [5]])
        np.testing.assert_array_equal(selected.values, BLOCK.values[:2])
        sliced = og.slice_block(BLOCK, "samples", Labels("system", [[0]]))
        assert_identical(selected.gradient("positions"), sliced.gradient("positions"))

    def test_properties_and_components(self) -> None:
        sliced = og.slice_block(BLOCK, "properties", Labels("n", [[1]]))
        assert_identical(og.from_xarray(DATA.sel(n=[1])), sliced)
        back = og.from_xarray(DATA.isel(m=[1]))
        np.testing.assert_array_equal(
            back.gradient("strain").values, BLOCK.gradient("strain").values[:, :, :, [1]]
        )

    def test_dimensions_in_another_order(self) -> None:
        order = sorted(DATA.dims, key=lambda name: (name.endswith("samples"), name != "properties"))
        assert order[0] == "properties"
        assert_identical(og.from_xarray(DATA.transpose(*order)), BLOCK)

    def test_without_numbers_samples_are_where_they_are(self) -> None:
        data = DATA.drop_vars(["row-of-samples", "row-of-positions.samples"])
        assert_identical(og.from_xarray(data), BLOCK)
        with pytest.raises(ValidationError, match=r"sample=1, but the values have 1 samples"):
            og.from_xarray(data.isel(samples=[0]))

    def test_numbers_that_are_not_along_the_samples_are_none(self) -> None:
        data = DATA.assign_coords({"row-of-samples": (("samples", "m"), np.zeros((4, 2), int))})
        assert_identical(og.from_xarray(data), BLOCK)

    def test_variables_in_another_order(self) -> None:
        names = ["gradient.positions.cell", "gradient.strain", "gradient.positions", "values"]
        assert_identical(og.from_xarray(DATA[names]), BLOCK)

    def test_samples_of_which_most_have_no_gradient_rows(self) -> None:
        """Dask takes no rows by a list if an array has more chunks than rows."""
        block = a_block({}, components=[])
        rows = Labels("sample", [[1], [3]])
        block.add_gradient("cell", TensorBlock(np.arange(4.0).reshape(2, 2), rows, [], N))
        data = block.chunk(1).to_xarray().isel(properties=slice(1, 2)).isel(samples=[0, 3])
        assert data["gradient.cell"].chunks[0] == (0, 1, 0, 1)
        gradient = og.from_xarray(data).gradient("cell").compute()
        assert gradient.samples == Labels("sample", [[1]])
        np.testing.assert_array_equal(gradient.values, [[3]])

    def test_linear_functions(self) -> None:
        assert_identical(og.from_xarray(2 * DATA), 2 * BLOCK)

    def test_a_node_of_a_tree_is_a_block(self) -> None:
        tree = TensorMap(Labels.range("key", 2), [BLOCK, BLOCK]).to_datatree()
        assert_identical(og.from_xarray(tree["key=1"]), BLOCK)


class TestArraysOfUsers:
    def test_dimensions_by_order(self) -> None:
        values = np.arange(24.0).reshape(2, 3, 4)
        block = og.from_xarray(xarray.DataArray(values, {"atom": [7, 9]}, ("atom", "xyz", "n")))
        assert_identical(block, TensorBlock(values, Labels("atom", [[7], [9]]), [XYZ], Labels.range("n", 4)))

    def test_dimensions_by_name(self) -> None:
        values = np.arange(24.0).reshape(2, 3, 4)
        block = og.from_xarray(xarray.DataArray(values, dims=("properties", "samples", "xyz")))
        assert block.shape == (3, 4, 2)
        assert [own.names for own in (block.samples, *block.components, block.properties)] == [
            ["samples"],
            ["xyz"],
            ["properties"],
        ]
        np.testing.assert_array_equal(block.values, values.transpose(1, 2, 0))
        only = og.from_xarray(xarray.DataArray(values, dims=("properties", "a", "b")))
        assert (only.samples.names, only.shape) == (["a"], (3, 4, 2))

    def test_every_coordinate_along_a_dimension_is_a_label(self) -> None:
        coordinates = {"system": ("row", [0, 0]), "atom": ("row", np.array([1, 2], np.int8)), "time": 0.5}
        block = og.from_xarray(xarray.DataArray(np.ones((2, 1)), coordinates, ("row", "n")))
        assert block.samples == Labels(["system", "atom"], [[0, 1], [0, 2]])

    def test_levels_come_before_other_coordinates(self) -> None:
        kinds = xarray.DataArray(BLOCK.values, {"kind": ("samples", [5, 6, 7, 8])}, DATA["values"].dims)
        data = kinds.assign_coords(DATA["samples"].coords)
        assert next(iter(data.coords)) == "kind"
        assert og.from_xarray(data).samples == SAMPLES.append("kind", [5, 6, 7, 8])

    def test_dask_arrays_chunked_along_every_axis(self) -> None:
        values = np.arange(24.0).reshape(4, 3, 2)
        array = xarray.DataArray(values, dims=("atom", "xyz", "n")).chunk({"atom": 3, "xyz": 2, "n": 1})
        with nothing_computed():
            block = og.from_xarray(array)
        assert block.chunks == (3, 1)
        np.testing.assert_array_equal(block.compute().values, values)

    def test_a_tree_whose_root_has_coordinates_of_all_nodes(self) -> None:
        nodes = {
            f"type={number}": xarray.DataTree(
                xarray.Dataset({"values": (("atom", "n"), np.ones((number, 2)))})
            )
            for number in (3, 1)
        }
        root = xarray.Dataset(coords={"n": [5, 6]}, attrs={"unit": "eV"})
        map = og.from_xarray(xarray.DataTree(root, children=nodes))
        assert map.keys == Labels("type", [[3], [1]])
        assert map.info() == {"unit": "eV"}
        assert [block.shape for block in map] == [(3, 2), (1, 2)]
        assert map[1].properties == Labels("n", [[5], [6]])


def array(**coordinates: Any) -> Any:
    return xarray.DataArray(np.ones((2, 2)), coordinates, ("atom", "n"))


def tree_of(*names: str, **attributes: Any) -> Any:
    nodes = {name: xarray.DataTree(DATA) for name in names}
    return xarray.DataTree(xarray.Dataset(attrs=attributes), children=nodes)


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an array": (
        lambda: np.ones((2, 2)),
        TypeError,
        "from_xarray: a DataArray, a Dataset or a DataTree of xarray is needed, got ndarray",
    ),
    "a table": (lambda: SAMPLES.to_pandas(), TypeError, "is needed, got a pandas DataFrame"),
    "a coordinate of floats": (
        lambda: array(atom=[0.0, 1.0]),
        TypeError,
        "from_xarray: the coordinate 'atom' has dtype float64, but labels are integers; convert it to "
        "integers, or leave it out with .drop_vars('atom')",
    ),
    "a coordinate of texts": (lambda: array(n=["s", "p"]), TypeError, "the coordinate 'n' has dtype "),
    "a coordinate along two dimensions": (
        lambda: array(height=(("atom", "n"), [[1, 2], [3, 4]])),
        ValidationError,
        "from_xarray: the coordinate 'height' is along ('atom', 'n'), but labels are along one dimension; "
        "leave it out with .drop_vars('height')",
    ),
    "one label twice": (
        lambda: array(**{"a.x": ("n", [1, 2]), "x": ("n", [1, 2])}),
        ValidationError,
        "from_xarray: the coordinate 'x' would be a second label 'x' of 'n'; rename it, or leave it out",
    ),
    "an entry twice": (lambda: array(n=[1, 1]), ValidationError, "Labels: rows"),
    "one dimension": (
        lambda: array().isel(n=0),
        ValidationError,
        "from_xarray: the array needs at least two dimensions, samples and properties, found ['atom']; add "
        "one with .expand_dims(…)",
    ),
    "one dimension of a Dataset": (
        lambda: DATA[["values"]].isel(samples=0, m=0),
        ValidationError,
        "from_xarray: 'values' of the Dataset needs at least two dimensions",
    ),
    "no values": (
        lambda: DATA.rename({"values": "energy"}),
        ValidationError,
        "from_xarray: the Dataset has no variable 'values', found ['energy', 'gradient.positions', "
        "'gradient.positions.cell', 'gradient.strain']; rename one to 'values', or convert one alone",
    ),
    "another variable": (
        lambda: DATA.assign(norm=0),
        ValidationError,
        "from_xarray: the Dataset has a variable 'norm', neither 'values' nor a gradient, 'gradient.…'; "
        "leave it out with dataset.drop_vars('norm')",
    ),
    "a gradient without its parent": (
        lambda: DATA.drop_vars("gradient.positions"),
        ValidationError,
        "from_xarray: 'gradient.positions.cell' of the Dataset is a gradient of a gradient that is not "
        "there; keep both, or leave out both",
    ),
    "a gradient with other dimensions": (
        lambda: DATA.assign({"gradient.strain": DATA["gradient.strain"].variable.sum("m")}),
        ValidationError,
        "from_xarray: 'gradient.strain' of the Dataset has dimensions ('strain.samples', 'strain_1', "
        "'strain_2', 'properties'), but needs rows of its own and ('m', 'properties'), which its parent "
        "has; select and reduce both alike",
    ),
    "a gradient without rows": (
        lambda: DATA.assign({"gradient.strain": DATA["values"][0]}),
        ValidationError,
        "but needs rows of its own and",
    ),
    "samples twice": (
        lambda: DATA.isel(samples=[0, 0]).drop_vars(["samples", "system", "atom"]),
        ValidationError,
        "from_xarray: samples of the Dataset are there more than once, and gradient rows belong to one; "
        "convert before concatenating, and use outgrad.join",
    ),
    "a gradient without samples": (
        lambda: DATA.drop_vars(["strain.samples", *strain_levels()]),
        ValidationError,
        "add_gradient('strain'): the first dimension of the gradient's samples must be 'sample'",
    ),
    "a gradient without samples and rows": (
        lambda: DATA.isel({"strain.samples": []}).drop_vars(["strain.samples", *strain_levels()]),
        ValidationError,
        "add_gradient('strain'): the first dimension of the gradient's samples must be 'sample'",
    ),
    "a node that is not a key": (
        lambda: tree_of("carbon"),
        ValidationError,
        "from_xarray: the node 'carbon' is not called after its key; name all nodes alike, such as "
        "'center_type=6,neighbor_type=1'",
    ),
    "keys that differ in names": (
        lambda: tree_of("a=1,b=1", "a=2"),
        ValidationError,
        "from_xarray: the node 'a=2' is not called after its key",
    ),
    "one key twice": (lambda: tree_of("a=1", "a=01"), ValidationError, "Labels: rows"),
    "a node below a block": (
        lambda: xarray.DataTree(children={"a=1": xarray.DataTree(DATA, children={"b": tree_of()})}),
        ValidationError,
        "from_xarray: the node 'a=1' is a block but has nodes below it, ['b']; a tree has one node for each "
        "block",
    ),
    "a node below a block alone": (
        lambda: xarray.DataTree(DATA, children={"b": tree_of()}),
        ValidationError,
        "from_xarray: the root is a block but has nodes below it, ['b']",
    ),
    "a node without values": (
        lambda: xarray.DataTree(children={"a=1": tree_of()}),
        ValidationError,
        "from_xarray: the node 'a=1' has no variable 'values', found []",
    ),
    "an attribute that is not a text": (
        lambda: tree_of("a=1", temperature=300),
        TypeError,
        "from_xarray: the attribute 'temperature' of the tree is 300, but info are texts; convert it with "
        "str(…), or delete it",
    ),
}


def strain_levels() -> list[str]:
    return [name for name in map(str, DATA.coords) if name.startswith("strain.") and name != "strain.samples"]


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    make, error, text = BAD[case]
    with pytest.raises(error, match=re.escape(text)):
        og.from_xarray(make())


def test_operations_say_how_a_dataset_is_converted() -> None:
    text = r"add: A must be a TensorMap or a TensorBlock, got a xarray Dataset; use og\.from_xarray\(…\), or"
    with pytest.raises(TypeError, match=text):
        og.add(DATA, 1)


def test_without_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    map = TensorMap(Labels.single(), [BLOCK])
    monkeypatch.setitem(sys.modules, "xarray", None)
    calls: dict[str, Callable[[], Any]] = {
        r"TensorBlock\.to_xarray": BLOCK.to_xarray,
        r"TensorMap\.to_datatree": map.to_datatree,
        "from_xarray": lambda: og.from_xarray(DATA),
    }
    for call, run in calls.items():
        text = f"{call}: xarray is not installed; install it with: pip install 'outgrad\\[xarray\\]'"
        with pytest.raises(ImportError, match=text):
            run()
