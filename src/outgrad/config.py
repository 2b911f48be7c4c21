"""Settings of Outgrad in Dask's configuration: ``dask.config.set({"outgrad.chunk-bytes": "64 MiB"})``."""

from __future__ import annotations

import dask.config
from dask.utils import parse_bytes

DEFAULTS = {"outgrad": {"chunk-bytes": "32 MiB"}}

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
