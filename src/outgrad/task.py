"""What optimisation and projection need to know of a function that tasks call: it stands on the function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

SHARE = 0.6
"""What a task holds on the way, as a share of what it is given and makes, where nothing else is known."""

MERGE_SHARE = 1.6
"""The same of tasks that merge contributions to sums or to systems of equations, which are joined first."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Traits:
    """How a task treats what it is given."""

    copies: bool = False
    """It only puts arrays together anew: on the way it holds nothing but pieces."""
    holds_inputs: bool = False
    """It holds all of what it is given, so that making it on the way takes no more memory.

    Those that merge small contributions of many large chunks do not: the chunks would be worked on one after
    the other.
    """
    finishes: bool = False
    """It puts a whole collection together, and its result is kept."""
    share: float | Callable[..., float] = SHARE
    """What it holds on the way, as a share of what it is given and makes; a function gets its constants."""


UNKNOWN = Traits()
"""Functions of others, as those of Dask's arrays."""


def task(
    *,
    copies: bool = False,
    holds_inputs: bool = False,
    finishes: bool = False,
    share: float | Callable[..., float] = SHARE,
) -> Callable[[F], F]:
    """Say of a function how its tasks treat what they are given."""

    def mark(function: F) -> F:
        function.traits = Traits(copies, holds_inputs, finishes, share)  # type: ignore[attr-defined]
        return function

    return mark
