"""metatensor's own objects given to functions of Outgrad: the error says how they are converted."""

from __future__ import annotations

import gc
import inspect
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.ops.create import block_from_array
from outgrad.testing import assert_identical

metatensor = pytest.importorskip("metatensor")

VALUES = np.ones((2, 2))
N = Labels.range("n", 2)


def foreign_block() -> Any:
    samples = metatensor.Labels.range("system", 2)
    return metatensor.TensorBlock(VALUES, samples, [], metatensor.Labels.range("n", 2))


THEIRS = metatensor.TensorMap(metatensor.Labels.range("key", 1), [foreign_block()])
OURS = og.from_metatensor(THEIRS)
KEYS, BLOCK = THEIRS.keys, foreign_block()

ARGUMENTS: dict[str, Any] = {
    "f": np.exp,
    "component_names": "m",
    "dimension": "system",
    "keys_to_move": "key",
    "dimensions": "m",
    "axis": "samples",
    "names": ["system"],
    "name": "system",
    "old": "system",
    "new": "structure",
    "index": 0,
    "values": 0,
    "selection": [0],
    "selections": [[0]],
    "rcond": 1e-10,
    "keys": OURS.keys,
    "dimensions_indexes": [0],
    "number": 1,
    "n": 1,
}
"""Values of arguments beside operands, so that a call fails for the operand alone."""

OPERANDS = ("A", "B", "X", "Y", "tensor", "tensor_1", "tensor_2", "tensors", "block", "block_1", "block_2")


def operations() -> list[tuple[str, str]]:
    """Every public operation, and one for a block, with each of its operands."""
    found = []
    for name in dir(og.operations):
        if name.islower() and name != "join_blocks":
            parameters = inspect.signature(getattr(og, name)).parameters
            found += [(name, own) for own in parameters if own in OPERANDS or own.startswith("tensor")]
    return found


def test_operations_are_found() -> None:
    assert len({name for name, _ in operations()}) > 60
    assert ("add", "B") in operations()


def test_every_operand_of_every_operation() -> None:
    silent = []
    for name, operand in operations():
        try:
            call_with_theirs(name, operand)
        except TypeError as error:
            if re.search(r"got a metatensor Tensor(Map|Block); use og\.from_metatensor\(…\)", str(error)):
                continue
            silent.append(f"{name}({operand}): {error}")
        else:
            silent.append(f"{name}({operand}) takes it")
    assert silent == []


def call_with_theirs(name: str, operand: str) -> None:
    function = getattr(og, name)
    of_blocks = name.endswith(("_block", "_block_raise"))
    theirs, ours = (BLOCK, OURS.block()) if of_blocks else (THEIRS, OURS)
    arguments = {}
    for own, parameter in inspect.signature(function).parameters.items():
        if own == operand:
            arguments[own] = [theirs] if own in ("tensors", "blocks") else theirs
        elif own in OPERANDS or own.startswith("tensor"):
            arguments[own] = [ours] if own in ("tensors", "blocks") else ours
        elif parameter.default is inspect.Parameter.empty:
            arguments[own] = ARGUMENTS[own]
    function(**arguments)


CALLS: dict[str, Callable[[], Any]] = {
    "save": lambda: og.save("a.zarr", THEIRS),
    "save a block": lambda: og.save("a.mts", BLOCK),
    "save labels": lambda: og.save("a.mts", KEYS),
    "save_buffer": lambda: og.io.save_buffer(THEIRS),
    "TensorMap keys": lambda: TensorMap(KEYS, [OURS.block()]),
    "TensorMap blocks": lambda: TensorMap(OURS.keys, [BLOCK]),
    "TensorBlock values": lambda: TensorBlock(BLOCK, N, [], N),
    "TensorBlock samples": lambda: TensorBlock(VALUES, BLOCK.samples, [], N),
    "TensorBlock components": lambda: TensorBlock(np.ones((2, 1, 2)), N, [KEYS], N),
    "TensorBlock properties": lambda: TensorBlock(VALUES, N, [], BLOCK.properties),
    "block_from_array": lambda: block_from_array(BLOCK),
    "add_gradient": lambda: OURS.block().add_gradient("x", BLOCK),
    "block": lambda: OURS.block(KEYS),
    "block by an entry": lambda: OURS.block(KEYS[0]),
    "blocks": lambda: OURS.blocks(KEYS),
    "number": lambda: OURS[KEYS],
    "keys_to_properties": lambda: OURS.keys_to_properties(KEYS),
    "keys_to_samples": lambda: og.keys_to_samples(OURS, KEYS),
    "slice": lambda: og.slice(OURS, "samples", BLOCK.samples),
    "split": lambda: og.split(OURS, "samples", [BLOCK.samples]),
    "split at": lambda: og.split(OURS, "samples", BLOCK.samples),
    "filter_blocks": lambda: og.filter_blocks(OURS, KEYS),
    "drop_blocks": lambda: og.drop_blocks(OURS, KEYS),
    "apply_rows": lambda: og.apply_rows(OURS, np.exp, properties=KEYS),
    "one_hot": lambda: og.one_hot(KEYS, KEYS),
    "operator": lambda: OURS + THEIRS,
    "matrix product": lambda: OURS @ THEIRS,
    "union": lambda: N.union(KEYS),
    "select": lambda: N.select(KEYS),
    "to_metatensor": lambda: og.to_metatensor(THEIRS),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_arguments(call: str) -> None:
    text = r"(got|found|not) a metatensor \w+; use og\.from_metatensor\(…\)"
    with pytest.raises(TypeError, match=text):
        CALLS[call]()


def test_there_is_one_way_to_say_what_was_found() -> None:
    source = Path(og.__file__).parent
    own_words = re.compile(r"(?:got|found|gave) \{type\(")
    assert [path.name for path in source.rglob("*.py") if own_words.search(path.read_text("utf-8"))] == [
        "metatensor.py"  # of values of theirs, which need their own way out
    ]


def test_what_the_message_says_helps() -> None:
    assert_identical(og.add(og.from_metatensor(THEIRS), OURS), OURS + OURS)


def test_objects_of_torchscript() -> None:
    """A stand-in, as torch is large: its module, its class, and how it names its type."""

    class ScriptObject:
        def _type(self) -> Any:
            class Type:
                def name(self) -> str:
                    return "TensorMap"

            return Type()

    ScriptObject.__module__ = "torch"
    text = r"got a TensorMap of TorchScript; save it with \.save\(path\), and use og\.load\(path\)"
    for call in (lambda: og.add(ScriptObject(), 1), lambda: og.from_metatensor(ScriptObject())):
        with pytest.raises(TypeError, match=text):
            call()


def test_objects_of_other_packages() -> None:
    class Tensor:
        pass

    Tensor.__module__ = "torch"
    text = (
        r"add: A must be a TensorMap or a TensorBlock, got a torch Tensor; pass tensor\.detach\(\)\.cpu\(\)"
    )
    with pytest.raises(TypeError, match=text):
        og.add(Tensor(), 1)


class Owned(np.ndarray):
    """As metatensor wraps the memory of calculators: while this array lives, so does the owner."""


def test_arrays_of_calculators_keep_the_owner_of_their_memory() -> None:
    array = np.arange(4.0).reshape(2, 2).view(Owned)
    owner = weakref.ref(array)
    samples, properties = metatensor.Labels.range("system", 2), metatensor.Labels.range("n", 2)
    theirs = metatensor.TensorBlock(array, samples, [], properties)
    rows = metatensor.Labels("sample", np.array([[0], [1]]))
    theirs.add_gradient("strain", metatensor.TensorBlock(array * 2, rows, [], properties))
    ours = og.from_metatensor(theirs)
    del array, theirs
    gc.collect()
    assert type(ours.values) is np.ndarray
    assert owner() is not None
    np.testing.assert_array_equal(ours.values, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(ours.gradient("strain").values, [[0, 2], [4, 6]])
    del ours
    gc.collect()
    assert owner() is None, "nothing else keeps it"
