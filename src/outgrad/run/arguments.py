"""Check the arguments of one step of a job against the signature of its operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from outgrad.labels.labels import Labels
from outgrad.run.yaml_file import YamlKeys, in_words, listed, nearest
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Operations = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Reference:
    """An argument that stands for an input or an earlier step."""

    name: str


class LabelsArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Labels written in a job as ``{names: [...], values: [[...], ...]}``."""

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]


class ArgumentError(ValueError):
    """An argument that does not fit: the text, and where it is in the step."""

    def __init__(self, keys: YamlKeys, message: str) -> None:
        super().__init__(message)
        self.keys = keys


class StepNames(NamedTuple):
    """Names of maps and the lines that define them: what a step can refer to, and all of the job."""

    earlier: Mapping[str, int]
    all: Mapping[str, int]


@dataclass(frozen=True)
class StepOperation:
    """An operation, its parameters, and the classes that its annotations mention."""

    name: str
    function: Callable[..., Any]

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def classes(self) -> dict[str, frozenset[type]]:
        """Classes in the annotation of each parameter, and of the result under ``return``."""
        hints = get_type_hints(self.function)
        return {name: frozenset(_classes(hint)) for name, hint in hints.items()}

    @property
    def gives_map(self) -> bool:
        """Whether the result can be the input of another step."""
        if get_origin(get_type_hints(self.function).get("return")) in (list, dict):
            return False
        returned = self.classes.get("return", frozenset())
        return TensorMap in returned and returned <= {TensorMap, TensorBlock}

    def bind(
        self, args: Sequence[Any], named: Mapping[str, Any], names: StepNames
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with references in place of names.

        Raises
        ------
        ArgumentError
            If there are too many or too few arguments, or one is unknown or of the wrong kind.
        """
        parameters = self.signature.parameters.values()
        keywords = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        for key in named:
            if key not in keywords:
                raise ArgumentError((key,), f"{self.name} has no argument {key!r}; {nearest(key, keywords)}")
        try:
            self.signature.bind(*args, **named)
        except TypeError as error:
            arguments = listed(self.signature.parameters)
            raise ArgumentError((), f"{self.name}: {error}; its arguments are {arguments}") from None
        # Arguments beyond the positional parameters go to the last of these, which is then ``*maps``.
        positional = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
        slots = positional[: len(args)] + positional[-1:] * (len(args) - len(positional))
        return (
            tuple(self._converted(slots[n], ("args", n), value, names) for n, value in enumerate(args)),
            {key: self._converted(key, (key,), value, names) for key, value in named.items()},
        )

    def _converted(self, parameter: str, keys: YamlKeys, value: Any, names: StepNames) -> Any:
        """Turn names into references where the parameter takes a map, and mappings into labels."""
        classes = self.classes.get(parameter, frozenset())
        what = f"the argument {parameter!r}"
        if TensorMap not in classes:
            is_labels = Labels in classes and isinstance(value, dict)
            return _labels_argument(what, keys, value) if is_labels else value
        if isinstance(value, list):
            return [self._converted(parameter, (*keys, n), item, names) for n, item in enumerate(value)]
        if isinstance(value, str):
            if value in names.earlier:
                return Reference(value)
            if value in names.all:
                problem = f"{what} is the step {value!r} of line {names.all[value]}"
                raise ArgumentError(keys, f"{problem}; a step can use inputs and earlier steps only")
            problem = f"unknown input or step {value!r} for {what}"
            raise ArgumentError(keys, f"{problem}; {nearest(value, names.earlier)}")
        if classes <= {TensorMap, TensorBlock}:
            needed = f"{what} must be the name of an input or an earlier step"
            raise ArgumentError(keys, f"{needed}, found {in_words(value)}")
        return value


def find_operation(name: str, operations: Operations) -> StepOperation:
    """Return the operation that a step names.

    Raises
    ------
    ArgumentError
        If there is none of this name, or its result is not a map.
    """
    if name not in operations:
        raise ArgumentError(("op",), f"unknown operation {name!r}; {nearest(name, sorted(operations))}")
    operation = StepOperation(name, operations[name])
    if not operation.gives_map:
        raise ArgumentError(("op",), f"{name} does not give a TensorMap; a step must")
    return operation


def _classes(annotation: Any) -> Iterator[type]:
    """Every class in an annotation: members of unions, items of lists, constraints of type variables."""
    if isinstance(annotation, TypeVar):
        bound = (annotation.__bound__,) if annotation.__bound__ else ()
        parts = annotation.__constraints__ or bound
    else:
        parts = get_args(annotation)
    if parts:
        for part in parts:
            yield from _classes(part)
    elif isinstance(annotation, type):
        yield annotation


def _labels_argument(what: str, keys: YamlKeys, value: Mapping[str, Any]) -> LabelsArgument:
    try:
        labels = msgspec.convert(value, LabelsArgument)
    except msgspec.ValidationError:
        form = "{names: [system], values: [[0], [1]]}"
        raise ArgumentError(keys, f"{what} must be Labels in the form {form}") from None
    for row in labels.values:
        if len(row) != len(labels.names):
            needed = f"{what}: each row of values needs {len(labels.names)} integers"
            raise ArgumentError(keys, f"{needed}, found {list(row)!r}")
    return labels
