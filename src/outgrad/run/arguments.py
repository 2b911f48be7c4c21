"""Check the arguments of one step of a job against the signature of its operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from outgrad.labels.labels import Labels
from outgrad.run.document import Value, listed, nearest, shown
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Operations = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Reference:
    """An argument that stands for an input or an earlier step."""

    name: str


@dataclass(frozen=True)
class LabelsArgument:
    """Labels written in a job as ``{names: [...], values: [[...], ...]}``."""

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]


class ArgumentError(ValueError):
    """An argument that does not fit: the text and the line, without file and step."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Names:
    """What a step can refer to: inputs and earlier steps, and with their lines the later ones."""

    known: tuple[str, ...]
    later: Mapping[str, int]


@dataclass(frozen=True)
class Operation:
    """An operation, its parameters, and the classes that its annotations mention."""

    name: str
    function: Callable[..., Any]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)

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
        self, line: int, positional: Sequence[Value], named: Mapping[str, Value], names: Names
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with references in place of names.

        Raises
        ------
        ArgumentError
            If there are too many or too few arguments, or one is unknown or of the wrong kind.
        """
        slots = self._slots(line, positional)
        self._check_names(slots, named)
        self._check_complete(line, slots, named)
        args = tuple(self._convert(p.name, value, names) for p, value in zip(slots, positional, strict=True))
        kwargs = {key: self._convert(key, value, names) for key, value in named.items()}
        return args, kwargs

    def _slots(self, line: int, positional: Sequence[Value]) -> list[inspect.Parameter]:
        """The parameter that each positional argument goes to."""
        slots = [
            p for p in self.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        repeated = [p for p in self.parameters.values() if p.kind is p.VAR_POSITIONAL]
        missing = len(positional) - len(slots)
        if missing > 0 and not repeated:
            found = f"{self.name} takes {len(slots)} arguments in 'args', found {len(positional)}"
            raise ArgumentError(line, f"{found}; its arguments are {listed(list(self.parameters))}")
        return slots[: len(positional)] + repeated * max(missing, 0)

    def _check_names(self, slots: list[inspect.Parameter], named: Mapping[str, Value]) -> None:
        valid = [
            p.name for p in self.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        taken = {slot.name for slot in slots}
        for key, value in named.items():
            if key not in valid:
                raise ArgumentError(value.line, f"{self.name} has no argument {key!r}; {nearest(key, valid)}")
            if key in taken:
                raise ArgumentError(value.line, f"{self.name} gets {key!r} twice, in 'args' and by name")

    def _check_complete(self, line: int, slots: list[inspect.Parameter], named: Mapping[str, Value]) -> None:
        given = {slot.name for slot in slots} | set(named)
        for parameter in self.parameters.values():
            variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.default is parameter.empty and not variable and parameter.name not in given:
                arguments = listed(list(self.parameters))
                raise ArgumentError(
                    line, f"{self.name} needs the argument {parameter.name!r}; its arguments are {arguments}"
                )

    def _convert(self, parameter: str, value: Value, names: Names) -> Any:
        """Turn names into references where the parameter takes a map, and mappings into Labels."""
        classes = self.classes.get(parameter, frozenset())
        if TensorMap in classes:
            return self._map_argument(parameter, value, names)
        if Labels in classes and isinstance(value.data, dict):
            return _labels_argument(parameter, value)
        return value.plain()

    def _map_argument(self, parameter: str, value: Value, names: Names) -> Any:
        if isinstance(value.data, str):
            return _reference(parameter, value, names)
        if isinstance(value.data, list):
            return [self._map_argument(parameter, item, names) for item in value.data]
        if self.classes[parameter] <= {TensorMap, TensorBlock}:
            what = f"the argument {parameter!r} must be the name of an input or an earlier step"
            raise ArgumentError(value.line, f"{what}, found {shown(value)}")
        return value.plain()


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


def _reference(parameter: str, value: Value, names: Names) -> Reference:
    name = value.data
    if name in names.known:
        return Reference(name)
    if name in names.later:
        found = f"the argument {parameter!r} is the step {name!r} of line {names.later[name]}"
        raise ArgumentError(value.line, f"{found}; a step can use inputs and earlier steps only")
    found = f"unknown input or step {name!r} for the argument {parameter!r}"
    raise ArgumentError(value.line, f"{found}; {nearest(name, names.known)}")


def _labels_argument(parameter: str, value: Value) -> LabelsArgument:
    plain = value.plain()
    names, rows = plain.get("names"), plain.get("values")
    if set(plain) != {"names", "values"} or not _are(names, str) or not isinstance(rows, list):
        form = "{names: [system], values: [[0], [1]]}"
        raise ArgumentError(value.line, f"the argument {parameter!r} must be Labels in the form {form}")
    for row in rows:
        if not _are(row, int) or len(row) != len(names):
            what = f"the argument {parameter!r}: each row of values needs {len(names)} integers"
            raise ArgumentError(value.line, f"{what}, found {row!r}")
    return LabelsArgument(tuple(names), tuple(tuple(row) for row in rows))


def _are(items: Any, kind: type) -> bool:
    """Whether this is a list of ``kind``; True and False are not integers here."""
    return isinstance(items, list) and all(type(item) is kind for item in items)
