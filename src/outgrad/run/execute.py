"""Run a job: build it, project its memory, compute all outputs at once, and commit them or remove them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed
from rich.console import Console

from outgrad._signals import deferred, stopping_cleanly
from outgrad.data.requests import Written
from outgrad.errors import ArchiveExistsError, ClusterError
from outgrad.graph.computing import stop_tasks
from outgrad.graph.dask_names import Key
from outgrad.graph.fuse import optimize
from outgrad.graph.lazy_blocks import part_sizes
from outgrad.graph.memory import project
from outgrad.graph.workers import Workers, connected_workers
from outgrad.run import watch
from outgrad.run.cluster import connect, wait_for_worker
from outgrad.run.jobs import Job, build_all, located, read_job
from outgrad.run.report import Projection, Summary, explain, is_lost, reaching_cluster
from outgrad.run.show import Screen, dashboard
from outgrad.run.spec import ClusterSpec, SchedulerAddress, Where, embedded, read_where
from outgrad.storage import PlannedSave, commit_all, merged_graph, plan_save, removed_on_failure
from outgrad.storage.places import exists
from outgrad.storage.publishing import warn_of
from outgrad.storage.urls import Location


@dataclass(frozen=True)
class Plan:
    """A job that is ready to run."""

    stores: tuple[PlannedSave, ...]
    locations: tuple[str, ...]
    """Where the job file names each output, for messages."""
    graph: Mapping[Key, Any]
    projection: Projection

    @property
    def outputs(self) -> tuple[Location, ...]:
        return tuple(store.path for store in self.stores)

    @property
    def keys(self) -> list[Key]:
        return [key for store in self.stores for key in store.keys]

    @property
    def bytes_by_key(self) -> dict[Key, int]:
        """Bytes that are written when a key is done."""
        return {
            key: nbytes
            for store in self.stores
            for key, nbytes in zip(store.keys, store.tasks.nbytes, strict=True)
        }


def run_job(
    path: str | Path,
    cluster: str | Path | Where | Client | None = None,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> Summary:
    """Run a job file.

    All outputs are computed together, so shared steps run once. They become visible when all of them are
    complete; if anything fails before, no output is left.

    Parameters
    ----------
    path : str or Path
        The job file.
    cluster : str, Path, ClusterSpec, SchedulerAddress or distributed.Client, optional
        A specification file, the address of a running scheduler, its scheduler file, the result of
        :func:`outgrad.run.embedded`, or a client. The default is two processes on this machine.
    dry_run : bool
        Only plan the job: nothing is written and no cluster is started.
    overwrite : bool
        Replace existing outputs. They stay until the new ones are complete.
    console : rich.console.Console, optional
        Where to show progress; by default nothing is shown.

    Returns
    -------
    Summary
        Wall time, bytes, and the peak memory of each worker; for a dry run only the projection.

    Raises
    ------
    JobError
        If the job file or the specification is invalid.
    ArchiveExistsError
        If an output exists and ``overwrite`` is not set.
    MemoryLimitError
        If the workers do not have enough memory for the job; no task was started.
    ClusterError
        If the cluster does not start, or is lost while the job runs.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> from pathlib import Path
    >>> og.save("rho.mts", og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((4, 2)))]))
    >>> steps = "steps: [{name: h, op: multiply, args: [rho, rho]}]"
    >>> text = f"version: 1\\ninputs: {{rho: rho.mts}}\\n{steps}\\noutputs: {{h: h.zarr}}\\n"
    >>> _ = Path("job.yaml").write_text(text)
    >>> summary = og.run.run_job("job.yaml", dry_run=True)
    >>> summary.projection.tasks, summary.projection.fits
    (1, True)
    """
    if cluster is None:
        where: Where | Client = embedded(dashboard=console is not None)
    else:
        where = (
            cluster if isinstance(cluster, ClusterSpec | SchedulerAddress | Client) else read_where(cluster)
        )
    plan = plan_job(read_job(path), where, overwrite=overwrite)
    if dry_run:
        return Summary(plan.projection, plan.outputs)
    plan.projection.check()
    summaries: list[Summary] = []
    with (
        stopping_cleanly(),
        _failures_after_writing_as_warnings(summaries),
        removed_on_failure(plan.stores),
        connect(where) as client,
    ):
        summaries.append(_run(client, where, plan, Screen(console)))
    return summaries[0]


@contextmanager
def _failures_after_writing_as_warnings(summaries: Sequence[Summary]) -> Iterator[None]:
    """Warn of what goes wrong while the cluster is closed: the job is done by then."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if summaries:
            interrupt.args = ("interrupted when all outputs were written",)
        raise
    except Exception as error:
        if not summaries:
            raise
        warn_of([f"the cluster could not be closed: {explain(error)}"])


def plan_job(job: Job, where: Where | Client, *, overwrite: bool = False) -> Plan:
    """Build everything that a job does, and project its memory; nothing is computed or written."""
    for file in job.outputs:
        if not overwrite and exists(file.path):  # said before a cluster is started
            with located(job.place(file)):
                raise ArchiveExistsError(
                    f"{file.path.name} exists; choose another path, or pass overwrite=True to replace it"
                )
    maps = build_all(job)
    stores = []
    for file in job.outputs:
        with located(job.place(file)):
            stores.append(plan_save(file.path, maps[file.name], overwrite=overwrite))
    graph = merged_graph(stores)
    keys = [key for store in stores for key in store.keys]
    optimized = optimize(graph, keys)
    inputs = [maps[file.name]._blocks().to_lazy().data for file in job.inputs]
    projection = Projection(
        tasks=len(optimized.groups),
        read_bytes=sum(nbytes for key, nbytes in part_sizes(inputs).items() if key in optimized.needed),
        written_bytes=sum(store.nbytes for store in stores),
        memory=project(graph, optimized),
        workers=where.workers if isinstance(where, ClusterSpec) else Workers(),
    )
    return Plan(tuple(stores), tuple(map(job.place, job.outputs)), optimized.graph, projection)


def _run(client: Client, where: Where | Client, plan: Plan, screen: Screen) -> Summary:
    if address := dashboard(client):
        screen.line(f"dashboard: {address}")
    with reaching_cluster():
        if not isinstance(where, Client):
            wait_for_worker(client, where)
        baseline = watch.worker_states(client)
        watch.check_versions(baseline)
        # What was assumed of the workers is replaced by what they are.
        workers = connected_workers(client) or plan.projection.workers
        base = max((state.resident_bytes for state in baseline), default=workers.base_bytes)
        projection = replace(plan.projection, workers=replace(workers, base_bytes=base))
    projection.check()
    start = time.perf_counter()
    receipts = _compute(client, where, plan, screen)
    commit_all(plan.stores, receipts)
    wall_seconds = time.perf_counter() - start
    states: tuple[watch.WorkerState, ...] = ()
    with suppress(Exception):  # the outputs are there: a cluster that fails now must not make the job fail
        states = tuple(watch.worker_states(client))
    return Summary(projection, plan.outputs, wall_seconds, states, tuple(baseline))


def _compute(client: Client, where: Where | Client, plan: Plan, screen: Screen) -> list[Written]:
    """Submit everything at once, and take the receipts as they come."""
    for location, store in zip(plan.locations, plan.stores, strict=True):
        with located(location):
            store.start()
    futures: list[Future[Any]] = []
    receipts: dict[Key, Written] = {}
    nbytes = plan.bytes_by_key
    try:
        with reaching_cluster(), deferred():  # tasks that were submitted must be known, to be stopped
            futures = client.get(plan.graph, plan.keys, sync=False)  # type: ignore[no-untyped-call]
        with screen.progress_bar(sum(nbytes.values()), client) as advance:
            for future, receipt in as_completed(futures, loop=client.loop, with_results=True):  # type: ignore[no-untyped-call]
                if isinstance(receipt, BaseException):  # futures that were lost give it as their result
                    raise receipt
                receipts[future.key] = receipt
                future.release()
                advance(nbytes[future.key])
    except BaseException as error:
        if not (isinstance(where, ClusterSpec) and where.is_local):
            stop_tasks(client, futures, frozenset(plan.graph))
        if is_lost(error):
            raise ClusterError(explain(error)) from error
        raise
    return [receipts[key] for key in plan.keys]
