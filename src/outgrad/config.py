"""Settings of Outgrad in Dask's configuration: ``dask.config.set({"outgrad.chunk-bytes": "64 MiB"})``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Generic, TypeVar

import dask.config
import numpy as np

from outgrad.errors import SettingError, ValidationError
from outgrad.units import parse_bytes

T = TypeVar("T")

UNSAFE = "OUTGRAD_UNSAFE_DISABLE_CHECKS"
SWITCHED_ON, SWITCHED_OFF = ("true", "1", "yes", "on"), ("", "false", "0", "no", "off")
MOST_BYTES = 2**60


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One entry of the configuration: what it may be, and how to make of it what is meant."""

    name: str
    default: Any
    allowed: str
    parse: Callable[[Any], T]
    """Raises ValueError for what is not allowed."""
    variable: str = ""
    """An environment variable beside Dask's own."""

    def read(self) -> T:
        """Return what is configured now.

        Raises
        ------
        SettingError
            If that is not allowed.
        """
        group = dask.config.get("outgrad", {})
        if not isinstance(group, dict):
            own = self.name.removeprefix("outgrad.")
            raise self._error("outgrad", group, f"a mapping, with entries like {own!r}")
        wanted = dask.config.get(self.name, self.default)
        try:
            return self.parse(wanted)
        except ValueError:
            raise self._error(self.name, wanted, self.allowed) from None

    def _error(self, name: str, wanted: Any, allowed: str) -> SettingError:
        origin = self._origin(name, wanted)
        return SettingError(f"the setting {name} is {wanted!r:.80}; it must be {allowed}. {origin}")

    def check(self, argument: str, given: Any) -> T:
        """Return what an argument of a call says in place of the setting.

        Raises
        ------
        ValidationError
            If it is not allowed.
        """
        try:
            return self.parse(given)
        except ValueError:
            raise ValidationError(f"{argument}={given!r:.80}: it must be {self.allowed}") from None

    def _origin(self, name: str, wanted: Any) -> str:
        """Where a value comes from, or may come from."""
        own = f"DASK_{name.replace('.', '__').replace('-', '_').upper()}"
        collected = dask.config.get(name, None, config=dask.config.collect_env())
        if collected is not None and repr(collected) == repr(wanted):
            return f"It comes from the environment variable {own}"
        if isinstance(wanted, str) and wanted == os.environ.get(self.variable):
            return f"It comes from the environment variable {self.variable}"
        return (
            f"It may come from dask.config.set, from a YAML file in {dask.config.PATH}, or from the "
            f"environment variable {own}"
        )


def _bytes(wanted: Any) -> int:
    try:
        if isinstance(wanted, str) and any(character.isdigit() for character in wanted):
            size = int(parse_bytes(wanted))
        elif isinstance(wanted, Integral | float | np.floating) and not isinstance(wanted, bool):
            size = int(wanted)
        else:
            raise ValueError
    except OverflowError:
        raise ValueError from None
    if not 1 <= size <= MOST_BYTES:
        raise ValueError
    return size


def _threads(wanted: Any) -> int | None:
    if wanted is None:
        return None
    if isinstance(wanted, bool) or not isinstance(wanted, Integral) or wanted < 1:
        raise ValueError
    return int(wanted)


def _flag(wanted: Any) -> bool:
    if not isinstance(wanted, (bool, np.bool_, Integral)) or wanted not in (0, 1):
        raise ValueError
    return bool(wanted)


def _mts_checks(wanted: Any) -> str:
    if not isinstance(wanted, str) or wanted not in ("once", "never"):
        raise ValueError
    return wanted


def _checks_at_start() -> bool | str:
    """What the environment says; a word that nobody knows is refused when the setting is read."""
    text = os.environ.get(UNSAFE, "")
    known = text.lower() in SWITCHED_ON or text.lower() in SWITCHED_OFF
    return text.lower() not in SWITCHED_ON if known else text


CHUNK_BYTES = Setting(
    "outgrad.chunk-bytes", "32 MiB", "a positive size, in bytes or with a unit, like '32 MiB'", _bytes
)
THREADS = Setting("outgrad.threads", None, "a whole number from 1 on, or None for all cores", _threads)
CHECKS = Setting("outgrad.checks", _checks_at_start(), "True or False", _flag, UNSAFE)
MTS_CHECKS = Setting("outgrad.mts-checks", "once", "'once' or 'never'", _mts_checks)
DURABLE = Setting("outgrad.durable", True, "True or False", _flag)
SETTINGS: tuple[Setting[Any], ...] = (CHUNK_BYTES, THREADS, CHECKS, MTS_CHECKS, DURABLE)

dask.config.update_defaults(
    {"outgrad": {setting.name.removeprefix("outgrad."): setting.default for setting in SETTINGS}}
)


def chunk_bytes(given: int | str | None = None) -> int:
    """Bytes of values and gradients that one task holds, from the caller or the configuration.

    >>> chunk_bytes("1 MiB")
    1048576
    """
    return CHUNK_BYTES.read() if given is None else CHUNK_BYTES.check("target_bytes", given)


def threads() -> int:
    """Threads that an operation on arrays in memory may use: by default all cores of this process.

    >>> with dask.config.set({"outgrad.threads": 1}):
    ...     threads()
    1
    """
    wanted = THREADS.read()
    if wanted is not None:
        return wanted
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

    ``"once"``: in each process before it uses the first piece; ``"never"``: only if the array is read whole.

    >>> mts_checks()
    'once'
    """
    return MTS_CHECKS.read()


def durable(given: bool | None = None) -> bool:
    """Whether what is saved is flushed to the disk, from the caller or the configuration.

    >>> durable(False)
    False
    """
    return DURABLE.read() if given is None else DURABLE.check("durable", given)


def set_checks(state: bool) -> None:
    """Set the configuration ``outgrad.checks``, until it is set again."""
    dask.config.set({"outgrad.checks": state})
