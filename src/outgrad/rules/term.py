"""What a rule says of one argument: its derivative as *columns · rows · diag(weight)*."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.kernels.chunk import Array, Chunk

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


@dataclass(frozen=True)
class Rule:
    """One operation: its value on plain arrays, and one :class:`Term` for each argument."""

    name: str
    value: Callable[..., Array]
    terms: Callable[..., Sequence[Term]]
    linear: bool = False
    """Whether weights are constant: then a gradient of a gradient needs nothing but itself."""


@dataclass(frozen=True)
class Composite:
    """An operation that is put together from rules: a function of chunks."""

    name: str
    function: Callable[..., Chunk]
    linear: bool = False
