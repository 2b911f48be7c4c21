"""The operations under metatensor's name: ``outgrad.operations.add`` is ``outgrad.add``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outgrad.errors import NotEqualError
from outgrad.ops import PUBLIC
from outgrad.ops.operands import twin_name

# Taken from the one list of operations, so that a new one is here without being written down again.
_FOUND: dict[str, Callable[..., Any]] = {
    form: getattr(module, form)
    for module, names in PUBLIC.items()
    for name in names
    for form in (name, twin_name(name), "join_blocks")
    if hasattr(module, form)
}
__all__ = ["NotEqualError", *_FOUND]


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in _FOUND:
        raise AttributeError(f"module 'outgrad.operations' has no operation {name!r}")
    return _FOUND[name]


def __dir__() -> list[str]:
    return sorted(__all__)
