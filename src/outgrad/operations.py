"""The operations under metatensor's name: ``outgrad.operations.add`` is ``outgrad.add``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import ismodule
from typing import Any

import outgrad
from outgrad.errors import NotEqualError as NotEqualError

ANSWERS = ("ops.compare", "ops.create", "ops.metadata", "ops.switches")
"""Their functions make no map of a map, nor does ``is_contiguous``: they are no steps of a job."""


@cache
def _all() -> dict[str, Callable[..., Any]]:
    """Every public function of the operations; the one list of them is that of the package."""
    named = {name: getattr(outgrad, name) for name in dir(outgrad)}
    return {
        name: item for name, item in named.items() if not ismodule(item) and _home(item).startswith("ops.")
    }


def _home(function: Any) -> str:
    return str(function.__module__).removeprefix("outgrad.")


def public_operations() -> dict[str, Callable[..., Any]]:
    """Return the operations that make maps of maps, by name: those that a job can use."""
    return {
        name: function
        for name, function in _all().items()
        if not (name.endswith("_block") or name in ("is_contiguous", "join_blocks"))
        and _home(function) not in ANSWERS
    }


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name.startswith("__") or name not in _all():
        raise AttributeError(f"module 'outgrad.operations' has no operation {name!r}")
    return _all()[name]


def __dir__() -> list[str]:
    return sorted([*_all(), "NotEqualError"])
