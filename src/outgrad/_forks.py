"""What a child of ``os.fork`` cannot use: threads, which stay with the parent, and locks held at the fork.

PyTorch's data loaders and :mod:`multiprocessing` fork by default. A pool whose threads are gone takes tasks
and never runs them, and a lock that another thread held at that moment is never released.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from functools import cached_property, reduce
from typing import Any, Protocol
from weakref import WeakSet

Hook = Callable[[], None]

FOREIGN_LOCKS = (
    ("dask.config", "config_lock"),
    ("dask.threaded", "pools_lock"),
    ("dask.tokenize", "tokenize_lock"),
    ("dask.array.random", "_cached_states_lock"),
    ("zarr.core.sync", "_lock"),
    ("threadpoolctl", "OpenBLASController._SHARED_STATE.lock"),
)
"""Locks of modules on which everything here runs; they hold them for short updates."""

PACKAGES_WITH_LOCKS = ("outgrad", "dask", "zarr")
HAS_LOCK = hasattr(cached_property(len), "lock")
"""Before Python 3.12 a cached property holds a lock, one for all objects, while it is computed."""


class Forgetful(Protocol):
    """What keeps work that several threads have under way."""

    def forget_threads(self) -> None:
        """Drop that work: in a child nobody finishes it."""
        ...


_locks: WeakSet[Any] = WeakSet()
_forgetful: WeakSet[Any] = WeakSet()
_hooks: list[Hook] = []


def fork_safe_lock() -> threading.Lock:
    """Return a lock that is free in a child, whoever held it in the parent.

    What it guards must be usable after every single statement: the child sees it as it was at the fork.
    """
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def forgets_in_child(owner: Forgetful) -> None:
    """Call ``forget_threads`` of ``owner`` in each forked child, as long as there is an owner."""
    _forgetful.add(owner)


def in_every_child(hook: Hook) -> Hook:
    """Call ``hook`` in each forked child, before anything else runs there."""
    _hooks.append(hook)
    return hook


def _start_afresh() -> None:
    for lock in (*_locks, *_foreign_locks(), *_property_locks()):
        lock._at_fork_reinit()  # what the standard library does with its own
    for owner in list(_forgetful):
        owner.forget_threads()
    _leave_pools()
    _leave_clients()
    for hook in _hooks:
        hook()


def _foreign_locks() -> list[Any]:
    found = [
        reduce(lambda at, own: getattr(at, own, None), name.split("."), sys.modules.get(module))
        for module, name in FOREIGN_LOCKS
    ]
    return [lock for lock in found if hasattr(lock, "_at_fork_reinit")]


def _property_locks() -> list[Any]:
    if not HAS_LOCK:
        return []
    imported = sys.modules.items()
    modules = [module for name, module in imported if name.partition(".")[0] in PACKAGES_WITH_LOCKS]
    classes = [item for module in modules for item in vars(module).values() if isinstance(item, type)]
    members = (member for kind in classes for member in vars(kind).values())
    return [member.lock for member in members if isinstance(member, cached_property)]  # type: ignore[attr-defined]


def _leave_pools() -> None:
    """Let Dask make new threads: those of its pools are the parent's."""
    threaded: Any = sys.modules.get("dask.threaded")
    if threaded is None:
        return
    own = [pool for pools in threaded.pools.values() for pool in pools.values()]
    for pool in filter(None, [threaded.default_pool, *own]):
        atexit.unregister(pool.shutdown)  # would wait for a lock that a thread of the parent may hold
    threaded.default_pool = None
    threaded.pools.clear()


def _leave_clients() -> None:
    """Forget pools and clients that were chosen for Dask: they work through threads of the parent."""
    configuration = getattr(sys.modules.get("dask.config"), "config", {})
    configuration.pop("pool", None)
    if _is_of_parent(configuration.get("scheduler")):
        del configuration["scheduler"]
    distributed = sys.modules.get("distributed.client")
    getattr(distributed, "_global_clients", {}).clear()
    current = getattr(distributed, "_current_client", None)
    if current is not None:
        current.set(None)


def _is_of_parent(scheduler: Any) -> bool:
    if isinstance(scheduler, str):
        return scheduler.lower() in ("dask.distributed", "distributed")
    return hasattr(getattr(scheduler, "__self__", scheduler), "submit")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
