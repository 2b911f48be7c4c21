"""Settings of Outgrad in Dask's configuration: ``dask.config.set({"outgrad.chunk-bytes": "64 MiB"})``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Generic, TypeVar

import dask.config
import numpy as np

from outgrad.errors import SettingError, ValidationError
from outgrad.units import parse_bytes

SettingT = TypeVar("SettingT")

UNSAFE = "OUTGRAD_UNSAFE_DISABLE_CHECKS"
SWITCHED_ON, SWITCHED_OFF = ("true", "1", "yes", "on"), ("", "false", "0", "no", "off")
MOST_BYTES = 2**60


@dataclass(frozen=True)
class Setting(Generic[SettingT]):
    """One entry of the configuration: its name, what it may be, and how it is read."""

    name: str
    default: Any
    allowed: str
    parse: Callable[[Any], SettingT]
    """Raises ValueError for what is not allowed."""
    variable: str = ""
    """An environment variable besides Dask's own."""

    def read(self) -> SettingT:
        """Return what is configured now.

        Raises
        ------
        SettingError
            If that is not allowed.
        """
        group = dask.config.get("outgrad", {})
        if not isinstance(group, dict):
            entry = self.name.removeprefix("outgrad.")
            raise self._error("outgrad", group, f"a mapping, with entries like {entry!r}")
        value = dask.config.get(self.name, self.default)
        try:
            return self.parse(value)
        except ValueError:
            raise self._error(self.name, value, self.allowed) from None

    def temporarily(self, value: Any) -> AbstractContextManager[Any]:
        """Set it until a ``with`` block ends."""
        return dask.config.set({self.name: value})

    def check(self, argument: str, value: Any) -> SettingT:
        """Return what an argument of a call says in place of the setting.

        Raises
        ------
        ValidationError
            If it is not allowed.
        """
        try:
            return self.parse(value)
        except ValueError:
            raise ValidationError(f"{argument}={value!r:.80}: it must be {self.allowed}") from None

    def _error(self, name: str, value: Any, allowed: str) -> SettingError:
        """Say what is configured, and where that comes from or may come from."""
        variable = f"DASK_{name.replace('.', '__').replace('-', '_').upper()}"
        collected = dask.config.get(name, None, config=dask.config.collect_env())
        if collected is not None and repr(collected) == repr(value):
            origin = f"it comes from the environment variable {variable}"
        elif isinstance(value, str) and value == os.environ.get(self.variable):
            origin = f"it comes from the environment variable {self.variable}"
        else:
            origin = (
                f"it may come from dask.config.set, from a YAML file in {dask.config.PATH}, or from the "
                f"environment variable {variable}"
            )
        return SettingError(f"the setting {name} is {value!r:.80}; it must be {allowed}; {origin}")


def _bytes(value: Any) -> int:
    try:
        if isinstance(value, str) and any(character.isdigit() for character in value):
            size = int(parse_bytes(value))
        elif isinstance(value, Integral | float | np.floating) and not isinstance(value, bool):
            size = int(value)
        else:
            raise ValueError
    except OverflowError:
        raise ValueError from None
    if not 1 <= size <= MOST_BYTES:
        raise ValueError
    return size


def _thread_count(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_, Integral)) or value not in (0, 1):
        raise ValueError
    return bool(value)


def _mts_checks(value: Any) -> str:
    if not isinstance(value, str) or value not in ("once", "never"):
        raise ValueError
    return value


def _folders(value: Any) -> tuple[str, ...]:
    folders = (value,) if isinstance(value, str | os.PathLike) else value
    if not isinstance(folders, (list, tuple)) or not all(
        isinstance(each, str | os.PathLike) for each in folders
    ):
        raise ValueError
    return tuple(map(os.fsdecode, folders))


# What the environment says of the checks; a word that is neither is refused when the setting is read.
_unsafe = os.environ.get(UNSAFE, "")
_checks_at_start: bool | str = _unsafe.lower() in SWITCHED_OFF
if _unsafe.lower() not in SWITCHED_OFF + SWITCHED_ON:
    _checks_at_start = _unsafe

CHUNK_BYTES = Setting(
    "outgrad.chunk-bytes", "32 MiB", "a positive size, in bytes or with a unit, like '32 MiB'", _bytes
)
THREADS = Setting("outgrad.threads", None, "a whole number from 1 on, or None for all cores", _thread_count)
CHECKS = Setting("outgrad.checks", _checks_at_start, "True or False", _flag, UNSAFE)
MTS_CHECKS = Setting("outgrad.mts-checks", "once", "'once' or 'never'", _mts_checks)
DURABLE = Setting("outgrad.durable", True, "True or False", _flag)
INDEX_ROOTS = Setting("outgrad.index-roots", [], "a list of folders", _folders)
SETTINGS: tuple[Setting[Any], ...] = (CHUNK_BYTES, THREADS, CHECKS, MTS_CHECKS, DURABLE, INDEX_ROOTS)

dask.config.update_defaults(
    {"outgrad": {setting.name.removeprefix("outgrad."): setting.default for setting in SETTINGS}}
)


def chunk_bytes(target_bytes: int | str | None = None) -> int:
    """Bytes of values and gradients that one task holds, from the caller or the configuration.

    >>> chunk_bytes("1 MiB")
    1048576
    """
    return CHUNK_BYTES.read() if target_bytes is None else CHUNK_BYTES.check("target_bytes", target_bytes)


def threads() -> int:
    """Threads that an operation on arrays in memory may use: by default all cores of this process.

    >>> with dask.config.set({"outgrad.threads": 1}):
    ...     threads()
    1
    """
    value = THREADS.read()
    if value is not None:
        return value
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def checks() -> bool:
    """Whether operations of two maps compare labels.

    >>> checks()
    True
    """
    return CHECKS.read()


def mts_checks() -> str:
    """When the checksum of an array of an ``.mts`` file that is read in pieces is compared.

    ``"once"``: in each process before it uses the first piece; ``"never"``: only if the entire array is read.

    >>> mts_checks()
    'once'
    """
    return MTS_CHECKS.read()


def durable(argument: bool | None = None) -> bool:
    """Whether what is saved is flushed to the disk, from the caller or the configuration.

    >>> durable(False)
    False
    """
    return DURABLE.read() if argument is None else DURABLE.check("durable", argument)


def index_roots() -> tuple[str, ...]:
    """Folders in which archives may refer to files, besides their own ones.

    >>> index_roots()
    ()
    """
    return INDEX_ROOTS.read()


def set_checks(state: bool) -> None:
    """Set the configuration ``outgrad.checks``, until it is set again."""
    dask.config.set({"outgrad.checks": state})
