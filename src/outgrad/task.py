"""What fusing tasks and projecting their memory need to know of a function, declared at the function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

SHARE = 0.6
"""What a task holds on the way, as a share of what it is given and makes, if nothing else is declared.

Shares are measured, with ``tracemalloc``: no task of 150 operations with gradients of gradients takes more
than is projected, and the largest one at most two to five times less (tests/lazy/test_memory.py).
"""

MERGE_SHARE = 1.6
"""The same of tasks that merge contributions to sums or systems of equations, after concatenating them."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Traits:
    """How a task treats what it is given."""

    copies: bool = False
    """It only rearranges arrays: on the way it holds nothing but pieces."""
    holds_inputs: bool = False
    """It holds all of what it is given anyway, so that tasks that make this can run as one with it.

    A task that merges small contributions of many large chunks does not: the chunks would be worked on one
    after the other.
    """
    finishes: bool = False
    """It puts a complete collection together, and its result is kept."""
    share: float | Callable[..., float] = SHARE
    """What it holds on the way, as a share of what it is given and makes; a function gets its constants."""


UNKNOWN = Traits()
"""Functions of other packages, such as those of Dask arrays."""


def task(
    *,
    copies: bool = False,
    holds_inputs: bool = False,
    finishes: bool = False,
    share: float | Callable[..., float] = SHARE,
) -> Callable[[F], F]:
    """Declare how the tasks of a function treat what they are given."""

    def mark(function: F) -> F:
        function.traits = Traits(copies, holds_inputs, finishes, share)  # type: ignore[attr-defined]
        return function

    return mark
