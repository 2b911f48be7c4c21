"""The same operation for one block, under metatensor's name."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from outgrad._foreign import kind_of
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

# Comparisons of a block with a map have an answer: they differ.
_BLOCK_ARGUMENTS: dict[str, type | tuple[type, ...]] = {
    "block": TensorBlock,
    "block_1": TensorBlock,
    "block_2": (TensorBlock, TensorMap),
}


def block_twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function for a block under metatensor's name: ``tensor`` is called ``block``."""

    @functools.wraps(function)
    def twin(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(twin).bind(*args, **kwargs)
        for argument, given in bound.arguments.items():
            if not isinstance(given, _BLOCK_ARGUMENTS.get(argument, object)):
                raise TypeError(f"{twin.__name__}: {argument} must be a TensorBlock, got {kind_of(given)}")
        try:
            return function(*bound.args, **bound.kwargs)
        except Exception as error:
            # Only the text changes: the same exception goes on, with its class, attributes and traceback.
            if error.args and isinstance(error.args[0], str):
                error.args = (leading_name.sub(rf"\1{twin.__name__}", error.args[0]), *error.args[1:])
            raise

    # As in metatensor, `equal_raise` calls itself `equal`.
    stem = function.__name__.removesuffix("_raise")
    leading_name = re.compile(rf"^(inputs to '|){stem}(?=[:'])")
    signature = inspect.signature(function)
    renamed = [
        p.replace(name=p.name.replace("tensor", "block"), annotation="TensorBlock")
        if p.name.startswith("tensor")
        else p
        for p in signature.parameters.values()
    ]
    twin.__signature__ = signature.replace(parameters=renamed)  # type: ignore[attr-defined]
    twin.__name__ = twin.__qualname__ = twin_name(function.__name__)
    twin.__doc__ = _twin_docstring(function.__name__, twin.__name__, inspect.getdoc(function) or "")
    return twin


def _twin_docstring(original: str, twin: str, docstring: str) -> str:
    """The parameters, results, errors and examples of the original, with blocks in place of maps."""
    sections = docstring[max(docstring.find("Parameters\n---"), 0) :]
    sections = sections.replace("TensorMap or TensorBlock", "TensorBlock").replace("tensor", "block")
    sections = re.sub(rf"\bog\.{original}\(", f"og.{twin}(", sections)
    return f"Apply :func:`{original}` to one block; see there for details.\n\n{sections}"


def twin_name(name: str) -> str:
    """The name of an operation for one block."""
    return f"{name.removesuffix('_raise')}_block_raise" if name.endswith("_raise") else f"{name}_block"
