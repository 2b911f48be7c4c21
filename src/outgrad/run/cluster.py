"""Start the cluster of a specification, or connect to a running one, and clean up afterwards."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dask
from distributed import Client
from distributed.deploy.cluster import Cluster

from outgrad._signals import handlers_kept
from outgrad.errors import ClusterError, JobError
from outgrad.run.spec import ClusterSpec, SchedulerAddress, Where
from outgrad.run.starting import CONNECT_SECONDS, started

_LEAKED = ("PYTHONHASHSEED",)
"""What nannies set in the process that starts them, besides ``distributed.nanny.pre-spawn-environ``."""


@contextmanager
def connect(where: Where | Client) -> Iterator[Client]:
    """Yield a client of the cluster; what was started here is closed at the end.

    Raises
    ------
    JobError
        If a specification does not name a cluster class.
    ClusterError
        If the cluster does not start or does not answer.
    """
    with ExitStack() as stack:
        if isinstance(where, ClusterSpec):
            stack.enter_context(_settings(where))
            yield stack.enter_context(started(where, cluster_class(where)))
        elif isinstance(where, SchedulerAddress):
            address = {"scheduler_file": str(where.file)} if where.file else {"address": where.address}
            try:
                client = Client(**address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
            except Exception as error:
                raise ClusterError(f"no scheduler answers at {where.source}: {error}") from error
            yield stack.enter_context(client)
        else:
            yield where


def wait_for_worker(client: Client, where: Where) -> None:
    """Wait until a worker is connected.

    Raises
    ------
    ClusterError
        If none connects in the time that the specification allows.
    """
    try:
        client.wait_for_workers(1, timeout=where.wait_seconds)
    except TimeoutError:
        problem = f"{where.source}: no worker after {where.wait_seconds:.0f} s"
        hint = "look at the logs of the batch jobs, or allow a longer 'wait' in the specification"
        raise ClusterError(f"{problem}; {hint}") from None


def cluster_class(spec: ClusterSpec) -> type:
    """Import the class that a specification names.

    Raises
    ------
    JobError
        If there is no such class, or it is not a cluster.
    """
    try:
        # dask_jobqueue 0.9 replaces the handler of Ctrl-C when it is imported: nothing would be closed then
        # (https://github.com/dask/dask-jobqueue/blob/main/dask_jobqueue/runner.py)
        with handlers_kept():
            module = importlib.import_module(spec.module)
    except (ImportError, ValueError) as error:  # ValueError: in a thread it does so too
        extra = " (pip install 'outgrad[slurm]')" if spec.module.startswith("dask_jobqueue") else ""
        raise JobError(f"{spec.source}: cannot import {spec.module!r}{extra}: {error}") from error
    named = getattr(module, spec.class_name, None)
    if not inspect.isclass(named):
        raise JobError(f"{spec.source}: the module {spec.module!r} has no class {spec.class_name!r}")
    if not issubclass(named, Cluster) and not hasattr(named, "scheduler_address"):
        what = f"{spec.module}.{spec.class_name}"
        raise JobError(f"{spec.source}: {what} is not a cluster class such as distributed.LocalCluster")
    return named


@contextmanager
def _settings(spec: ClusterSpec) -> Iterator[None]:
    """Set environment and configuration for as long as the cluster lives: workers may be restarted.

    The environment takes precedence over ``pre-spawn-environ``, and an earlier cluster in this process may
    have written its own values there: setting the configuration alone would not be enough.
    """
    leaked = (*dask.config.get("distributed.nanny.pre-spawn-environ", {}), *_LEAKED)
    before = {name: os.environ.get(name) for name in (*spec.environment, *leaked)}
    os.environ.update(spec.environment)
    try:
        with dask.config.set(dict(spec.config)):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
