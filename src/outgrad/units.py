"""Sizes and times as people write and read them: those of Dask, so that all of a notebook has the same
units."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dask.utils import format_bytes, parse_bytes, parse_timedelta

__all__ = ["format_bytes", "parse_bytes", "seconds"]


def seconds(value: Any) -> float:
    """A time in seconds: a number, a timedelta, or a text such as ``"30d"``.

    Raises
    ------
    ValueError
        If it is none, or negative.

    >>> seconds("1.5h")
    5400.0
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    try:
        found = float(parse_timedelta(value, default="s"))
    except (KeyError, OverflowError):
        raise ValueError(value) from None
    if not 0 <= found < float("inf"):
        raise ValueError(value)
    return found
