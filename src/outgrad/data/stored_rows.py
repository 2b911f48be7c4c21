"""Constants that tasks make of labels themselves, where these are stored: no labels are read before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outgrad.labels.labels import Labels


@dataclass(frozen=True)
class StoredRows:
    """Rows ``[start, stop)`` of stored labels, and the function that makes the constants of them."""

    labels: Labels
    start: int
    stop: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def of_rows(
    labels: Labels, start: int, stop: int, function: Callable[..., Any], *arguments: Any
) -> StoredRows | Any:
    """Return ``function(rows, *arguments)``; or, for stored labels, what a task finds it with.

    Stored labels pickle small. Of labels in memory only what the function makes of the rows travels.
    """
    rows = StoredRows(labels, start, stop, function, arguments)
    return rows if labels.is_stored else function(labels.read(start, stop), *arguments)


def resolved(constants: StoredRows | Any) -> Any:
    """Return the constants; this is called in tasks, and reads labels that are stored."""
    if isinstance(constants, StoredRows):
        rows = constants.labels.read(constants.start, constants.stop)
        return constants.function(rows, *constants.arguments)
    return constants
