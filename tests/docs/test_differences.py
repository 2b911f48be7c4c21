"""Every statement of docs/differences.md, on metatensor and on Outgrad: they differ, as the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import dask.array
import numpy as np
import pytest

import outgrad

metatensor = pytest.importorskip("metatensor")

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
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


def complex_absolute(lib: Library) -> Any:
    block = values_block(lib, [[3 + 4j, 1], [1, 1]])
    block.add_gradient("positions", gradient_block(lib, rows=((0, 0),), values=1j))
    found = lib.abs(map_of(lib, block)).block(0)
    return found.dtype.kind, np.round(found.gradient("positions").values[0, 0], 12).item()


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


def unsigned_index(lib: Library) -> int:
    return int(lib.Labels.range("system", 2)[np.uint8(1)]["system"])


def saved_twice(lib: Library) -> None:
    lib.save(f"{lib.__name__}-twice.mts", rho(lib))
    lib.save(f"{lib.__name__}-twice.mts", rho(lib))


def saved_text(lib: Library) -> bool:
    lib.save("rho.txt", rho(lib))
    return Path("rho.txt.mts").exists()


def loaded_block(lib: Library) -> str:
    lib.save(f"{lib.__name__}-block.mts", block_with(lib))
    return type(lib.load(f"{lib.__name__}-block.mts")).__name__


def slash(lib: Library) -> list[str]:
    path = f"{lib.__name__}-slash" + (".zarr" if lib is outgrad else ".mts")
    lib.save(path, map_of(lib, block_with(lib, "cell/strain")))
    return lib.load(path).block(0).gradients_list()


METATENSOR_ERROR = metatensor.MetatensorError
THEIR_ABSOLUTE, OUR_ABSOLUTE = ("c", -0.8 + 0.6j), ("f", 0.8)
CASES = [
    Case("Blocks are not consumed.", reused, ValueError, 2),
    Case(
        "A block that is read out of a map is a block of its own.",
        view_extended,
        ValueError,
        ["positions", "cell"],
    ),
    Case("Values may be Dask arrays", dask_values, ValueError, "ndarray"),
    Case(
        "Values are numbers.",
        lambda lib: len(values_block(lib, [["C", "O"]])),
        1,
        outgrad.ValidationError,
    ),
    Case(
        "Blocks are found by NumPy integers and from the end, too.",
        lambda lib: rho(lib).block(np.int64(0)).shape,
        TypeError,
        (2, 2),
    ),
    Case("`==` with something else is False.", lambda lib: rho(lib) == 3, AttributeError, False),
    Case(
        "Print forms are those of metatensor's tutorials",
        printed,
        "       0   => TensorBlock with shape (2, 2)",
        "           0",
    ),
    Case(
        "Gradient rows of two operands may differ.",
        sum_of_different_rows,
        metatensor.operations.NotEqualError,
        [[2.0, 2.0], [1.0, 1.0]],
    ),
    Case(
        "Gradients of gradients go through operations.",
        nested_product,
        NotImplementedError,
        [[3.0, 3.0], [3.0, 3.0]],
    ),
    Case("Comparisons see gradients of gradients.", nested_comparison, True, False),
    Case("The gradient of the power 0 is zero, also at 0.", power_zero, True, False),
    Case("The absolute value of complex numbers is real", complex_absolute, THEIR_ABSOLUTE, OUR_ABSOLUTE),
    Case(
        "Numbers may come from NumPy, may be complex, and may stand on the left.",
        number_on_the_left,
        TypeError,
        [1.0, -3.0],
    ),
    Case("Blocks compute like maps", block_sum, TypeError, [0.0, 4.0]),
    Case("`info` survives operations.", kept_info, None, "eV"),
    Case(
        "`slice` keeps the order of the selection for properties, too.",
        sliced("properties", [1, 0]),
        [0, 1],
        [1, 0],
    ),
    Case("`slice` refuses a repeated position", sliced("samples", [1, 1]), [1, 1], outgrad.ValidationError),
    Case("`slice` takes boolean masks", sliced("samples", np.array([False, True])), ValueError, [1]),
    Case("A text is one name.", removed, [], ["pos"]),
    Case(
        "The functions for blocks check names.",
        lambda lib: len(lib.sum_over_samples_block(values_block(lib), "atom")),
        2,
        outgrad.ValidationError,
    ),
    Case(
        "Values outside 32 bits are an error.",
        lambda lib: int(lib.Labels(["system"], np.array([[2**40]])).values[0, 0]),
        0,
        outgrad.ValidationError,
    ),
    Case("The array that is passed stays writable.", caller_writable, False, True),
    Case("`append` appends.", appended, ["a", "d", "b", "c"], ["a", "b", "c", "d"]),
    Case("Labels are immutable and hashable.", changed_names, ["system", "x"], ["system"]),
    Case("An entry is compared with its names.", other_names, 1, outgrad.ValidationError),
    Case("Any integer is an index", unsigned_index, TypeError, 1),
    Case("`save` does not replace what exists", saved_twice, None, FileExistsError),
    Case("The suffix says the format", saved_text, True, outgrad.errors.ArchiveError),
    Case("`load` reads maps, blocks and labels", loaded_block, METATENSOR_ERROR, "TensorBlock"),
    Case(
        "A file that does not exist is a FileNotFoundError",
        lambda lib: lib.load("missing.mts"),
        METATENSOR_ERROR,
        FileNotFoundError,
    ),
    Case("The name of a gradient may be any text in an archive.", slash, METATENSOR_ERROR, ["cell/strain"]),
]
UNTESTED = {"Gradients come back in the order in which they were added."}  # by chance, theirs do too


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
