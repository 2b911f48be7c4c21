"""Memory of this machine, checked before much of it is taken: small files may unpack to more than it has."""

from __future__ import annotations

import psutil

from outgrad.errors import MemoryLimitError
from outgrad.units import format_bytes

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def free_bytes() -> int:
    """Bytes that this process can still take, by what the machine has left and by its own limit."""
    free = int(psutil.virtual_memory().available)
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free = min(free, limit - int(psutil.Process().memory_info().vms))
    return max(0, free)


def require_memory(call: str, source: str, nbytes: int) -> None:
    """Raise if an array or a map does not fit into memory.

    Raises
    ------
    MemoryLimitError
        With the bytes that are needed and free, and what to do.
    """
    free = free_bytes()
    if nbytes > free:
        raise too_large(call, source, nbytes, free)


def too_large(call: str, source: str, nbytes: int, free: int) -> MemoryLimitError:
    """Build the error for what does not fit into memory."""
    return MemoryLimitError(
        f"{call}: {source} takes {format_bytes(nbytes)} of memory, and {format_bytes(free)} are free; "
        "open it lazily with outgrad.open, and compute chunk by chunk"
    )
