"""``import outgrad as mts`` is enough: names, arguments and methods are metatensor's, and a script runs."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable, Iterator
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


def differences(ours: Any, theirs: Any, names: Iterable[str]) -> list[str]:
    """Their parameters come first, in their order, with their defaults; others are optional."""
    found = []
    for name in names:
        own, expected = parameters(getattr(ours, name)), parameters(getattr(theirs, name))
        if [one for one, _ in own[: len(expected)]] != [one for one, _ in expected]:
            found.append(f"{name}: {own}, not {expected}")
        for (one, default), (_, wanted) in zip(own, expected, strict=False):
            if wanted is not inspect.Parameter.empty and default != wanted:
                found.append(f"{name}: {one}={default}, not {wanted}")
        for parameter in list(inspect.signature(getattr(ours, name)).parameters.values())[len(expected) :]:
            optional = parameter.default is not parameter.empty
            if not (optional or parameter.name == "self" or parameter.kind.name.startswith("VAR_")):
                found.append(f"{name}: {parameter} is needed")
    return found


# ---- names ----
def test_no_operation_is_missing() -> None:
    assert set(OPERATIONS) - set(og.__all__) == set()
    assert set(OPERATIONS) - set(og.operations.__all__) == set()
    assert [name for name in OPERATIONS if getattr(og, name) is not getattr(og.operations, name)] == []


def test_operations_take_the_same_arguments() -> None:
    functions = [name for name in OPERATIONS if inspect.isfunction(getattr(upstream, name))]
    assert differences(og, upstream, functions) == []


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


def test_functions_of_io_take_the_same_arguments() -> None:
    assert differences(og.io, mts.io, og.io.__all__) == []


def members(lib: Any, name: str) -> Any:
    kind, member = name.split(".")
    return getattr(getattr(lib, kind), member, None)


def test_no_method_is_missing() -> None:
    methods = [name for name in METHODS if name.split(".")[1] not in POINTERS]
    assert [name for name in methods if members(og, name) is None] == []


def test_properties_are_properties() -> None:
    methods = [name for name in METHODS if members(og, name) is not None]
    others = [
        name
        for name in methods
        if isinstance(members(og, name), property) != isinstance(members(mts, name), property)
    ]
    assert others == []


def test_methods_take_the_same_arguments() -> None:
    """Names of arguments in their order; three methods take more than theirs, or in another way."""
    others = []
    for name in METHODS:
        ours, theirs = members(og, name), members(mts, name)
        if callable(ours) and name.split(".")[1] not in ("to", "block", "blocks"):
            names = [name for name, _ in parameters(theirs)]
            if [name for name, _ in parameters(ours)][: len(names)] != names:
                others.append(f"{name}: {names}")
    assert others == []


def test_no_special_method_is_missing() -> None:
    missing = [name for name in DUNDERS if members(og, name) is None]
    assert [name for name in missing if not name.endswith("__reduce_ex__")] == []


def test_constructors_take_the_same_arguments() -> None:
    assert differences(og, mts, CLASSES) == []


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


@pytest.mark.parametrize("piece", PIECES)
def test_pickles_are_equal(tensor: og.TensorMap, piece: str) -> None:
    tensor.set_info("unit", "eV")
    given = pieces(tensor)[piece]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
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
