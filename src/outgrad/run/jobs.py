"""Job files: read and check them, and build what they describe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from outgrad.errors import ArchiveError, JobError, OutgradError
from outgrad.labels.labels import Labels
from outgrad.operations import public_operations
from outgrad.run.arguments import (
    ArgumentError,
    LabelsArgument,
    Operations,
    Reference,
    StepNames,
    StepOperation,
    find_operation,
)
from outgrad.run.report import explain
from outgrad.run.yaml_file import YamlFile, YamlKeys, listed, nearest, read_yaml
from outgrad.storage import open as open_path
from outgrad.storage.paths import check_suffix, find_location
from outgrad.storage.places import target_path
from outgrad.storage.urls import Location, StoreUrl, is_store_url
from outgrad.tensor.map import TensorMap

JOB_VERSION = 1
SUFFIXES = (".zarr", ".mts", ".npz")
STEP_KEYS = ("name", "op", "args")


class StepEntries(msgspec.Struct):
    """What each step has; all other keys are arguments of the operation."""

    name: str
    op: str
    args: list[Any] = []


class JobEntries(msgspec.Struct, forbid_unknown_fields=True):
    """What a job file holds."""

    version: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    steps: list[StepEntries] = []


@dataclass(frozen=True)
class JobFile:
    """An input or an output: its name in the job and its path."""

    name: str
    path: Location
    line: int

    @cached_property
    def real_path(self) -> Location:
        """The path with its links followed; it need not exist yet."""
        return self.path if isinstance(self.path, StoreUrl) else Path(os.path.realpath(self.path))


@dataclass(frozen=True)
class JobStep:
    """One operation: positional and named arguments are plain data or :class:`Reference`."""

    name: str
    operation: StepOperation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    line: int


@dataclass(frozen=True)
class Job:
    """A checked job: every name it uses exists, every operation gets arguments that it has."""

    path: Path
    inputs: tuple[JobFile, ...]
    steps: tuple[JobStep, ...]
    outputs: tuple[JobFile, ...]

    def place(self, entry: JobFile | JobStep) -> str:
        """Where the file says this, for messages: ``job.yaml:4: step 'h'``."""
        role = "step" if isinstance(entry, JobStep) else "input" if entry in self.inputs else "output"
        return f"{self.path.name}:{entry.line}: {role} {entry.name!r}"


def read_job(path: str | Path, operations: Operations | None = None) -> Job:
    """Read and check a job file without opening its inputs.

    Parameters
    ----------
    path : str or Path
        The YAML file. Paths in it are relative to its folder.
    operations : mapping of str to operation, optional
        Operations that steps can use; the default is every public operation on maps.

    Returns
    -------
    Job
        The inputs, steps and outputs.

    Raises
    ------
    JobError
        If the file is invalid; the message is one line with the file, the line and what is valid there.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> from pathlib import Path
    >>> og.save("rho.mts", og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((4, 2)))]))
    >>> steps = "steps: [{name: h, op: multiply, args: [rho, rho]}]"
    >>> text = f"version: 1\\ninputs: {{rho: rho.mts}}\\n{steps}\\noutputs: {{h: h.zarr}}\\n"
    >>> _ = Path("job.yaml").write_text(text)
    >>> [output.name for output in og.run.read_job("job.yaml").outputs]
    ['h']
    """
    file = read_yaml(path, "the job", JobEntries)
    if file.entries.version != JOB_VERSION:
        problem = f"version {file.entries.version} is not known to this release; it reads {JOB_VERSION}"
        raise file.error(("version",), problem)
    inputs = _files(file, "input", file.entries.inputs)
    steps = _steps(file, inputs, public_operations() if operations is None else operations)
    outputs = _files(file, "output", file.entries.outputs)
    _check_outputs(file, inputs, steps, outputs)
    return Job(file.path, inputs, steps, outputs)


def _files(file: YamlFile[JobEntries], role: str, paths: Mapping[str, str]) -> tuple[JobFile, ...]:
    if not paths:
        raise file.error((f"{role}s",), f"the job has no {role}s; name at least one")
    files = []
    for name, text in paths.items():
        keys, what = (f"{role}s", name), f"{role} {name!r}"
        _check_name(file, keys, what, name)
        if Path(text).suffix not in SUFFIXES and not is_store_url(text):
            raise file.error(keys, f"{what}: {text!r} must end in one of {listed(SUFFIXES)}")
        try:
            path = find_location(f"{what}:", text, file.path.parent)
            if isinstance(path, StoreUrl):
                check_suffix(f"{what}:", path)
            else:
                path = path.absolute()
            if role == "output":
                target_path(f"{what}:", path)
        except ArchiveError as error:
            raise file.error(keys, str(error)) from None
        except (OSError, ValueError, RuntimeError) as error:
            raise file.error(keys, f"{what}: {text!r} is not a usable path: {error}") from None
        files.append(JobFile(name, path, file.lines[keys]))
    return tuple(files)


def _check_name(file: YamlFile[JobEntries], keys: YamlKeys, what: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
        rule = "names start with a letter or _ and go on with letters, digits, _ and -"
        raise file.error(keys, f"{what}: {rule}")


def _steps(
    file: YamlFile[JobEntries], inputs: tuple[JobFile, ...], operations: Operations
) -> tuple[JobStep, ...]:
    earlier = {each.name: each.line for each in inputs}
    lines = dict(earlier)
    # All names come first, so that a reference to a later step can be reported as such.
    for number, entry in enumerate(file.entries.steps):
        _check_name(file, ("steps", number, "name"), f"step {entry.name!r}", entry.name)
        if entry.name in lines:
            problem = f"the name is used already, on line {lines[entry.name]}"
            raise file.error(("steps", number), f"step {entry.name!r}: {problem}")
        lines[entry.name] = file.lines["steps", number]
    steps = []
    for number, entry in enumerate(file.entries.steps):
        named = {key: value for key, value in file.data["steps"][number].items() if key not in STEP_KEYS}
        try:
            operation = find_operation(entry.op, operations)
            args, kwargs = operation.bind(entry.args, named, StepNames(earlier, lines))
        except ArgumentError as error:
            raise file.error(("steps", number, *error.keys), f"step {entry.name!r}: {error}") from None
        steps.append(JobStep(entry.name, operation, args, kwargs, lines[entry.name]))
        earlier[entry.name] = lines[entry.name]
    return tuple(steps)


def _check_outputs(
    file: YamlFile[JobEntries],
    inputs: tuple[JobFile, ...],
    steps: tuple[JobStep, ...],
    outputs: tuple[JobFile, ...],
) -> None:
    """Outputs have names of maps, and archives are folders: two must not be, nor lie in, each other."""
    known = [*(each.name for each in inputs), *(step.name for step in steps)]
    for number, output in enumerate(outputs):
        keys = ("outputs", output.name)
        if output.name not in known:
            problem = f"output {output.name!r} is neither an input nor a step"
            raise file.error(keys, f"{problem}; {nearest(output.name, known)}")
        others = [("input", each) for each in inputs] + [("output", each) for each in outputs[:number]]
        for role, other in others:
            if output.real_path == other.real_path:
                relation = "is also the path of"
            elif other.real_path in output.real_path.parents:
                relation = "lies inside"
            elif output.real_path in other.real_path.parents:
                relation = "contains"
            else:
                continue
            problem = f"output {output.name!r}: {output.path.name} {relation} {role} {other.name!r}"
            raise file.error(keys, f"{problem} (line {other.line}); choose another path")


def build(job: Job) -> dict[str, TensorMap]:
    """Open the inputs of a job and apply its steps lazily, without computing anything.

    Parameters
    ----------
    job : Job
        What :func:`read_job` returned.

    Returns
    -------
    dict of str to TensorMap
        The map of each output, by its name in the job.

    Raises
    ------
    OutgradError
        If an input cannot be opened or a step fails; the message includes the line in the job file.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> from pathlib import Path
    >>> og.save("rho.mts", og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((4, 2)))]))
    >>> steps = "steps: [{name: h, op: multiply, args: [rho, rho]}]"
    >>> text = f"version: 1\\ninputs: {{rho: rho.mts}}\\n{steps}\\noutputs: {{h: h.zarr}}\\n"
    >>> _ = Path("job.yaml").write_text(text)
    >>> og.run.build(og.run.read_job("job.yaml"))["h"].block().values.compute()[0]
    array([1., 1.])
    """
    maps = build_all(job)
    return {output.name: maps[output.name] for output in job.outputs}


def build_all(job: Job) -> dict[str, TensorMap]:
    """Like :func:`build`, with the maps of every input and step."""
    maps: dict[str, TensorMap] = {}
    for file in job.inputs:
        with located(job.place(file)):
            maps[file.name] = _map_only(f"{file.path.name} holds", open_path(str(file.path)))
    for step in job.steps:
        with located(job.place(step)):
            args = [_argument(value, maps) for value in step.args]
            kwargs = {key: _argument(value, maps) for key, value in step.kwargs.items()}
            result = step.operation.function(*args, **kwargs)
            maps[step.name] = _map_only(f"{step.operation.name} gave", result)
    return maps


@contextmanager
def located(location: str) -> Iterator[None]:
    """Put file, line and name in front of the message of any error in the block.

    Raises
    ------
    OutgradError
        Of the class that was raised; :class:`ArchiveError` for an error of the system, and :class:`JobError`
        for any other, since the job file asked for it.
    """
    try:
        yield
    except OutgradError as error:
        raise type(error)(f"{location}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{location}: {explain(error)}") from error
    except Exception as error:
        raise JobError(f"{location}: {explain(error)}") from error


def _argument(value: Any, maps: Mapping[str, TensorMap]) -> Any:
    if isinstance(value, Reference):
        return maps[value.name]
    if isinstance(value, list):
        return [_argument(item, maps) for item in value]
    if isinstance(value, LabelsArgument):
        table = np.array(value.values, dtype=np.int64).reshape(-1, len(value.names))
        return Labels(list(value.names), table)
    return value


def _map_only(source: str, result: Any) -> TensorMap:
    if not isinstance(result, TensorMap):
        raise JobError(f"{source} a {type(result).__name__}; a job works on TensorMaps")
    return result
