"""Where a job runs: cluster specifications and addresses of running schedulers."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import dask
import msgspec
from dask.utils import parse_bytes, parse_timedelta
from distributed.system import MEMORY_LIMIT

from outgrad.errors import JobError
from outgrad.graph.workers import Workers, spills
from outgrad.run.yaml_file import YamlFile, in_words, path_to_read, read_yaml

DEFAULT_WAIT_SECONDS = 600.0
MACHINE_SHARE = 0.8
"""Part of the machine's memory that the workers of the embedded cluster share."""

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+")


AtLeastOne = Annotated[int, msgspec.Meta(ge=1, lt=2**31)] | None
CountOrZero = Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None


class KnownKwargs(msgspec.Struct, frozen=True):
    """Arguments that mean the same in all classes, but for ``processes``: a LocalCluster has it or not."""

    n_workers: AtLeastOne = None
    threads_per_worker: AtLeastOne = None
    cores: AtLeastOne = None
    processes: AtLeastOne | bool = None


class KnownAdapt(msgspec.Struct, frozen=True):
    """Arguments of ``cluster.adapt`` that are numbers of workers."""

    minimum: CountOrZero = None
    maximum: CountOrZero = None


class SpecEntries(msgspec.Struct, forbid_unknown_fields=True):
    """What a specification file holds."""

    module: str
    class_name: str = msgspec.field(name="class")
    args: list[Any] = []
    kwargs: KnownKwargs = KnownKwargs()
    adapt: KnownAdapt = KnownAdapt()
    config: dict[str, Any] = {}
    environment: dict[str, str | int | float] = {}
    wait: str | int | float = DEFAULT_WAIT_SECONDS


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
        """Number, memory limit and threads of the workers, as far as the file says.

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
            # As distributed reads it: bytes, text with a unit, or up to 1 a share of the machine.
            limit, text = None, self.kwargs.get("memory_limit")
            if text is not None and text != "auto":
                number = parse_bytes(text) if isinstance(text, str) else float(text)
                limit = min(int(number * MEMORY_LIMIT if number <= 1 else number), MEMORY_LIMIT)
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
    path = path_to_read(text, "the cluster")
    if path.suffix == ".json":
        if not path.is_file():  # distributed would wait for it without end
            raise JobError(
                f"cluster {str(path)!r}: there is no such scheduler file; is the scheduler running?"
            )
        return SchedulerAddress(file=path)
    if path.suffix in (".yaml", ".yml"):
        return read_spec_file(path)
    forms = "a specification (*.yaml), an address (tcp://host:port) or a scheduler file (*.json)"
    raise JobError(f"cluster {str(text)!r}: expected {forms}")


def read_spec_file(path: Path) -> ClusterSpec:
    """Read and check a specification; nothing is imported.

    Raises
    ------
    JobError
        In one line: file, line, what is wrong.
    """
    file = read_yaml(path, "the cluster specification", SpecEntries)
    entries, kwargs = file.entries, file.data.get("kwargs", {})
    for key, name in (("module", entries.module), ("class", entries.class_name)):
        if not all(part.isidentifier() for part in name.split(".")):
            raise file.error((key,), f"{key} must be a Python name, found {in_words(name)}")
    for key in ("memory_limit", "memory"):
        if not _is_size(kwargs.get(key)):
            found = in_words(kwargs[key])
            raise file.error(("kwargs", key), f"kwargs.{key} must be a size such as '16GiB', found {found}")
    try:
        seconds = float(parse_timedelta(entries.wait, default="s"))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        seconds = 0.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise file.error(
            ("wait",), f"wait must be a time such as '10 minutes', found {in_words(entries.wait)}"
        )
    return ClusterSpec(
        source=file.path.name,
        module=entries.module,
        class_name=entries.class_name,
        args=tuple(entries.args),
        kwargs=kwargs,
        adapt=file.data.get("adapt", {}),
        config=_dotted_settings(entries.config),
        environment=_checked_environment(file, entries.environment),
        wait_seconds=seconds,
    )


def _is_size(data: Any) -> bool:
    """Whether distributed can read this; text without a unit is bytes."""
    if data is None or data == "auto":
        return True
    try:
        size = float(parse_bytes(data)) if isinstance(data, str) else float(data)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(data, bool) and 0 < size < 2**63


def _dotted_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name every leaf with dots: setting a branch would remove its other leaves."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves |= _dotted_settings(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return leaves


def _checked_environment(file: YamlFile[SpecEntries], variables: Mapping[str, str | float]) -> dict[str, str]:
    for name, value in variables.items():
        keys = ("environment", name)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise file.error(keys, f"environment: {name!r} cannot be the name of a variable")
        try:
            usable = b"\0" not in os.fsencode(str(value))
        except UnicodeEncodeError:
            usable = False
        if not usable:
            raise file.error(keys, f"environment.{name} holds a character that no variable can hold")
    return {name: str(value) for name, value in variables.items()}
