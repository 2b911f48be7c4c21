"""Selecting blocks of a map by number or by key."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from outgrad._foreign import kind_of
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels

Selection = int | Labels | LabelsEntry | Mapping[str, int]


def select(call: str, keys: Labels, selection: Any, named: Mapping[str, int]) -> Sequence[int]:
    """Return the numbers of the selected blocks (default: all), in the order of ``Labels.select``."""
    if selection is not None and named:
        raise TypeError(f"{call}: got a selection and keyword arguments; give only one of them")
    chosen = named if selection is None else selection
    if isinstance(chosen, Mapping):
        if not chosen:
            return range(len(keys))
        values = [_key_value(call, name, value) for name, value in chosen.items()]
        chosen = Labels(list(chosen), np.array([values]))
    if isinstance(chosen, (Labels, LabelsEntry)):
        return [int(number) for number in keys.select(chosen)]
    return [number_of(call, keys, chosen)]


def number_of(call: str, keys: Labels, index: SupportsIndex) -> int:
    """Return an index counted from the start."""
    try:
        number = operator.index(index)
    except TypeError:
        raise TypeError(
            f"{call}: the selection must be an int, Labels, a LabelsEntry or a dict, got {kind_of(index)}"
        ) from None
    if not -len(keys) <= number < len(keys):
        raise IndexError(f"{call}({number}): index is out of range for a map with {len(keys)} blocks")
    return number % len(keys)


def _key_value(call: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{call}: the value of {name!r} must be an int, got {value!r}") from None


def as_call(selection: Any, named: Mapping[str, int]) -> str:
    """Return a selection as the text of its call."""
    if selection is None:
        return ", ".join(f"{name}={value}" for name, value in named.items())
    return repr(selection)
