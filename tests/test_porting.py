"""``import outgrad as mts`` is enough: names, arguments and methods are metatensor's, and a script runs."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import outgrad as og
from tests.support import ROOT

mts = pytest.importorskip("metatensor")
upstream = pytest.importorskip("metatensor.operations")

DATA = ROOT / "examples" / "data"

POINTERS = {"as_mts_block_t", "as_mts_labels_t", "as_mts_tensormap_t", "release", "unsafe_from_ptr"} | {
    "unsafe_view_from_ptr"
}
"""Methods that hand pointers to C code: there is none here."""

CALLBACKS = {f"load_{kind}custom_array" for kind in ("", "block_", "buffer_", "block_buffer_")} | {
    "create_numpy_array",
    "create_torch_array",
}
"""Loading into arrays that a C callback makes; arrays are NumPy's, and ``open`` reads lazily."""

NOT_HERE = {
    "Array": "annotation of NumPy or torch arrays",
    "ExternalCpuArray": "view of memory that C code owns",
    "ExternalCudaArray": "view of memory that C code owns",
    "register_external_data_wrapper": "registers classes for memory that C code owns",
    "HAS_METATENSOR_OPERATIONS": "whether another package is installed; the operations are always here",
    "learn": "needs torch",
    "torch": "needs torch",
    "utils": "where CMake finds the C library",
}
"""Names of the package that are left out, and why."""

CLASSES = ("TensorMap", "TensorBlock", "Labels", "LabelsEntry")


def public(module: ModuleType) -> Iterator[str]:
    """Names that a module offers, without the modules that it imports."""
    for name, found in vars(module).items():
        own = not isinstance(found, ModuleType) or found.__name__.startswith(f"{module.__name__}.")
        if not name.startswith("_") and own and getattr(found, "__module__", "") != "typing":
            yield name


OPERATIONS = sorted(public(upstream))
METHODS = [
    f"{kind}.{name}"
    for kind in CLASSES
    for name in sorted(dir(getattr(mts, kind)))
    if not name.startswith("_")
]
DUNDERS = [
    f"{kind}.{name}"
    for kind in CLASSES
    for name, found in vars(getattr(mts, kind)).items()
    if name.startswith("__") and callable(found) and name not in ("__del__", "__init__", "__setstate__")
]


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and defaults of what can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in found if p.kind in kinds and p.name != "self"]


def same_beginning(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    """Their parameters come first, in their order, with their defaults; others are optional."""
    own, expected = parameters(ours), parameters(theirs)
    assert [name for name, _ in own[: len(expected)]] == [name for name, _ in expected]
    for (name, default), (_, wanted) in zip(own, expected, strict=False):
        assert wanted is inspect.Parameter.empty or default == wanted, name
    for parameter in list(inspect.signature(ours).parameters.values())[len(expected) :]:
        optional = parameter.default is not parameter.empty
        assert optional or parameter.name == "self" or parameter.kind.name.startswith("VAR_"), parameter


# ---- names ----
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_is_missing(name: str) -> None:
    assert getattr(og, name) is getattr(og.operations, name)
    assert name in og.__all__
    assert name in og.operations.__all__


@pytest.mark.parametrize("name", [name for name in OPERATIONS if inspect.isfunction(getattr(upstream, name))])
def test_operations_take_the_same_arguments(name: str) -> None:
    same_beginning(getattr(og, name), getattr(upstream, name))


def test_every_operation_of_ours_is_in_the_namespace() -> None:
    own = {
        name for name in og.__all__ if getattr(getattr(og, name), "__module__", "").startswith("outgrad.ops.")
    }
    assert own == set(og.operations.__all__) - {"NotEqualError"}
    assert set(dir(og.operations)) == set(og.operations.__all__)
    with pytest.raises(AttributeError, match="has no operation 'TensorMap'"):
        og.operations.TensorMap  # noqa: B018


def test_no_name_of_the_package_is_missing() -> None:
    missing = {name for name in public(mts) if not hasattr(og, name)}
    assert missing - set(OPERATIONS) == set(NOT_HERE) - {"learn", "torch"} | (missing & {"learn", "torch"})
    assert og.__version__


def test_no_name_of_io_is_missing() -> None:
    names = {name for name in public(mts.io) if inspect.isfunction(getattr(mts.io, name))}
    assert {name for name in names if not hasattr(og.io, name)} == CALLBACKS
    assert set(og.io.__all__) == names - CALLBACKS


@pytest.mark.parametrize("name", sorted(og.io.__all__))
def test_functions_of_io_take_the_same_arguments(name: str) -> None:
    same_beginning(getattr(og.io, name), getattr(mts.io, name))


@pytest.mark.parametrize("name", [name for name in METHODS if name.split(".")[1] not in POINTERS])
def test_no_method_is_missing(name: str) -> None:
    kind, member = name.split(".")
    ours, theirs = getattr(getattr(og, kind), member), getattr(getattr(mts, kind), member)
    assert isinstance(ours, property) == isinstance(theirs, property)
    if not isinstance(theirs, property) and member not in ("to", "block", "blocks"):
        names = [name for name, _ in parameters(theirs)]
        assert [name for name, _ in parameters(ours)][: len(names)] == names


@pytest.mark.parametrize("name", DUNDERS)
def test_no_special_method_is_missing(name: str) -> None:
    kind, member = name.split(".")
    assert getattr(getattr(og, kind), member, None) is not None or member == "__reduce_ex__"


@pytest.mark.parametrize("kind", CLASSES)
def test_constructors_take_the_same_arguments(kind: str) -> None:
    same_beginning(getattr(og, kind), getattr(mts, kind))


@pytest.mark.parametrize("kind", ["TensorMap", "TensorBlock", "Labels"])
def test_methods_load_without_an_object(kind: str) -> None:
    for name in ("load", "load_buffer"):
        assert callable(getattr(getattr(og, kind), name))


# ---- copies ----
@pytest.fixture
def tensor() -> og.TensorMap:
    return og.load(DATA / "spherical-expansion.mts")


def pieces(tensor: og.TensorMap) -> dict[str, Any]:
    """A map, a block, a gradient, labels and an entry; in memory, and lazy where that exists."""
    lazy = tensor.chunk(target_bytes=4096)
    found: dict[str, Any] = {"labels": tensor.keys, "entry": tensor.keys[1]}
    for form, given in (("numpy", tensor), ("lazy", lazy)):
        found |= {
            f"map {form}": given,
            f"block {form}": given.block(1),
            f"gradient {form}": given.block(1).gradient("positions"),
        }
    return found


PIECES = ["labels", "entry"] + [
    f"{kind} {form}" for kind in ("map", "block", "gradient") for form in ("numpy", "lazy")
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("piece", PIECES)
def test_pickles_are_equal(tensor: og.TensorMap, piece: str, protocol: int) -> None:
    tensor.set_info("unit", "eV")
    given = pieces(tensor)[piece]
    found = pickle.loads(pickle.dumps(given, protocol))
    assert type(found) is type(given)
    assert found == given
    if isinstance(found, og.TensorMap):
        assert found.info() == {"unit": "eV"}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("piece", PIECES)
def test_copies_are_equal(tensor: og.TensorMap, piece: str, duplicate: Callable[[Any], Any]) -> None:
    given = pieces(tensor)[piece]
    found = duplicate(given)
    assert type(found) is type(given)
    assert found == given


@pytest.mark.parametrize("lib", [mts, og])
def test_copy_shares_arrays_and_deepcopy_does_not(lib: Any) -> None:
    given = lib.load(str(DATA / "radial-spectrum.mts"))
    given.set_info("unit", "eV")
    for duplicate, shared in ((copy.copy, True), (copy.deepcopy, False)):
        found = duplicate(given)
        assert found.info() == {"unit": "eV"}
        for block, other in ((given.block(0), found.block(0)), (given.block(0), duplicate(given.block(0)))):
            assert np.shares_memory(block.values, other.values) is shared
            gradients = block.gradient("positions"), other.gradient("positions")
            assert np.shares_memory(gradients[0].values, gradients[1].values) is shared
    shallow = given.copy(deep=False)
    shallow.set_info("unit", "Hartree")
    assert given.get_info("unit") == "eV"


@pytest.mark.parametrize("lib", [mts, og])
def test_labels_and_entries_print_alike(lib: Any) -> None:
    labels = lib.Labels(["system", "atom"], np.array([[0, 4], [1, 5]]))
    assert labels.print(-1) == mts.Labels(["system", "atom"], np.array([[0, 4], [1, 5]])).print(-1)
    entry = labels[1]
    assert (entry.print(), repr(entry)) == ("(system=1, atom=5)", "LabelsEntry(system=1, atom=5)")
    assert all(name in entry._repr_html_() for name in ("LabelsEntry", "system", "atom"))
    with pytest.raises(lib.MetatensorError, match=r"(?i)unique|already|twice"):
        lib.Labels(["a"], np.array([[1], [1]]))


# ---- a script ----
SCRIPT = """
import metatensor as mts

expansion = mts.load(data + "/spherical-expansion.mts")
expansion.set_info("unit", "none")
radial = mts.load(data + "/radial-spectrum.mts")
spectrum = mts.load(data + "/molecules-power-spectrum.mts")

# densify, and look at what is there
dense = radial.keys_to_samples("center_type").keys_to_properties("neighbor_type")
names = (dense.sample_names, dense.property_names, dense.component_names)
invariant = expansion.keys_to_properties(["neighbor_type"]).components_to_properties(["o3_mu"])
oxygen = expansion.block(o3_lambda=1, center_type=8, neighbor_type=6)
shapes = [block.shape for block in expansion]

# elementwise, with gradients
squared = mts.multiply(spectrum, spectrum)
scaled = mts.add(mts.divide(squared, 3), mts.multiply(spectrum, -2))
powers = mts.pow(mts.abs(mts.subtract(spectrum, 0.25)), 2)
negated = -(spectrum + spectrum) ** 2 / 4

# choose, and put together again
systems = mts.unique_metadata(spectrum, "samples", "system")
parts = mts.split(spectrum, "samples", [mts.Labels(["system"], systems.values[i : i + 1]) for i in range(2)])
joined = mts.join(parts, axis="samples")
first = mts.slice(spectrum, "samples", mts.Labels(["system"], systems.values[:1]))
wide = mts.join([first, mts.multiply(first, 2)], "properties", add_dimension="copy")
turned = mts.sort(mts.multiply(spectrum, spectrum), axes=["keys", "samples"])
bare = mts.remove_gradients(spectrum)
few = mts.filter_blocks(expansion, mts.Labels(["center_type"], expansion.keys.values[:1, 2:3]))
rest = mts.drop_blocks(expansion, mts.Labels(["center_type"], expansion.keys.values[:1, 2:3]))

# sums
per_system = mts.sum_over_samples(spectrum, sample_names=["atom"])
per_system_mean = mts.mean_over_samples(bare, ["atom"])
spread = mts.std_over_properties(bare, bare.property_names[:1])
total = mts.sum_over_properties(spectrum, spectrum.property_names)

# labels
renamed = mts.rename_dimension(spectrum, "samples", "system", "structure")
longer = mts.append_dimension(spectrum, "keys", "kind", 3)
shorter = mts.remove_dimension(longer, "keys", "kind")
keys = expansion.keys.union(expansion.keys.rename("o3_sigma", "o3_sigma"))

# regression
kernel = mts.dot(bare, bare)
weights = mts.lstsq(bare, mts.slice(bare, "properties", [0]), rcond=1e-5)
zeros, ones = mts.zeros_like(spectrum), mts.ones_like(spectrum, gradients=[])
block = mts.block_from_array(dense.block().values[:])

# files
mts.save("squared.mts", squared)
again = mts.load("squared.mts")
mts.save("block.mts", oxygen.copy())
oxygen_again = mts.load_block("block.mts")
squared.keys.save("keys.mts")
keys_again = mts.load_labels("keys.mts")
buffered = mts.TensorMap.load_buffer(squared.save_buffer())
assert mts.equal(again, squared) and mts.equal(buffered, squared)
assert mts.allclose(shorter, spectrum) and mts.equal_metadata(squared, spectrum)
try:
    mts.add(expansion, radial)
except mts.operations.NotEqualError as error:
    refused = "should have the same keys" in str(error)
"""


def executed(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the script with one import line, and return what it has made."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    script = SCRIPT.replace("import metatensor as mts", line)
    assert line in script
    found: dict[str, Any] = {"data": str(DATA)}
    exec(compile(script, line, "exec"), found)
    return {
        name: value for name, value in found.items() if name not in ("mts", "data", "__builtins__", "error")
    }


def agree(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (mts.TensorMap, mts.TensorBlock)):
        found = og.from_metatensor(theirs)
        og.equal_metadata_raise(ours, found)
        og.allclose_raise(ours, found, rtol=1e-11, atol=1e-11)
    elif isinstance(theirs, mts.Labels):
        assert ours == og.from_metatensor(theirs)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for own, other in zip(ours, theirs, strict=True):
            agree(own, other)
    else:
        assert ours == theirs


def test_a_script_runs_with_another_import_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = executed("import metatensor as mts", tmp_path / "theirs", monkeypatch)
    ours = executed("import outgrad as mts", tmp_path / "ours", monkeypatch)
    assert ours.keys() == theirs.keys()
    assert ours["refused"]
    for name, expected in theirs.items():
        agree(ours[name], expected)


def test_each_library_reads_the_files_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for lib in (mts, og):
        (tmp_path / lib.__name__).mkdir()
        monkeypatch.chdir(tmp_path / lib.__name__)
        spectrum = lib.load(str(DATA / "radial-spectrum.mts"))
        lib.save("map.mts", spectrum)
        lib.save("block.mts", spectrum.block(0).copy())
        lib.save("labels.mts", spectrum.keys)
    for name, load in (("map", "load"), ("block", "load_block"), ("labels", "load_labels")):
        ours = getattr(og, load)(tmp_path / "metatensor" / f"{name}.mts")
        agree(ours, getattr(mts, load)(tmp_path / "outgrad" / f"{name}.mts"))
