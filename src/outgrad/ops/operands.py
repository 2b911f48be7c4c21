"""Arguments of operations: their types, and maps aligned by key."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from outgrad._foreign import kind_of, of_package, plain
from outgrad.config import checks
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.errors import NotEqualError
from outgrad.labels.display import described
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.check import gradient_of
from outgrad.tensor.map import TensorMap
from outgrad.tree import GradientPath

T = TypeVar("T", TensorMap, TensorBlock)


def content(call: str, name: str, given: Any) -> Blocks:
    """The blocks of a map, or a block alone."""
    if not isinstance(given, (TensorMap, TensorBlock)):
        raise TypeError(f"{call}: {name} must be a TensorMap or a TensorBlock, got {kind_of(given)}")
    return given._blocks()


def like(original: T, result: Blocks, keys: Labels | None = None) -> T:
    """Wrap blocks as what they came from: same info, and the same keys unless others are given."""
    if isinstance(original, TensorMap):
        return TensorMap._of(original.keys if keys is None else keys, result, original.info())
    return TensorBlock._of(result)


def is_number(given: Any) -> bool:
    """Whether ``given`` is a number of Python or NumPy, an array without axes included."""
    return isinstance(given, numbers.Number) or (getattr(given, "ndim", None) == 0 and hasattr(given, "item"))


def number(given: Any) -> float | complex:
    """The plain number: it does not widen float32, as metatensor's scalars do not."""
    if isinstance(given, np.ndarray):
        given = plain("a number", given)
    own = given.item() if hasattr(given, "item") else given
    return own if isinstance(own, complex) else float(own)


def both(call: str, A: T, B: T, names: tuple[str, str] = ("A", "B")) -> tuple[Blocks, Blocks]:
    """Two operands of one kind, as they come."""
    first, second = content(call, names[0], A), content(call, names[1], B)
    if isinstance(A, TensorMap) != isinstance(B, TensorMap):
        raise TypeError(f"{call}: {names[0]} is a {type(A).__name__}, but {names[1]} is a {type(B).__name__}")
    return first, second


def pair(call: str, A: T, B: T, names: tuple[str, str] = ("A", "B")) -> list[Blocks]:
    """Two operands of one kind; the second map in the order of the keys of the first."""
    first, second = both(call, A, B, names)
    if isinstance(A, TensorMap) and isinstance(B, TensorMap):
        second = second.select(key_order(call, A.keys, B.keys))
    return [first, second]


def key_order(call: str, keys: Labels, others: Labels) -> Sequence[int]:
    """Where each key of the first map is in the second; the sets must be the same."""
    if keys == others:
        return range(len(keys))
    if keys.names != others.names:
        raise NotEqualError(
            f"inputs to '{call}' should have the same keys names, got {keys.names} and {others.names}"
        )
    if len(keys) != len(others):
        raise NotEqualError(
            f"inputs to '{call}' should have the same number of blocks, got {len(keys)} and {len(others)}"
        )
    order = find_rows(others.values, keys.values)
    if (order < 0).any():
        missing = keys.entry(int((order < 0).argmax()))
        raise NotEqualError(
            f"inputs to '{call}' should have the same keys; {missing.print()} is only in the first"
        )
    return [int(place) for place in order]


AXES = ("samples", "properties", "components")


def check_labels(
    call: str,
    a: BlockMetadata,
    b: BlockMetadata,
    where: str,
    axes: Sequence[str] = AXES,
    constants: bool = False,
) -> None:
    """The labels of some axes agree, and the gradient parameters; gradient rows may differ.

    With ``constants`` one of the two may have no gradients at all.
    """
    for name in axes:
        x, y = getattr(a, name), getattr(b, name)
        if not agree(x, y):
            found = f"{described(x)}, and {described(y)}" if isinstance(x, Labels) else _both_names(x, y)
            raise NotEqualError(f"inputs to '{call}' {_unlike(name, x, y)}; in {where} found {found}")
    if not constants or (a.gradients and b.gradients):
        _check_gradients(call, a, b, where)


def agree(a: Labels | Sequence[Labels], b: Labels | Sequence[Labels]) -> bool:
    """Whether labels are the same; where checks are disabled, whether they have as many entries."""
    if checks():
        return a == b
    if isinstance(a, Labels):
        return len(a) == len(b)
    return [len(labels) for labels in a] == [len(labels) for labels in b]


def _unlike(axis: str, a: Labels | Sequence[Labels], b: Labels | Sequence[Labels]) -> str:
    """What metatensor says of labels that differ."""
    if axis == "components" and len(a) != len(b):
        return "have a different number of components"
    return f"should have the same {axis}, but they are not the same or not in the same order"


def _both_names(a: Sequence[Labels], b: Sequence[Labels]) -> str:
    return f"{[labels.names for labels in a]} and {[labels.names for labels in b]}"


def check_same_names(call: str, a: BlockMetadata, b: BlockMetadata, axes: Sequence[str] = AXES) -> None:
    """Blocks that are to be in one map agree in names and gradient parameters; entries may differ."""
    for path, own in a.walk():
        compared = ("samples", "components") if path else axes
        others = _names(b.at(path), compared)
        for kind, names in _names(own, compared).items():
            if names != others[kind]:
                raise NotEqualError(
                    f"inputs to '{call}' should have the same {kind}; found {names} and {others[kind]}"
                )


def _names(metadata: BlockMetadata, axes: Sequence[str]) -> dict[str, list[str]]:
    found = {
        "samples": ("sample names", metadata.samples.names),
        "components": ("component names", [component.names[0] for component in metadata.components]),
        "properties": ("property names", metadata.properties.names),
    }
    return {**dict(found[axis] for axis in axes), "gradients": sorted(metadata.gradients)}


def _check_gradients(call: str, first: BlockMetadata, second: BlockMetadata, where: str) -> None:
    for path, a in first.walk():
        b = second.at(path)
        if path:
            _check_gradient(call, path, a, b, where)
        if a.gradients.keys() != b.gradients.keys():
            raise NotEqualError(
                f"inputs to '{call}' should have the same gradient parameters; in {gradient_of(path, where)} "
                f"found {list(a.gradients)} and {list(b.gradients)}"
            )


def _check_gradient(call: str, path: GradientPath, a: BlockMetadata, b: BlockMetadata, where: str) -> None:
    if a.samples.names != b.samples.names or not agree(a.components, b.components):
        raise NotEqualError(
            f"inputs to '{call}' should have the same gradients: sample names or components of "
            f"{gradient_of(path, where)} are not the same, found "
            f"{a.samples.names}, {[c.names for c in a.components]} and "
            f"{b.samples.names}, {[c.names for c in b.components]}"
        )


def names_of(call: str, argument: str, given: Any) -> list[str]:
    """One name or several, as a list."""
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(isinstance(name, str) for name in found):
        got = kind_of(given) if of_package(given) else repr(given)
        raise TypeError(f"{call}: {argument} must be a str or a list of str, got {got}")
    return found


def block_twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function for a block under metatensor's name: ``tensor`` is called ``block``."""

    @functools.wraps(function)
    def twin(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(twin).bind(*args, **kwargs)
        given = next(iter(bound.arguments.values()))
        if not isinstance(given, TensorBlock):
            raise TypeError(f"{twin.__name__}: block must be a TensorBlock, got {kind_of(given)}")
        return function(*bound.args, **bound.kwargs)

    signature = inspect.signature(function)
    renamed = [
        p.replace(name=_block_name(p.name), annotation="TensorBlock") if _is_operand(p) else p
        for p in signature.parameters.values()
    ]
    twin.__signature__ = signature.replace(parameters=renamed)  # type: ignore[attr-defined]
    twin.__name__ = twin.__qualname__ = twin_name(function.__name__)
    twin.__doc__ = f"The same as :func:`{function.__name__}`, for one block.\n\nSee there for the formula."
    return twin


def _is_operand(parameter: inspect.Parameter) -> bool:
    return parameter.name.startswith("tensor")


def _block_name(name: str) -> str:
    return name.replace("tensor", "block")


def twin_name(name: str) -> str:
    """The name of an operation for one block."""
    return f"{name.removesuffix('_raise')}_block_raise" if name.endswith("_raise") else f"{name}_block"
