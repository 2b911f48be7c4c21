"""Read YAML that may come from anywhere: plain data, the lines they are on, and nothing else.

PyYAML composes the tree, which has the lines, and msgspec checks the data against classes. Anchors, aliases,
tags and several documents in one file are refused, and so are duplicate keys, of which PyYAML would silently
take the last. Scalars follow the core schema of YAML 1.2, because YAML 1.1 reads ``no`` as false, ``010`` as
8 and ``1e-6`` as text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import yaml

from outgrad.errors import JobError, PathError
from outgrad.storage.paths import local_path
from outgrad.storage.places import is_special

YamlKeys = tuple[str | int, ...]
"""The way from the root to a value: keys of mappings and numbers of list items."""

S = TypeVar("S", bound=msgspec.Struct)

LARGEST_FILE_BYTES = 64 * 1024
"""A job of thousands of steps fits; what is larger is not a job file."""

DEEPEST_LEVEL = 20
LONGEST_NUMBER = 300

_SCALARS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"|~|null|Null|NULL", lambda text: None),
    (r"true|True|TRUE", lambda text: True),
    (r"false|False|FALSE", lambda text: False),
    (r"[-+]?[0-9]+", int),
    (r"0o[0-7]+", lambda text: int(text[2:], 8)),
    (r"0x[0-9a-fA-F]+", lambda text: int(text[2:], 16)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)

_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "str": "text",
    "bool": "true or false",
    "null": "nothing",
    "int": "a whole number",
    "float": "a number",
}
"""The kinds of data as msgspec names them, in words."""


@dataclass(frozen=True)
class YamlFile(Generic[S]):
    """A file that was read."""

    path: Path
    entries: S
    """The data as a class says that they are."""
    data: dict[str, Any]
    """The same, and all keys that the class does not have."""
    lines: Mapping[YamlKeys, int]
    """The line of each value; for a value in a mapping that of its key."""

    def error(self, keys: YamlKeys, message: str) -> JobError:
        """Make the error ``file:line: message`` about a value."""
        return JobError(f"{self.path.name}:{self.lines[keys]}: {message}")


def _problem(data: Any, kind: type[msgspec.Struct], what: str, message: str) -> tuple[YamlKeys, str]:
    """Say in words, with values and suggestions, what msgspec says of data that are not of ``kind``."""
    if message.startswith("Object contains unknown field"):  # named in its message, but it may hold anything
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        key = next(key for key in data if key not in known)
        return (key,), f"unknown key {key!r} in {what}; {nearest(key, known)}"
    text, path = re.findall(r"(.*?)(?: - at `\$(.*)`)?$", message)[0]
    keys: YamlKeys = ()
    for field, number in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        if number == "...":  # a value of a mapping: the first of the kind that msgspec complains of
            key = next(key for key in data if text.endswith(f"got `{_kind_of_value(data[key])}`"))
        else:
            key = field or int(number)
        keys, data = (*keys, key), data[key]
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:] or what
    if text.startswith("Object missing required field"):
        return keys, f"{name} has no '{text.split('`')[1]}'"
    expected = re.match(r"Expected `(.*?)`([^,]*)", text)  # as in: Expected `int | null` >= 1, got `str`
    if expected is None:
        return keys, f"{name}: {text}"
    kinds, limit = expected.groups()
    # To leave an entry out is the same as null, and any number is allowed where one with a point is.
    kinds = kinds.removesuffix(" | null").replace("int | float", "float")
    words = " or ".join(_WORDS[kind] for kind in kinds.split(" | "))
    return keys, f"{name} must be {words}{limit}, found {in_words(data)}"


def _kind_of_value(value: Any) -> str:
    name = type(value).__name__
    return {"dict": "object", "list": "array", "NoneType": "null"}.get(name, name)


def in_words(value: Any) -> str:
    """Describe a value for a message, short.

    >>> in_words("soap"), in_words([1]), in_words(2)
    ("text 'soap'", 'a list', 'a number 2')
    """
    kind = _WORDS[_kind_of_value(value)].replace("whole ", "")
    if value is None or isinstance(value, dict | list):
        return kind
    text = repr(value)
    return f"{kind} {text if len(text) <= 40 else text[:37] + '...'}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which of ``known`` was probably meant, or name them all.

    >>> nearest("sum_over_sample", ["add", "sum_over_samples"])
    "did you mean 'sum_over_samples'?"
    >>> nearest("zebra", ["add", "multiply"])
    'known are: add, multiply'
    """
    close = difflib.get_close_matches(word, known := list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {listed(known)}"


def listed(words: Iterable[str]) -> str:
    """Join words for a message."""
    return ", ".join(words) or "none"


def read_yaml(path: str | PathLike[str], what: str, kind: type[S]) -> YamlFile[S]:
    """Read a YAML file of the entries that ``kind`` has; ``what`` it is begins messages, as in "the job".

    Raises
    ------
    JobError
        If the file cannot be read, is larger than 64 KiB, is not UTF-8, breaks the grammar, or holds
        something else than ``kind`` says.
    """
    path = path_to_read(path, what)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise JobError(f"{path.name}: cannot read {what}: {error.strerror}: {path}") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise JobError(f"{path.name}: {what} is larger than {LARGEST_FILE_BYTES // 1024} KiB")
    try:
        loader = _PlainLoader(content.decode("utf-8-sig"), path.name)
        data = loader.read()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise JobError(f"{path.name}:{line}: not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise JobError(f"{path.name}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError:
        problem = "it holds a character that YAML does not allow"
        raise JobError(f"{path.name}:1: not valid YAML: {problem}") from None
    try:
        return YamlFile(path, msgspec.convert(data, kind), data, loader.lines)
    except msgspec.ValidationError as error:
        keys, problem = _problem(data, kind, what, str(error))
        raise JobError(f"{path.name}:{loader.lines[keys]}: {problem}") from None


def path_to_read(path: str | PathLike[str], what: str) -> Path:
    """Make the path of a file that a job is read from; a pipe is refused, as it would be waited for."""
    try:
        local = local_path("read", path)
    except PathError as error:
        raise JobError(f"cannot read {what}: {error}") from None
    if is_special(local):
        raise JobError(f"{local.name}: cannot read {what}: this is a device or a pipe: {local}")
    return local


class _PlainLoader(yaml.BaseLoader):
    """PyYAML's composer, without tags, anchors and aliases, and with the scalars of YAML 1.2."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name
        self.lines: dict[YamlKeys, int] = {(): 1}
        self._depth = 0

    def read(self) -> Any:
        """Return the data of the one document."""
        if not self.check_node():
            return None
        root: Any = self.get_node()
        if self.check_node():
            second: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise self._refused(second, "a second document starts here; one file holds one")
        self.lines[()] = _line(root)
        return self._plain(root, ())

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise self._refused(event, "anchors and aliases (& and *) are not allowed; write the value out")
        if event.tag:
            raise self._refused(event, f"the tag {event.tag!r} is not allowed; write plain values")
        if isinstance(event, yaml.CollectionStartEvent) and self._depth == DEEPEST_LEVEL:
            raise self._refused(event, f"nested deeper than {DEEPEST_LEVEL} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _plain(self, node: yaml.Node, keys: YamlKeys) -> Any:
        """Convert a tree; the line of a value in a mapping is that of its key."""
        if isinstance(node, yaml.ScalarNode):
            if re.search("[\ud800-\udfff]", node.value):  # msgspec could not read it
                raise self._refused(node, "half of a pair of surrogates is not a character")
            return node.value if node.style else core_scalar(node.value)
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.lines[*keys, number] = _line(item)
            return [self._plain(item, (*keys, number)) for number, item in enumerate(node.value)]
        mapping: dict[str, Any] = {}
        for key_node, item in node.value:
            key = self._plain(key_node, keys)
            if not isinstance(key, str):
                raise self._refused(key_node, f"a key must be text, found {in_words(key)}; put it in quotes")
            if key in mapping:
                problem = f"the key {key!r} is used twice; the first is on line {self.lines[*keys, key]}"
                raise self._refused(key_node, problem)
            self.lines[*keys, key] = _line(key_node)
            mapping[key] = self._plain(item, (*keys, key))
        return mapping

    def _refused(self, where: Any, problem: str) -> JobError:
        return JobError(f"{self.name}:{_line(where)}: {problem}")


def _line(where: Any) -> int:
    """The line where an event or a node starts, from 1."""
    return int(where.start_mark.line) + 1


def core_scalar(text: str) -> Any:
    """Convert a scalar without quotes as YAML 1.2 does: https://yaml.org/spec/1.2.2/#1032-tag-resolution.

    >>> core_scalar("no"), core_scalar("010"), core_scalar("0o17"), core_scalar("1e-6"), core_scalar("-.inf")
    ('no', 10, 15, 1e-06, -inf)
    """
    for pattern, convert in _SCALARS:
        # Longer numbers are text: Python refuses to convert more than 4,300 digits, and is slow before.
        if len(text) <= LONGEST_NUMBER and re.fullmatch(pattern, text):
            return convert(text)
    return text
