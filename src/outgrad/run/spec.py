"""Where a job runs: cluster specifications and addresses of running schedulers."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import dask
from dask.utils import parse_bytes, parse_timedelta
from distributed.system import MEMORY_LIMIT

from outgrad.errors import JobError
from outgrad.graph.workers import Workers, spills
from outgrad.run.document import Document, Value, document_path, read_document, shown

DEFAULT_WAIT_SECONDS = 600.0
MACHINE_SHARE = 0.8
"""Part of the machine's memory that the workers of the embedded cluster share."""

_COUNTS = ("n_workers", "threads_per_worker", "cores", "processes", "minimum", "maximum")
_SIZES = ("memory_limit", "memory")
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster to start: ``class_name(*args, **kwargs)`` of ``module``."""

    source: str
    """Name of the file, for messages."""
    module: str
    class_name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of Dask by dotted name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    adapt: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``cluster.adapt``, or nothing to call it with."""
    wait_seconds: float = DEFAULT_WAIT_SECONDS

    @property
    def is_local(self) -> bool:
        """Whether closing the cluster ends its processes at once; batch jobs go on for a moment."""
        return self.class_name == "LocalCluster"

    @property
    def workers(self) -> Workers:
        """Number, memory limit and threads of the workers, as far as the file tells.

        A ``LocalCluster`` has them for each worker, the classes of dask-jobqueue for all processes of a
        batch job together.
        """
        count = int(self.kwargs.get("n_workers") or 1)
        with dask.config.set(self.config):
            spilled = spills()
        if "cores" in self.kwargs and "memory" in self.kwargs:
            processes = int(self.kwargs.get("processes") or 1)
            limit: int | None = parse_bytes(self.kwargs["memory"]) // processes
            threads = int(self.kwargs["cores"]) // processes or 1
        else:
            limit = _worker_limit(self.kwargs.get("memory_limit"))
            threads = int(self.kwargs.get("threads_per_worker") or 1)
        return Workers(count, threads, limit_bytes=limit, spills=spilled)


@dataclass(frozen=True)
class SchedulerAddress:
    """A running scheduler: ``tcp://…``, ``tls://…`` or the file that it wrote with ``--scheduler-file``."""

    address: str | None = None
    file: Path | None = None
    wait_seconds: float = DEFAULT_WAIT_SECONDS

    @property
    def source(self) -> str:
        return self.address or str(self.file)


Where = ClusterSpec | SchedulerAddress


def _worker_limit(limit: Any) -> int | None:
    """Read a memory limit as distributed does: bytes, text with a unit, or a share of the machine."""
    if limit is None or limit == "auto":
        return None
    number = parse_bytes(limit) if isinstance(limit, str) else float(limit)
    number = number * MEMORY_LIMIT if number <= 1 else number
    return min(int(number), MEMORY_LIMIT)


def embedded(
    workers: int | None = None,
    threads: int | None = None,
    memory_limit: int | None = None,
    *,
    dashboard: bool = True,
) -> ClusterSpec:
    """Return the specification of a cluster on this machine.

    Parameters
    ----------
    workers : int, optional
        Number of worker processes; the default is 2.
    threads : int, optional
        Threads per worker; the default is 1.
    memory_limit : int, optional
        Bytes per worker; the default is an equal share of 0.8 of the memory of the machine.
    dashboard : bool
        Whether to serve the dashboard on the loopback interface; starting without it is half a second faster.

    Returns
    -------
    ClusterSpec
        A specification for :func:`outgrad.run.run_job`.

    Examples
    --------
    >>> import outgrad as og
    >>> og.run.embedded(workers=4).kwargs["n_workers"]
    4
    """
    with resources.as_file(resources.files("outgrad.run") / "local.yaml") as path:
        spec = read_spec_file(path)
    kwargs = dict(spec.kwargs)
    if workers is not None:
        kwargs.update(n_workers=workers, memory_limit=MACHINE_SHARE / workers)
    if threads is not None:
        kwargs["threads_per_worker"] = threads
    if memory_limit is not None:
        kwargs["memory_limit"] = memory_limit
    if dashboard:
        return replace(spec, kwargs=kwargs)
    kwargs["scheduler_kwargs"] = {"dashboard": False}  # without an address it would serve on all interfaces
    return replace(spec, kwargs=kwargs, config={**spec.config, "distributed.scheduler.http.routes": []})


def read_where(text: str | Path | None) -> Where:
    """Read the value of ``--cluster``: a specification file, an address, a scheduler file or None.

    Parameters
    ----------
    text : str, Path or None
        ``*.yaml`` for a specification, ``tcp://host:port`` for a scheduler, ``*.json`` for a scheduler file,
        or None for the cluster of :func:`outgrad.run.embedded`.

    Returns
    -------
    ClusterSpec or SchedulerAddress
        A cluster to start, or a running scheduler.

    Raises
    ------
    JobError
        If ``text`` is none of these, or the file is invalid.

    Examples
    --------
    >>> import outgrad as og
    >>> og.run.read_where("tcp://10.0.0.1:8786").address
    'tcp://10.0.0.1:8786'
    """
    if text is None:
        return embedded()
    if _ADDRESS.fullmatch(str(text)):
        return SchedulerAddress(address=str(text))
    path = document_path(text, "the cluster")
    if path.suffix == ".json":
        return _scheduler_file(path)
    if path.suffix in (".yaml", ".yml"):
        return read_spec_file(path)
    forms = "a specification (*.yaml), an address (tcp://host:port) or a scheduler file (*.json)"
    raise JobError(f"cluster {str(text)!r}: expected {forms}")


def _scheduler_file(path: Path) -> SchedulerAddress:
    """distributed would wait for the file without end."""
    if not path.is_file():
        raise JobError(f"cluster {str(path)!r}: there is no such scheduler file; is the scheduler running?")
    return SchedulerAddress(file=path)


def read_spec_file(path: Path) -> ClusterSpec:
    """Read and check a specification; nothing is imported.

    Raises
    ------
    JobError
        In one line: file, line, what is wrong.
    """
    document = read_document(path, "the cluster specification")
    optional = ("args", "kwargs", "adapt", "config", "environment", "wait")
    entries = document.mapping(document.root, "the cluster specification", ("module", "class"), optional)

    def collection(key: str, kind: type) -> Value:
        entry: Value = entries.get(key, Value(kind(), 1))
        document.expect(entry, kind, key)
        return entry

    return ClusterSpec(
        source=path.name,
        module=_dotted(document, entries["module"], "module"),
        class_name=_dotted(document, entries["class"], "class"),
        args=tuple(collection("args", list).plain()),
        kwargs=_checked(document, "kwargs", collection("kwargs", dict)),
        adapt=_checked(document, "adapt", collection("adapt", dict)),
        config=dict(_flat(collection("config", dict).plain())),
        environment=_environment(document, collection("environment", dict)),
        wait_seconds=_seconds(document, entries.get("wait")),
    )


def _checked(document: Document, what: str, values: Value) -> Any:
    """Check what is known of all classes: numbers of workers and threads, and memory."""
    for name, value in values.data.items():
        if name in _COUNTS and value.data is not None and not _is_count(value.data, least=what == "kwargs"):
            raise document.error(
                value.line, f"{what}: {name} must be a positive whole number, found {shown(value)}"
            )
        if name in _SIZES and not _is_size(value.data):
            raise document.error(
                value.line, f"{what}: {name} must be a size like '16GiB', found {shown(value)}"
            )
    return values.plain()


def _is_count(data: Any, least: int) -> bool:
    """``processes: true`` is of a LocalCluster."""
    return isinstance(data, bool) or (isinstance(data, int) and least <= data < 2**31)


def _is_size(data: Any) -> bool:
    """As distributed reads it; text without a unit is bytes."""
    if data is None or data == "auto":
        return True
    try:
        size = float(parse_bytes(data)) if isinstance(data, str) else float(data)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(data, bool) and 0 < size < 2**63


def _dotted(document: Document, value: Value, what: str) -> str:
    text: str = document.expect(value, str, what)
    if not all(part.isidentifier() for part in text.split(".")):
        raise document.error(value.line, f"{what} must be a Python name, found {shown(value)}")
    return text


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Name every leaf with dots: setting a whole branch would remove its other leaves."""
    leaves: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves += _flat(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return leaves


def _environment(document: Document, value: Value) -> dict[str, str]:
    variables = {}
    for name, entry in value.data.items():
        if not _VARIABLE.fullmatch(name):
            raise document.error(entry.line, f"environment: {name!r} cannot be the name of a variable")
        if type(entry.data) not in (str, int, float):
            raise document.error(
                entry.line, f"environment: {name} must be text or a number, found {entry.kind}"
            )
        variables[name] = _variable(document, name, entry)
    return variables


def _variable(document: Document, name: str, entry: Value) -> str:
    text = str(entry.data)
    try:
        usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise document.error(entry.line, f"environment: {name} holds a character that no variable can hold")
    return text


def _seconds(document: Document, value: Value | None) -> float:
    if value is None:
        return DEFAULT_WAIT_SECONDS
    try:
        seconds = float(parse_timedelta(value.data, default="s"))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        seconds = 0.0
    if isinstance(value.data, bool) or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise document.error(value.line, f"wait must be a time like '10 minutes', found {shown(value)}")
    return seconds
