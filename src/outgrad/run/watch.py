"""Ask the workers of a job for their memory and their release."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from distributed import Client

from outgrad.errors import ClusterError


@dataclass(frozen=True)
class WorkerState:
    """What a worker reports of itself; sizes in bytes."""

    address: str
    resident_bytes: int
    peak_bytes: int
    """Largest resident size since the process started."""
    version: str


def process_memory() -> tuple[int, int]:
    """Return the resident size of this process and its peak, in bytes.

    The kernel's ``VmHWM`` is of this process alone; ``ru_maxrss`` starts with the peak of the parent, and is
    the fallback where there is no ``/proc``.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return peak, peak
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def _state() -> tuple[int, int, str]:
    return (*process_memory(), version("outgrad"))


def worker_states(client: Client) -> list[WorkerState]:
    """Ask every worker; one that dies meanwhile is omitted.

    Raises
    ------
    ClusterError
        If a worker cannot import this release of Outgrad.
    """
    states = []
    for address, answer in client.run(_state, on_error="return").items():
        if isinstance(answer, ImportError):
            raise ClusterError(f"the worker {address} cannot import outgrad ({answer}); install it there too")
        if not isinstance(answer, Exception):
            states.append(WorkerState(address, *answer))
    return sorted(states, key=lambda state: state.address)


def check_versions(states: list[WorkerState]) -> None:
    """Raise unless all workers have the release of the client: tasks are functions of it.

    Raises
    ------
    ClusterError
        If a worker has another version than the client.
    """
    release = version("outgrad")
    for state in states:
        if state.version != release:
            problem = f"the worker {state.address} has outgrad {state.version}, and this is {release}"
            raise ClusterError(f"{problem}; install the same on both")
