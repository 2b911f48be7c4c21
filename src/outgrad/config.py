"""Settings of Outgrad in Dask's configuration: ``dask.config.set({"outgrad.chunk-bytes": "64 MiB"})``."""

from __future__ import annotations

import os

import dask.config
from dask.utils import parse_bytes

UNSAFE = os.environ.get("OUTGRAD_UNSAFE_DISABLE_CHECKS", "").lower() in ("true", "1", "yes", "on")
DEFAULTS = {"outgrad": {"chunk-bytes": "32 MiB", "checks": not UNSAFE, "threads": None, "mts-checks": "once"}}

dask.config.update_defaults(DEFAULTS)


def chunk_bytes(given: int | str | None = None) -> int:
    """Bytes of values and gradients that one task holds, from the caller or the configuration.

    >>> chunk_bytes("1 MiB")
    1048576
    """
    wanted = dask.config.get("outgrad.chunk-bytes") if given is None else given
    size = int(parse_bytes(wanted))
    if size < 1:
        raise ValueError(
            f"target_bytes={given!r} leaves no room for a row; give a positive size, like '32 MiB'"
        )
    return size


def threads() -> int:
    """Threads that an operation on arrays in memory may use: by default all cores of this process.

    >>> with dask.config.set({"outgrad.threads": 1}):
    ...     threads()
    1
    """
    wanted = dask.config.get("outgrad.threads")
    if wanted is not None:
        return max(1, int(wanted))
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def checks() -> bool:
    """Whether operations of two maps compare labels.

    >>> checks()
    True
    """
    return bool(dask.config.get("outgrad.checks"))


def mts_checks() -> str:
    """When the checksum of an array of an ``.mts`` file that is read in pieces is compared.

    ``"once"``: in each process before it uses the first piece; ``"never"``: only if the array is read whole.

    >>> mts_checks()
    'once'
    """
    wanted = dask.config.get("outgrad.mts-checks")
    if wanted not in ("once", "never"):
        raise ValueError(f"the setting outgrad.mts-checks is {wanted!r}; it must be 'once' or 'never'")
    return str(wanted)


def set_checks(state: bool) -> None:
    """Set the configuration ``outgrad.checks``, until it is set again."""
    dask.config.set({"outgrad.checks": state})
