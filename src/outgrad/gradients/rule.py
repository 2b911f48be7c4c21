"""What a rule says of one argument: its derivative as *columns · rows · diag(weight)*."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array, Chunk
from outgrad.task import SHARE

Columns = Callable[[Array], Array]
"""A linear map of the last axes, properties and components: it commutes with what is done to rows."""


class Rows(NamedTuple):
    """Sum rows into groups: row i of the argument is added to row ``target[i]`` of ``size``."""

    target: npt.NDArray[np.integer]
    size: int


class Term(NamedTuple):
    """Derivative of an operation with respect to one argument; what is None is the identity.

    A ``weight`` that depends on the arguments is a :class:`Chunk`, so that it can be differentiated
    again; an array or a number is a constant.
    """

    weight: Chunk | Array | complex | float | None = None
    rows: Rows | None = None
    columns: Columns | None = None


_RULES: dict[tuple[str, str], Any] = {}
"""Every rule, by the module and the name that say which one it is in another process."""


@dataclass(frozen=True, eq=False)
class _Named:
    """What tasks carry of an operation: its home, not its functions."""

    name: str

    @property
    def home(self) -> str:
        """The module in which it is defined."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        _RULES[self.home, self.name] = self

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        return _rule_of, (self.home, self.name)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return self.home, self.name


def _rule_of(home: str, name: str) -> Any:
    import_module(home)
    return _RULES[home, name]


@dataclass(frozen=True, eq=False)
class Rule(_Named):
    """One operation: its value on plain arrays, and one :class:`Term` for each argument."""

    value: Callable[..., Array]
    terms: Callable[..., Sequence[Term]]
    linear: bool = False
    """Whether weights are constant: then a gradient of a gradient needs nothing but itself."""
    share: float = SHARE
    """What it holds on the way, as a share of what it is given and makes."""

    @property
    def home(self) -> str:
        return self.terms.__module__


@dataclass(frozen=True, eq=False)
class Composite(_Named):
    """An operation that is put together from rules: a function of chunks."""

    function: Callable[..., Chunk]
    linear: bool = False
    share: float = SHARE

    @property
    def home(self) -> str:
        return self.function.__module__
