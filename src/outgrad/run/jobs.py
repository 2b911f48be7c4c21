"""Job files: read and check them, and build what they describe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.errors import ArchiveError, JobError, OutgradError, PathError
from outgrad.labels.labels import Labels
from outgrad.operations import public_operations
from outgrad.run.arguments import ArgumentError, LabelsArgument, Names, Operation, Operations, Reference
from outgrad.run.document import Document, Value, listed, nearest, read_document
from outgrad.run.report import explain
from outgrad.storage import open as open_path
from outgrad.storage.paths import local_path
from outgrad.storage.places import target_path
from outgrad.tensor.map import TensorMap

JOB_VERSION = 1
SUFFIXES = (".zarr", ".mts", ".npz")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class File:
    """An input or an output: its name in the job and its path."""

    name: str
    path: Path
    line: int

    @property
    def place(self) -> Path:
        """Where it lies when links are followed; there may be nothing yet."""
        return Path(os.path.realpath(self.path))


@dataclass(frozen=True)
class Step:
    """One operation: positional and named arguments are plain data or :class:`Reference`."""

    name: str
    operation: Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    line: int


@dataclass(frozen=True)
class Job:
    """A checked job: every name it uses exists, every operation gets arguments that it has."""

    path: Path
    inputs: tuple[File, ...]
    steps: tuple[Step, ...]
    outputs: tuple[File, ...]

    def place(self, entry: File | Step) -> str:
        """Where the file says this, for messages: ``job.yaml:4: step 'h'``."""
        role = "step" if isinstance(entry, Step) else "input" if entry in self.inputs else "output"
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
    document = read_document(path, "the job")
    entries = document.mapping(document.root, "the job", ("version", "inputs", "outputs"), ("steps",))
    _check_version(document, entries["version"])
    inputs = _files(document, entries["inputs"], "input")
    steps = _steps(
        document, entries.get("steps"), inputs, public_operations() if operations is None else operations
    )
    outputs = _files(document, entries["outputs"], "output")
    _check_outputs(document, inputs, steps, outputs)
    return Job(document.path, inputs, steps, outputs)


def _check_version(document: Document, value: Value) -> None:
    version = document.expect(value, int, "version")
    if version != JOB_VERSION:
        raise document.error(
            value.line, f"version {version} is not known to this release; it reads {JOB_VERSION}"
        )


def _files(document: Document, value: Value, role: str) -> tuple[File, ...]:
    entries = document.expect(value, dict, f"{role}s")
    if not entries:
        raise document.error(value.line, f"the job has no {role}s; name at least one")
    return tuple(_file(document, name, entry, role) for name, entry in entries.items())


def _file(document: Document, name: str, value: Value, role: str) -> File:
    what = f"{role} {name!r}"
    _check_name(document, name, value.line, role)
    text = document.expect(value, str, f"the path of {what}")
    if Path(text).suffix not in SUFFIXES:
        raise document.error(value.line, f"{what}: {text!r} must end in one of {listed(SUFFIXES)}")
    file = File(name, _resolved(document, text, value.line, what), value.line)
    if role == "output":
        try:
            target_path(f"{what}:", file.path)
        except ArchiveError as error:
            raise document.error(value.line, str(error)) from None
    return file


def _resolved(document: Document, text: str, line: int, what: str) -> Path:
    try:
        return local_path(f"{what}:", text, document.path.parent).absolute()
    except PathError as error:
        raise document.error(line, str(error)) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise document.error(line, f"{what}: {text!r} is not a usable path: {error}") from None


def _check_name(document: Document, name: str, line: int, role: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "names start with a letter or _ and go on with letters, digits, _ and -"
        raise document.error(line, f"{role} {name!r}: {rule}")


def _steps(
    document: Document, value: Value | None, inputs: tuple[File, ...], operations: Operations
) -> tuple[Step, ...]:
    if value is None:
        return ()
    items = document.expect(value, list, "steps")
    lines = {file.name: file.line for file in inputs}
    headers = [_header(document, item, number) for number, item in enumerate(items)]
    for name, item in zip(headers, items, strict=True):
        if name in lines:
            raise document.error(item.line, f"step {name!r}: the name is used already, on line {lines[name]}")
        lines[name] = item.line
    known = tuple(file.name for file in inputs)
    steps = []
    for position, (name, item) in enumerate(zip(headers, items, strict=True)):
        names = Names(
            known + tuple(headers[:position]), {later: lines[later] for later in headers[position:]}
        )
        steps.append(_step(document, name, item, names, operations))
    return tuple(steps)


def _header(document: Document, item: Value, number: int) -> str:
    """The name of a step, read before the step itself so that messages can tell about later steps."""
    entries = document.expect(item, dict, f"step number {number + 1}")
    if "name" not in entries:
        raise document.error(item.line, f"step number {number + 1} has no 'name'; it needs name, op, args")
    name: str = document.expect(entries["name"], str, f"the name of step number {number + 1}")
    _check_name(document, name, entries["name"].line, "step")
    return name


def _step(document: Document, name: str, item: Value, names: Names, operations: Operations) -> Step:
    entries = dict(item.data)
    del entries["name"]
    operation = _operation(document, name, item, entries.pop("op", None), operations)
    positional = entries.pop("args", Value([], item.line))
    arguments = document.expect(positional, list, f"step {name!r}: args")
    try:
        args, kwargs = operation.bind(item.line, arguments, entries, names)
    except ArgumentError as error:
        raise document.error(error.line, f"step {name!r}: {error}") from None
    return Step(name, operation, args, kwargs, item.line)


def _operation(
    document: Document, name: str, item: Value, value: Value | None, operations: Operations
) -> Operation:
    if value is None:
        raise document.error(item.line, f"step {name!r} has no 'op'; it needs name, op, args")
    word = document.expect(value, str, f"step {name!r}: op")
    if word not in operations:
        message = f"unknown operation {word!r}; {nearest(word, sorted(operations))}"
        raise document.error(value.line, f"step {name!r}: {message}")
    operation = Operation(word, operations[word])
    if not operation.gives_map:
        raise document.error(value.line, f"step {name!r}: {word} does not give a TensorMap; a step must")
    return operation


def _check_outputs(
    document: Document, inputs: tuple[File, ...], steps: tuple[Step, ...], outputs: tuple[File, ...]
) -> None:
    known = [file.name for file in inputs] + [step.name for step in steps]
    for number, output in enumerate(outputs):
        if output.name not in known:
            message = f"output {output.name!r} is no input and no step; {nearest(output.name, known)}"
            raise document.error(output.line, message)
        for role, others in (("input", inputs), ("output", outputs[:number])):
            _check_apart(document, output, role, others)


def _check_apart(document: Document, output: File, role: str, others: tuple[File, ...]) -> None:
    """An archive is a folder: two of them must not share it, nor lie in each other."""
    for other in others:
        if output.place == other.place:
            relation = "is also the path of"
        elif other.place in output.place.parents:
            relation = "lies inside"
        elif output.place in other.place.parents:
            relation = "contains"
        else:
            continue
        message = f"output {output.name!r}: {output.path.name} {relation} {role} {other.name!r}"
        raise document.error(output.line, f"{message} (line {other.line}); choose another path")


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
    """The same as :func:`build`, with every input and step."""
    maps: dict[str, TensorMap] = {}
    for file in job.inputs:
        with located(job.place(file)):
            maps[file.name] = _checked(f"{file.path.name} holds", open_path(file.path))
    for step in job.steps:
        with located(job.place(step)):
            maps[step.name] = _checked(f"{step.operation.name} gave", _applied(step, maps))
    return maps


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put file, line and name before the message of whatever goes wrong in the block.

    Raises
    ------
    OutgradError
        Of the class that was raised; :class:`ArchiveError` of an error of the system, and :class:`JobError`
        of any other, since the job file asked for it.
    """
    try:
        yield
    except OutgradError as error:
        raise type(error)(f"{place}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{place}: {explain(error)}") from error
    except Exception as error:
        raise JobError(f"{place}: {explain(error)}") from error


def _applied(step: Step, maps: Mapping[str, TensorMap]) -> Any:
    args = [_value(argument, maps) for argument in step.args]
    kwargs = {key: _value(argument, maps) for key, argument in step.kwargs.items()}
    return step.operation.function(*args, **kwargs)


def _value(argument: Any, maps: Mapping[str, TensorMap]) -> Any:
    if isinstance(argument, Reference):
        return maps[argument.name]
    if isinstance(argument, list):
        return [_value(item, maps) for item in argument]
    if isinstance(argument, LabelsArgument):
        values = np.array(argument.values, dtype=np.int64).reshape(-1, len(argument.names))
        return Labels(list(argument.names), values)
    return argument


def _checked(found: str, result: Any) -> TensorMap:
    if not isinstance(result, TensorMap):
        raise JobError(f"{found} a {type(result).__name__}; a job works on TensorMaps")
    return result
