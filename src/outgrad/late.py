"""Functions that are found when they are called.

Operators and methods of the data classes mean functions that make data, which import these classes. One of
the two has to be imported late, and what a class means by ``+`` is not needed before something is added.
Others stand in modules that take long to import, as all that makes Dask arrays does.
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
