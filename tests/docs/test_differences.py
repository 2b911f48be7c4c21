"""Every statement of docs/differences.md, on metatensor and on Outgrad: they differ, as the page says."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import dask.array
import numpy as np
import pytest

import outgrad
from tests.support import ROOT

metatensor = pytest.importorskip("metatensor")

PAGE = ROOT / "docs" / "differences.md"
Library = ModuleType


class Case(NamedTuple):
    """The bold words of the page, what to do, and the result or error of each library."""

    statement: str
    run: Callable[[Library], Any]
    theirs: Any
    ours: Any


def values_block(lib: Library, values: Any = ((0.0, 2.0), (3.0, 4.0))) -> Any:
    array = np.array(values)
    samples, properties = lib.Labels.range("system", len(array)), lib.Labels.range("n", array.shape[1])
    return lib.TensorBlock(array, samples, [], properties)


def kept(lib: Library, array: Any) -> str:
    """The class of the values of a block that is made of ``array``."""
    labels = lib.Labels.range("system", 2)
    return type(lib.TensorBlock(array, labels, [], labels).values).__name__


def gradient_block(lib: Library, rows: Any = ((0, 0), (1, 0)), values: Any = 1.0) -> Any:
    table = np.array(rows)
    array = np.broadcast_to(np.array(values), (len(table), 2)).copy()
    samples = lib.Labels(["sample", "atom"], table)
    return lib.TensorBlock(array, samples, [], lib.Labels.range("n", 2))


def block_with(lib: Library, *parameters: str, **options: Any) -> Any:
    block = values_block(lib)
    for parameter in parameters or ("positions",):
        block.add_gradient(parameter, gradient_block(lib, **options))
    return block


def nested_block(lib: Library, values: float = 1.0) -> Any:
    gradient = gradient_block(lib)
    gradient.add_gradient("cell", gradient_block(lib, values=values))
    block = values_block(lib)
    block.add_gradient("positions", gradient)
    return block


def map_of(lib: Library, *blocks: Any) -> Any:
    return lib.TensorMap(lib.Labels.range("center_type", len(blocks)), list(blocks))


def rho(lib: Library, **options: Any) -> Any:
    return map_of(lib, block_with(lib, **options))


def reused(lib: Library) -> int:
    block = block_with(lib)
    return len(map_of(lib, block)) + len(map_of(lib, block))


def view_extended(lib: Library) -> list[str]:
    own = rho(lib).block(0)
    own.add_gradient("cell", gradient_block(lib))
    return own.gradients_list()


def dask_values(lib: Library) -> str:
    array = dask.array.ones((2, 2))
    samples, properties = lib.Labels.range("system", 2), lib.Labels.range("n", 2)
    return type(lib.TensorBlock(array, samples, [], properties).values.compute()).__name__


def printed(lib: Library) -> str:
    return str(rho(lib)).splitlines()[-1]


def sum_of_different_rows(lib: Library) -> Any:
    total = lib.add(rho(lib), rho(lib, rows=((0, 0),)))
    return total.block(0).gradient("positions").values.tolist()


def nested_product(lib: Library) -> Any:
    product = lib.multiply(map_of(lib, nested_block(lib)), 3)
    return product.block(0).gradient("positions").gradient("cell").values.tolist()


def nested_comparison(lib: Library) -> bool:
    return bool(lib.equal(map_of(lib, nested_block(lib, 1.0)), map_of(lib, nested_block(lib, 2.0))))


def power_zero(lib: Library) -> bool:
    with np.errstate(all="ignore"):
        powered = lib.pow(rho(lib), 0).block(0)
    return bool(np.isnan(powered.gradient("positions").values[0, 0]))


def power_by_a_map(lib: Library) -> Any:
    return lib.pow(map_of(lib, values_block(lib)), map_of(lib, values_block(lib))).block(0).values.tolist()


def complex_absolute(lib: Library) -> Any:
    block = values_block(lib, [[3 + 4j, 1], [1, 1]])
    block.add_gradient("positions", gradient_block(lib, rows=((0, 0),), values=1j))
    found = lib.abs(map_of(lib, block)).block(0)
    return found.dtype.kind, np.round(found.gradient("positions").values[0, 0], 12).item()


def sparse_mean(lib: Library) -> Any:
    tensor = rho(lib, rows=((0, 0),), values=3.0)
    return lib.mean_over_samples(tensor, "system").block(0).gradient("positions").values.tolist()


def narrow_mean(lib: Library) -> str:
    tensor = rho(lib).to(np.float32)
    return str(lib.mean_over_samples(tensor, "system").block(0).gradient("positions").dtype)


def mean_with_components(lib: Library) -> Any:
    properties = lib.Labels(["n", "l"], np.array([[0, 0], [0, 1], [1, 0]]))
    block = lib.TensorBlock(
        np.ones((1, 2, 3)), lib.Labels.range("system", 1), [lib.Labels.range("m", 2)], properties
    )
    return lib.mean_over_properties_block(block, "l").values[0].tolist()


def empty_sum(lib: Library) -> Any:
    properties = lib.Labels.range("n", 2)
    blocks = [
        lib.TensorBlock(np.zeros((count, 2)), lib.Labels.range("system", count), [], properties)
        for count in (0, 1)
    ]
    both = lib.TensorMap(lib.Labels.range("key", 2), blocks)
    return list(lib.sum_over_samples(both, "system").block(0).samples.names)


def number_on_the_left(lib: Library) -> Any:
    return (1 - rho(lib) * np.float32(2)).block(0).values[0].tolist()


def block_sum(lib: Library) -> Any:
    return (values_block(lib) + values_block(lib)).values[0].tolist()


def kept_info(lib: Library) -> str | None:
    tensor = rho(lib)
    tensor.set_info("unit", "eV")
    info: str | None = lib.multiply(tensor, 2).get_info("unit")
    return info


def sliced(axis: str, selection: Any) -> Callable[[Library], Any]:
    def run(lib: Library) -> Any:
        block = lib.slice(rho(lib), axis, selection).block(0)
        return getattr(block, axis).values[:, 0].tolist()

    return run


def rows_of_slice(lib: Library) -> Any:
    gradient = lib.slice(rho(lib), "samples", [1, 0]).block(0).gradient("positions")
    return gradient.samples.values[:, 0].tolist()


def parts_are_views(lib: Library) -> bool:
    tensor = rho(lib)
    return bool(
        np.shares_memory(lib.split(tensor, "samples", [[1]])[0].block(0).values, tensor.block(0).values)
    )


def split_by_system(lib: Library) -> Any:
    return {system: len(part.block(0)) for system, part in lib.split_by(rho(lib), "system").items()}


def sorted_without_rows(lib: Library) -> Any:
    return lib.sort(rho(lib, rows=np.zeros((0, 2), np.int32))).block(0).gradient("positions").shape


def axes_after_sort(lib: Library) -> list[str]:
    axes = ["keys", "samples"]
    lib.sort(rho(lib), axes)
    return axes


def rows_descending(lib: Library) -> Any:
    gradient = lib.sort(rho(lib), "samples", descending=True).block(0).gradient("positions")
    return gradient.samples.values[:, 0].tolist()


def removed(lib: Library) -> list[str]:
    tensor = map_of(lib, block_with(lib, "positions", "pos"))
    return lib.remove_gradients(tensor, "positions").block(0).gradients_list()


def caller_writable(lib: Library) -> bool:
    table = np.zeros((1, 1), dtype=np.int32)
    lib.Labels(["system"], table)
    return table.flags.writeable


def appended(lib: Library) -> list[str]:
    return list(lib.Labels(["a", "b", "c"], np.array([[1, 2, 3]])).append("d", np.array([4])).names)


def changed_names(lib: Library) -> list[str]:
    labels = lib.Labels.range("system", 2)
    labels.names.append("x")
    return list(labels.names)


def other_names(lib: Library) -> Any:
    return lib.Labels.range("system", 2).position(lib.Labels.range("atom", 2)[1])


def text_of_error(lib: Library) -> str:
    with pytest.raises(lib.MetatensorError) as caught:
        lib.Labels(["system"], np.array([[0], [0]]))
    return str(caught.value)


def unsigned_index(lib: Library) -> int:
    return int(lib.Labels.range("system", 2)[np.uint8(1)]["system"])


def saved_twice(lib: Library) -> None:
    lib.save(f"{lib.__name__}-twice.mts", rho(lib))
    lib.save(f"{lib.__name__}-twice.mts", rho(lib))


def saved_text(lib: Library) -> bool:
    lib.save("rho.txt", rho(lib))
    return Path("rho.txt.mts").exists()


def saved_variable(lib: Library) -> bool:
    path = f"$RUN_{lib.__name__}.mts"
    lib.save(path, rho(lib))
    return Path(path).exists()


def loaded_block(lib: Library) -> str:
    lib.save(f"{lib.__name__}-block.mts", block_with(lib))
    return type(lib.load(f"{lib.__name__}-block.mts")).__name__


def slash(lib: Library) -> list[str]:
    path = f"{lib.__name__}-slash" + (".zarr" if lib is outgrad else ".mts")
    lib.save(path, map_of(lib, block_with(lib, "cell/strain")))
    return lib.load(path).block(0).gradients_list()


def old_name(name: str) -> str:
    """The name that a member of block 0 had in a file of equistore."""
    if "/gradients/" in name:
        return name.replace("/values.npy", "/data.npy")
    return name.replace("blocks/0/values", "blocks/0/data").replace("blocks/0/", "blocks/0/values/")


def equistore(lib: Library) -> int:
    outgrad.save("new.mts", rho(outgrad), overwrite=True)
    with zipfile.ZipFile("new.mts") as new, zipfile.ZipFile("old.mts", "w") as old:
        for name in new.namelist():
            old.writestr(old_name(name), new.read(name))
    return len(lib.load("old.mts").block(0).values)


def unused(lib: Library) -> list[str]:
    outgrad.save("unused.mts", rho(outgrad), overwrite=True)
    with zipfile.ZipFile("unused.mts", "a") as archive:
        archive.writestr("blocks/9/values.npy", archive.read("blocks/0/values.npy"))
        archive.writestr("blocks/9/samples.npy", archive.read("blocks/0/samples.npy"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lib.load("unused.mts")
    return [warning.category.__name__ for warning in caught]


def moved_component(lib: Library) -> Any:
    names = ("a", "b", "c")
    components = [lib.Labels.range(name, 2) for name in names]
    values = np.arange(8.0).reshape(1, 2, 2, 2, 1)
    block = lib.TensorBlock(values, lib.Labels.range("s", 1), components, lib.Labels.range("p", 1))
    return map_of(lib, block).components_to_properties("a").block(0).values[0, 0].tolist()


def no_component(lib: Library) -> Any:
    return rho(lib).components_to_properties([]).block(0).shape


def merged_components(lib: Library) -> list[int]:
    blocks = []
    for direction in (0, 1):
        xyz = lib.Labels(["xyz"], np.array([[direction]]))
        rows, properties = lib.Labels(["sample"], np.array([[0]])), lib.Labels.range("n", 2)
        blocks.append(values_block(lib))
        blocks[-1].add_gradient("positions", lib.TensorBlock(np.ones((1, 1, 2)), rows, [xyz], properties))
    merged = map_of(lib, *blocks).keys_to_samples("center_type").block(0)
    return merged.gradient("positions").components[0].values[:, 0].tolist()  # type: ignore[no-any-return]


def filled_integers(lib: Library) -> int:
    blocks = [values_block(lib, [[1] * columns]) for columns in (1, 2)]
    merged = map_of(lib, *blocks).keys_to_samples("center_type", fill_value=2.5).block(0)
    return int(merged.values[0, 1])


def moving_function(lib: Library) -> list[str]:
    names: list[str] = lib.keys_to_samples(rho(lib), "center_type").sample_names
    return names


def appended_by_block(lib: Library) -> Any:
    pair = map_of(lib, values_block(lib), values_block(lib, [[1.0, 2.0]]))
    column = [np.array([5, 6]), np.array([7])]
    return lib.append_dimension(pair, "samples", "atom", column).block(1).samples["atom"].tolist()


def permuted_components(lib: Library) -> Any:
    tensor = map_of(lib, lib.block_from_array(np.ones((1, 2, 3, 4))))
    return tuple(lib.permute_dimensions(tensor, "components", [1, 0]).block(0).values.shape)


def appended_to_nested(lib: Library) -> list[str]:
    changed = lib.append_dimension(map_of(lib, nested_block(lib)), "samples", "atom", 0)
    return changed.block(0).gradient("positions").gradients_list()


def renamed_sample(lib: Library) -> list[str]:
    block = lib.block_from_array(np.ones((2, 2)), property_names=["n"])
    block.add_gradient("positions", gradient_block(lib))
    changed = lib.rename_dimension(map_of(lib, block), "samples", "sample", "atom_")
    return list(changed.block(0).gradient("positions").samples.names)


def renamed_component(lib: Library) -> int:
    return len(lib.rename_dimension(rho(lib), "components", "m", "mu"))


def random_values(lib: Library) -> bool:
    np.random.seed(0)
    expected = np.random.rand(2, 2)
    np.random.seed(0)
    return bool((lib.random_uniform_like(rho(lib), []).block(0).values == expected).all())


def warnings_of_zeros(lib: Library) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lib.zeros_like(rho(lib), requires_grad=True)
    return len(caught)


def nothing_to_list(lib: Library) -> int:
    return len(lib.unique_metadata(lib.TensorMap(lib.Labels.empty(["a"]), []), "samples", "system"))


def sum_without_checks(lib: Library) -> Any:
    block = values_block(lib)
    shifted = lib.TensorBlock(
        block.values, lib.Labels(["system"], np.array([[5], [6]])), [], block.properties
    )
    with lib.unsafe_disable_checks():
        return lib.add(map_of(lib, block), map_of(lib, shifted)).block(0).samples["system"].tolist()


def dot_on_the_right(lib: Library) -> Any:
    return lib.dot(rho(lib), rho(lib)).block(0).gradient("positions").values.tolist()


def solved_with_gradients(lib: Library) -> Any:
    return np.round(np.abs(lib.solve(rho(lib), rho(lib)).block(0).values), 12).tolist()


def solved_with_other_rows(lib: Library) -> Any:
    return lib.lstsq(rho(lib), rho(lib, rows=((0, 0),)), 1e-9).block(0).shape


def nested_equations(lib: Library) -> bool:
    """Whether equations below the gradients matter: they contradict the others."""
    maps = [map_of(lib, nested_block(lib, values)) for values in (1.0, 100.0)]
    weights = lib.lstsq(maps[0], maps[1], 1e-9).block(0).values
    return not np.allclose(weights, np.eye(2))


def singular(lib: Library) -> int:
    tensor = map_of(lib, values_block(lib, ((0.1, 0.7), (0.3, 2.1))))
    return len(lib.solve(tensor, tensor).block(0).values)


def warned(lib: Library) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lib.lstsq(rho(lib), rho(lib), None)
    return len(caught)


def solved_with_rcond(lib: Library) -> tuple[int, ...]:
    return tuple(lib.lstsq(rho(lib), rho(lib), 1).block(0).values.shape)


def rank(lib: Library) -> Any:
    text = lib.lstsq(rho(lib), rho(lib), 1e-9).get_info("lstsq")
    return text and json.loads(text)[0]["rank"]


def in_another_order(lib: Library) -> Any:
    values, n = np.array([[4.0], [1.0]]), lib.Labels.range("n", 1)
    first, second = (
        map_of(lib, lib.TensorBlock(values, lib.Labels(["system"], np.array(rows)), [], n))
        for rows in ([[0], [1]], [[1], [0]])
    )
    return lib.add(first, second).block(0).values[:, 0].tolist()


def all_samples(lib: Library) -> Any:
    values, n = np.array([[4.0], [1.0]]), lib.Labels.range("n", 1)
    first, second = (
        map_of(lib, lib.TensorBlock(values, lib.Labels(["system"], np.array(rows)), [], n))
        for rows in ([[0], [1]], [[1], [2]])
    )
    return lib.add(first, second, align="outer").block(0).values[:, 0].tolist()


def joined_keys(lib: Library) -> list[list[int]]:
    found: list[list[int]] = lib.join([rho(lib), rho(lib)], "keys", add_dimension="part").keys.values.tolist()
    return found


def joined_samples(lib: Library) -> Any:
    tables = [(["a", "b"], [[0, 7]]), (["b", "a"], [[8, 1]])]
    labels = [lib.Labels(names, np.array(rows)) for names, rows in tables]
    blocks = [lib.TensorBlock(np.ones((1, 2)), own, [], lib.Labels.range("n", 2)) for own in labels]
    return lib.join([map_of(lib, block) for block in blocks], "samples").block(0).samples.values.tolist()


def joined_dtype(lib: Library) -> str:
    narrow = map_of(lib, values_block(lib).to(dtype=np.float32))
    return str(lib.join([narrow, rho_plain(lib)], "samples", add_dimension="part").block(0).dtype)


def rho_plain(lib: Library) -> Any:
    return map_of(lib, values_block(lib))


def joined_gradient_names(lib: Library) -> list[str]:
    other = values_block(lib)
    rows, values = lib.Labels(["sample", "cell"], np.array([[0, 0]])), np.ones((1, 2))
    other.add_gradient("positions", lib.TensorBlock(values, rows, [], lib.Labels.range("n", 2)))
    joined = lib.join([rho(lib), map_of(lib, other)], "samples", add_dimension="part")
    return list(joined.block(0).gradient("positions").samples.names)


def joined_rows(lib: Library) -> Any:
    maps = [rho(lib, rows=rows) for rows in (((1, 0),), ((0, 0),))]
    joined = lib.join(maps, "properties", add_dimension="part")
    return joined.block(0).gradient("positions").samples.values[:, 0].tolist()


def returned_as_it_is(lib: Library) -> bool:
    tensor = rho(lib)
    return lib.join([tensor], "samples") is tensor


def joined_alone(lib: Library) -> list[str]:
    return list(lib.join([rho(lib)], "samples", add_dimension="part").block(0).samples.names)


METATENSOR_ERROR = metatensor.MetatensorError
THEIR_ABSOLUTE, OUR_ABSOLUTE = ("c", -0.8 + 0.6j), ("f", 0.8)
CASES = [
    Case("Blocks are not consumed.", reused, ValueError, 2),
    Case(
        "A block taken from a map is independent of it.",
        view_extended,
        ValueError,
        ["positions", "cell"],
    ),
    Case("Values can be Dask arrays", dask_values, ValueError, "ndarray"),
    Case(
        "Values must be numbers.",
        lambda lib: len(values_block(lib, [["C", "O"]])),
        1,
        outgrad.ValidationError,
    ),
    Case(
        "Masked arrays and arrays with units are refused.",
        lambda lib: kept(lib, np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])),
        "MaskedArray",
        outgrad.ValidationError,
    ),
    Case(
        "Values become plain arrays in native byte order.",
        lambda lib: kept(lib, np.array([[1, 2], [3, 4]]).view(np.recarray)),
        "recarray",
        "ndarray",
    ),
    Case(
        "Blocks can be selected by NumPy integers and by negative numbers.",
        lambda lib: rho(lib).block(np.int64(0)).shape,
        TypeError,
        (2, 2),
    ),
    Case("`==` with an object of another type is False.", lambda lib: rho(lib) == 3, AttributeError, False),
    Case(
        "Maps and blocks print as in metatensor's tutorials",
        printed,
        "       0   => TensorBlock with shape (2, 2)",
        "           0",
    ),
    Case(
        "Operands can have different gradient rows.",
        sum_of_different_rows,
        metatensor.operations.NotEqualError,
        [[2.0, 2.0], [1.0, 1.0]],
    ),
    Case(
        "Operations propagate gradients of gradients.",
        nested_product,
        NotImplementedError,
        [[3.0, 3.0], [3.0, 3.0]],
    ),
    Case("Comparisons include gradients of gradients.", nested_comparison, True, False),
    Case("The gradient of the power 0 is zero, even at 0.", power_zero, True, False),
    Case("The absolute value of complex numbers is real", complex_absolute, THEIR_ABSOLUTE, OUR_ABSOLUTE),
    Case(
        "Numbers can be NumPy scalars, can be complex, and can be the left operand.",
        number_on_the_left,
        TypeError,
        [1.0, -3.0],
    ),
    Case("Operators and functions accept blocks as well as maps.", block_sum, TypeError, [0.0, 4.0]),
    Case("`info` is kept by operations.", kept_info, None, "eV"),
    Case(
        "`slice` orders properties like the selection",
        sliced("properties", [1, 0]),
        [0, 1],
        [1, 0],
    ),
    Case("`slice` refuses repeated positions", sliced("samples", [1, 1]), [1, 1], outgrad.ValidationError),
    Case("`slice` accepts boolean masks", sliced("samples", np.array([False, True])), ValueError, [1]),
    Case(
        "The gradient of a mean is divided by the number of samples.",
        sparse_mean,
        [[3.0, 3.0]],
        [[1.5, 1.5]],
    ),
    Case(
        "Means, variances and standard deviations keep float32.",
        narrow_mean,
        METATENSOR_ERROR,
        "float32",
    ),
    Case(
        "Means, variances and standard deviations over properties support components.",
        mean_with_components,
        [[1.0, 0.5], [2.0, 1.0]],
        [[1.0, 1.0], [1.0, 1.0]],
    ),
    Case(
        "Blocks without samples or properties are reduced and sorted like any other block.",
        empty_sum,
        METATENSOR_ERROR,
        ["_"],
    ),
    Case(
        "Reductions accept the dimensions to keep",
        lambda lib: lib.sum_over_samples(rho(lib), by=[]).block(0).values.tolist(),
        TypeError,
        [[3.0, 6.0]],
    ),
    Case("`slice` orders gradient rows like their samples", rows_of_slice, [1, 0], [0, 1]),
    Case("`split` returns views where it can.", parts_are_views, False, True),
    Case(
        "`split_by` splits a map by the values of a dimension",
        split_by_system,
        AttributeError,
        {0: 1, 1: 1},
    ),
    Case(
        "`sort` accepts gradients without rows and maps without blocks.",
        sorted_without_rows,
        IndexError,
        (0, 2),
    ),
    Case("`sort` does not modify the list of axes", axes_after_sort, ["samples"], ["keys", "samples"]),
    Case(
        "`sort` keeps gradient rows in the order of their samples when descending.",
        rows_descending,
        [1, 0],
        [0, 1],
    ),
    Case("A string is a single name.", removed, [], ["pos"]),
    Case(
        "The functions for single blocks check names.",
        lambda lib: len(lib.sum_over_samples_block(values_block(lib), "atom")),
        2,
        outgrad.ValidationError,
    ),
    Case(
        "`components_to_properties` supports any number of components.",
        moved_component,
        [[0.0, 4.0], [2.0, 6.0]],
        [[0.0, 4.0], [1.0, 5.0]],
    ),
    Case("`components_to_properties` without names changes nothing.", no_component, METATENSOR_ERROR, (2, 2)),
    Case(
        "Blocks with different components of gradients cannot be merged.",
        merged_components,
        [0],
        outgrad.ValidationError,
    ),
    Case("A fill value must fit the dtype.", filled_integers, 2, outgrad.ValidationError),
    Case(
        "The methods that move keys and components also exist as functions",
        moving_function,
        AttributeError,
        ["system", "center_type"],
    ),
    Case("The values of a new dimension can differ between blocks.", appended_by_block, Exception, [7]),
    Case("`permute_dimensions` permutes components", permuted_components, (1, 2, 3, 4), (1, 3, 2, 4)),
    Case("Changing dimensions keeps gradients of gradients.", appended_to_nested, [], ["cell"]),
    Case(
        "`rename_dimension` does not rename the dimension `sample` of gradients",
        renamed_sample,
        METATENSOR_ERROR,
        ["sample", "atom"],
    ),
    Case(
        "Renaming a component that does not exist is an error.", renamed_component, 1, outgrad.ValidationError
    ),
    Case("Random numbers do not depend on chunks.", random_values, True, False),
    Case("`requires_grad=True` warns wherever it has no effect.", warnings_of_zeros, 0, 1),
    Case(
        "`unique_metadata` of a map without blocks returns labels without entries.",
        nothing_to_list,
        IndexError,
        0,
    ),
    Case(
        "`unsafe_disable_checks` turns off the comparison of labels.",
        sum_without_checks,
        metatensor.operations.NotEqualError,
        [0, 1],
    ),
    Case(
        "`dot` accepts gradients of the second map.", dot_on_the_right, ValueError, [[4.0, 9.0], [9.0, 14.0]]
    ),
    Case(
        "`solve` accepts gradients",
        solved_with_gradients,
        np.linalg.LinAlgError,
        [[1.0, 0.0], [0.0, 1.0]],
    ),
    Case(
        "The two sides of a system can have different gradient rows.",
        solved_with_other_rows,
        metatensor.operations.NotEqualError,
        (2, 2),
    ),
    Case("`lstsq` uses gradients of gradients as equations.", nested_equations, False, True),
    Case("Singular systems are an error", singular, 2, outgrad.errors.LinearSystemError),
    Case("`rcond=None` is NumPy's default, without a warning.", warned, 1, 0),
    Case(
        "`lstsq` refuses an `rcond` of 1 or more", solved_with_rcond, (2, 2), outgrad.errors.ValidationError
    ),
    Case("Solutions report their quality.", rank, None, 2),
    Case("The exponent of `pow` can be a map.", power_by_a_map, TypeError, [[1.0, 4.0], [27.0, 256.0]]),
    Case(
        "Operands can have their samples in different orders.",
        in_another_order,
        metatensor.operations.NotEqualError,
        [5.0, 5.0],
    ),
    Case(
        "Operands can have different keys and samples if `align` is given.",
        all_samples,
        TypeError,
        [4.0, 5.0, 1.0],
    ),
    Case("`join` also concatenates along keys.", joined_keys, ValueError, [[0, 0], [0, 1]]),
    Case(
        "`join` along samples permutes sample dimensions into the order of the first map.",
        joined_samples,
        [[0, 7], [8, 1]],
        [[0, 7], [1, 8]],
    ),
    Case("`join` promotes dtypes.", joined_dtype, "float32", "float64"),
    Case(
        "`join` refuses gradients with different sample names.",
        joined_gradient_names,
        ["sample", "atom"],
        outgrad.NotEqualError,
    ),
    Case(
        "`join` along properties sorts gradient rows that only some maps have.", joined_rows, [1, 0], [0, 1]
    ),
    Case("`join` of a single map returns a new map", returned_as_it_is, True, False),
    Case(
        "`join` of a single map adds the new dimension.",
        joined_alone,
        ["system"],
        ["system", "part"],
    ),
    Case(
        "Values beyond 32 bits are an error.",
        lambda lib: int(lib.Labels(["system"], np.array([[2**40]])).values[0, 0]),
        0,
        outgrad.ValidationError,
    ),
    Case("The array of the caller stays writable.", caller_writable, False, True),
    Case("`append` adds the last dimension.", appended, ["a", "d", "b", "c"], ["a", "b", "c", "d"]),
    Case("Labels are immutable and hashable.", changed_names, ["system", "x"], ["system"]),
    Case("Entries are compared including their names.", other_names, 1, outgrad.ValidationError),
    Case("Any integer can be an index", unsigned_index, TypeError, 1),
    Case("`save` does not replace existing files", saved_twice, None, FileExistsError),
    Case("The suffix sets the format", saved_text, True, outgrad.errors.ArchiveError),
    Case("Paths are interpreted", saved_variable, True, outgrad.errors.PathError),
    Case("`load` reads maps, blocks and labels.", loaded_block, METATENSOR_ERROR, "TensorBlock"),
    Case(
        "A missing file raises a FileNotFoundError",
        lambda lib: lib.load("missing.mts"),
        METATENSOR_ERROR,
        FileNotFoundError,
    ),
    Case("Files written by equistore can be read", equistore, METATENSOR_ERROR, 2),
    Case("Arrays in a file that are not part of the data cause a warning", unused, [], ["UserWarning"]),
    Case(
        "In an archive, the name of a gradient can be any string.", slash, METATENSOR_ERROR, ["cell/strain"]
    ),
    Case(
        "The texts of errors are Outgrad's own.",
        lambda lib: text_of_error(lib).startswith(
            "Labels: rows must be unique, found (system=0) in rows 0 and 1;"
        ),
        False,
        True,
    ),
    Case(
        "Names that are not strings raise a TypeError.",
        lambda lib: lib.sort(rho(lib), axes=[5]),
        ValueError,
        TypeError,
    ),
]
UNTESTED = {
    "Gradients are loaded in the order in which they were added.",  # by chance, theirs do too
    "Sums may differ in the last digits",  # which ones do depends on the processor
}


def outcome(case: Case, lib: Library) -> Any:
    try:
        return case.run(lib)
    except Exception as error:
        return error


def agrees(found: Any, expected: Any) -> bool:
    if isinstance(expected, type):
        return isinstance(found, expected)
    return not isinstance(found, Exception) and bool(found == expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=[case.statement for case in CASES])
def test_the_libraries_differ_as_the_page_says(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs, ours = outcome(case, metatensor), outcome(case, outgrad)
    assert agrees(theirs, case.theirs), theirs
    assert agrees(ours, case.ours), ours


def test_every_statement_of_the_page_has_a_case() -> None:
    text = re.sub(r"^```.*?^```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    statements = re.findall(r"^\*\*(.*?)\*\*", text.replace("\n", " ").replace("  **", "\n**"), re.MULTILINE)
    assert {" ".join(statement.split()) for statement in statements} == {
        c.statement for c in CASES
    } | UNTESTED
