"""Run a job: build it, project its memory, compute all outputs at once, and make them visible or remove them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Client, as_completed
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker
from rich.console import Console

from outgrad.archive import Store, plan_save
from outgrad.errors import ClusterError
from outgrad.lazy.collection import optimize
from outgrad.plan.requests import Written
from outgrad.run import watch
from outgrad.run.cluster import connect, wait_for_worker
from outgrad.run.jobs import build, read_job
from outgrad.run.report import Projection, Summary, explain
from outgrad.run.spec import ClusterSpec, Where, read_where

DRAIN_SECONDS = 30.0
"""How long to wait for tasks that still run when a job is stopped: they write files that must be removed."""

Advance = Callable[[int, str], None]


def run_job(
    path: str | Path,
    cluster: str | Path | Where | None = None,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> Summary:
    """Run a job file.

    All outputs are computed together, so that shared steps run once. They become visible when all of them
    are whole; if anything fails, nothing is left of any of them.

    Parameters
    ----------
    path
        The job file.
    cluster
        A specification file, the address of a running scheduler, its scheduler file, or what
        :func:`outgrad.run.embedded` returns; by default two processes on this machine.
    dry_run
        Only tell the plan; nothing is written and no cluster is started.
    overwrite
        Replace outputs that exist. They stay until the new ones are whole.
    console
        Where to show progress; nothing is shown without.

    Returns
    -------
    Summary
        Wall time, bytes, and the peak memory of each worker; for a dry run the plan alone.

    Raises
    ------
    JobError
        If the job file or the specification cannot be used.
    MemoryLimitError
        If the workers would not have enough memory; nothing was started.
    ClusterError
        If the cluster does not start, or was lost while the job ran.
    """
    where = cluster if isinstance(cluster, Where) else read_where(cluster)
    job = read_job(path)
    maps = build(job)
    stores = [plan_save(output.path, maps[output.name], overwrite=overwrite) for output in job.outputs]
    paths = tuple(output.path for output in job.outputs)
    graph, keys = _merged(stores)
    projection = _projection(stores, len(graph), where)
    if dry_run:
        return Summary(projection, paths, 0.0, (), (), is_dry=True)
    projection.check()
    with connect(where) as client:
        return _run(client, where, stores, graph, paths, projection, console)
