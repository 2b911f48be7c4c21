"""Functions that are imported when they are called.

Operators and methods of the data classes call functions that make data, which import these classes. One of
the two has to be imported late, and what a class means by ``+`` is not needed before something is added.
Others are in modules that take long to import: those that make Dask arrays, or print tables with Rich.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def late(module: str, name: str) -> Callable[..., Any]:
    """Return a function of another room of Outgrad.

    >>> late("ops.pointwise", "add").__name__
    'add'
    """
    function: Callable[..., Any] = getattr(import_module(f"outgrad.{module}"), name)
    return function
