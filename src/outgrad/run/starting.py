"""Start and close the cluster of a specification, in limited time, while Ctrl-C and SIGTERM are heeded."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, Nanny
from distributed.core import Status

from outgrad.errors import ClusterError, JobError
from outgrad.run.keys import keys_of_a_run
from outgrad.run.spec import ClusterSpec

CONNECT_SECONDS = 15
CLOSE_SECONDS = 5.0
"""How long workers of this machine may take to close in order; then they are killed."""

KILLED_SECONDS = 4.0
"""How long a cluster may take to close when its workers were killed."""

BATCH_SECONDS = 20.0
"""How long a cluster may take to close whose workers are not processes of this one: it cancels batch jobs."""

_WRONG_VALUES = (TypeError, ValueError, LookupError, AttributeError)


class Call:
    """A call in a thread of its own, which may hang; the main thread waits for it, and hears every signal.

    Ctrl-C is masked in that thread, and so in all threads and processes that it starts: a terminal sends it
    to every process of the group, and workers go on until the client closes them.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._ended = threading.Event()
        self.error: BaseException | None = None

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                function()
            except BaseException as error:
                self.error = error
            finally:
                self._ended.set()

        self._thread = threading.Thread(target=run, name="outgrad cluster", daemon=True)

    def start(self) -> None:
        # The process that removes what killed workers leave would take the mask off if it started later. Its
        # warnings of what it has removed are of no use.
        silent = "ignore:resource_tracker:UserWarning"
        sys.warnoptions.append(silent)
        try:
            resource_tracker.ensure_running()
        finally:
            sys.warnoptions.remove(silent)
        self._thread.start()

    def ended(self, seconds: float = 0.0) -> bool:
        """Wait until the call has ended, or never began."""
        return self._thread.ident is None or self._ended.wait(seconds)


@contextmanager
def started(spec: ClusterSpec, factory: type) -> Iterator[Client]:
    """Yield a client of the cluster; afterwards no process, thread or file of the cluster is left.

    Raises
    ------
    JobError
        If the class does not take its arguments.
    ClusterError
        If the cluster does not start in time.
    """
    with _arguments(spec) as kwargs:
        cluster = _Cluster(spec, factory, kwargs)
        try:
            yield cluster.open()
        except BaseException:
            cluster.close(quickly=True)
            raise
        cluster.close(quickly=False)


@contextmanager
def _arguments(spec: ClusterSpec) -> Iterator[Mapping[str, Any]]:
    """Add what a cluster of this machine gets: keys of the run, and a scratch folder that ends with it."""
    if not spec.is_local:
        yield spec.kwargs
        return
    kwargs = dict(spec.kwargs)
    if kwargs.get("security") is True:
        kwargs["security"] = keys_of_a_run()
    base = dask.config.get("temporary-directory", None)
    with (
        tempfile.TemporaryDirectory(prefix="outgrad-", dir=base, ignore_cleanup_errors=True) as scratch,
        dask.config.set({"temporary-directory": scratch}),
    ):
        yield kwargs


class _Cluster:
    """A cluster that may be half started, half closed, or hang in either."""

    def __init__(self, spec: ClusterSpec, factory: type, kwargs: Mapping[str, Any]) -> None:
        self._spec = spec
        self._factory: Any = factory
        self._kwargs = kwargs
        # As type.__call__ does it, in two steps: what hangs while it starts can be found and ended.
        self._cluster: Any = factory.__new__(factory, *spec.args, **kwargs)
        self._client: Client | None = None
        self._opening = Call(self._open)

    def open(self) -> Client:
        spec = self._spec
        with _silent():
            self._opening.start()
            in_time = self._opening.ended(spec.wait_seconds)
        if not in_time:
            count = len(getattr(self._cluster, "scheduler_info", {}).get("workers", ()))
            workers = f"{count} of {spec.workers.count} workers" if spec.is_local else f"{count} workers"
            raise ClusterError(
                f"{spec.source}: {spec.class_name} did not start in {spec.wait_seconds:g} s: {workers} "
                "connected; look for a process that is stopped or a machine that is too busy, or allow a "
                "longer 'wait'"
            )
        if (error := self._opening.error) is not None:
            cause = error.__cause__ or error
            problem = f"{spec.source}: {spec.class_name} did not start: {str(cause) or type(cause).__name__}"
            kind = JobError if isinstance(cause, _WRONG_VALUES) else ClusterError
            raise kind(problem) from error
        assert self._client is not None, "it was opened"
        return self._client

    def _open(self) -> None:
        self._factory.__init__(self._cluster, *self._spec.args, **self._kwargs)
        if self._spec.adapt:
            self._cluster.adapt(**self._spec.adapt)
        self._client = Client(self._cluster, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]

    def close(self, *, quickly: bool) -> None:
        """Close in order, or after a failure at once: what the workers hold is of no use then."""
        is_local = self._spec.is_local
        closing = Call(self._close)
        with _silent():
            try:
                closing.start()
                if is_local and not quickly:
                    closing.ended(CLOSE_SECONDS)
            finally:  # after Ctrl-C too
                deadline = time.monotonic() + (KILLED_SECONDS if is_local else BATCH_SECONDS)
                while not closing.ended(0.02) and time.monotonic() < deadline:
                    if is_local:
                        self._kill_workers()
        if not closing.ended() and not is_local:
            warnings.warn(
                f"{self._spec.source}: {self._spec.class_name} did not close in {BATCH_SECONDS:g} s; "
                "batch jobs may be left: cancel them",
                stacklevel=2,
            )

    def _close(self) -> None:
        self._opening.ended(KILLED_SECONDS)
        with suppress(Exception):
            if self._client is not None:
                self._client.close()  # type: ignore[no-untyped-call]
        with suppress(Exception):  # one that did not start may have closed itself
            self._cluster.close()

    def _kill_workers(self) -> None:
        """Kill every worker that can be found: a process that is stopped answers to nothing else."""
        with suppress(RuntimeError):  # another one is just being made; it is found the next time
            for nanny in list(getattr(self._cluster, "_created", ())):
                if not isinstance(nanny, Nanny):
                    continue
                if nanny.status is Status.running:
                    nanny.close_gracefully()  # otherwise it starts another worker
                with suppress(AttributeError, OSError):  # the process has just ended
                    if (pid := nanny.pid) is not None:
                        os.kill(pid, signal.SIGKILL)


@contextmanager
def _silent() -> Iterator[None]:
    """Let distributed log nothing: what goes wrong at the start and the end is reported in one line."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(nothing)
