"""Sizes and times as people write and read them: those of Dask, so that all of a notebook has the same
units."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dask.utils import format_bytes, parse_bytes, parse_timedelta

from outgrad.errors import ValidationError

__all__ = ["format_bytes", "parse_bytes", "seconds"]


def seconds(call: str, name: str, value: Any) -> float:
    """A time in seconds: a number, a timedelta, or a text such as ``"30d"``.

    >>> seconds("clean", "older_than", "1.5h")
    5400.0
    """
    try:
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        found = float(parse_timedelta(value, default="s"))
    except (ValueError, KeyError, OverflowError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ValidationError(f"{call}: {name}={value!r:.80}: it must be a time, such as '30d' or '12h'")
    return found
