"""Read YAML that may come from anywhere: plain data with line numbers, and nothing else.

The grammar is a part of YAML 1.2 (its core schema): mappings with text keys, sequences and scalars. Anchors,
aliases, tags and several documents in one file are refused, and so are duplicate keys: PyYAML would silently
take the last. Scalars follow the core schema too, because YAML 1.1 reads ``no`` as false, ``010`` as 8 and
``1e-6`` as text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from outgrad.errors import JobError, PathError
from outgrad.storage.paths import local_path
from outgrad.storage.places import is_special

MAXIMUM_BYTES = 64 * 1024
"""A job of thousands of steps fits; what is larger is not a job file."""

MAXIMUM_DEPTH = 20

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}
_KINDS = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}


@dataclass(frozen=True)
class Value:
    """One value of a document: ``data`` is ``dict[str, Value]``, ``list[Value]`` or a scalar."""

    data: Any
    line: int
    """Counted from 1; for a value in a mapping the line of its key."""

    @property
    def kind(self) -> str:
        """What this is, in words for a message."""
        return _KINDS.get(type(self.data), "a number")

    def plain(self) -> Any:
        """Return the same data without lines."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data


@dataclass(frozen=True)
class Document:
    """A file that was read, and the errors about its lines."""

    path: Path
    root: Value

    def error(self, line: int, message: str) -> JobError:
        """Make the error ``file:line: message``."""
        return JobError(f"{self.path.name}:{line}: {message}")

    def expect(self, value: Value, kind: type, what: str) -> Any:
        """Return the data of ``value`` when it is of ``kind`` and not empty text.

        Raises
        ------
        JobError
            If it is something else; the message names ``what`` and what was found.
        """
        if type(value.data) is not kind:
            raise self.error(
                value.line, f"{what} must be {_KINDS.get(kind, 'a number')}, found {shown(value)}"
            )
        if value.data == "":
            raise self.error(value.line, f"{what} must not be empty")
        return value.data

    def mapping(
        self, value: Value, what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Value]:
        """Return the entries of a mapping with these keys and no others."""
        entries: dict[str, Value] = self.expect(value, dict, what)
        known = required + optional
        for key, entry in entries.items():
            if key not in known:
                raise self.error(entry.line, f"unknown key {key!r} in {what}; {nearest(key, known)}")
        for key in required:
            if key not in entries:
                raise self.error(value.line, f"{what} has no {key!r}; it needs {listed(required)}")
        return entries


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Say which of ``known`` was probably meant, or name them all.

    >>> nearest("sum_over_sample", ["add", "sum_over_samples"])
    "did you mean 'sum_over_samples'?"
    >>> nearest("zebra", ["add", "multiply"])
    'known are: add, multiply'
    """
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {listed(known)}"


def listed(words: tuple[str, ...] | list[str]) -> str:
    """Join words for a message."""
    return ", ".join(words) if words else "none"


def shown(value: Value) -> str:
    """Describe a value for a message, short."""
    if isinstance(value.data, dict | list) or value.data is None:
        return value.kind
    text = repr(value.data)
    return f"{value.kind} {text if len(text) <= 40 else text[:37] + '...'}"


def read_document(given: str | PathLike[str], what: str) -> Document:
    """Read a YAML file whose root is a mapping.

    Raises
    ------
    JobError
        If the file cannot be read, is larger than 64 KiB, is not UTF-8 or breaks the grammar.
    """
    path = document_path(given, what)
    text = _read_text(path, what)
    document = Document(path, Value(None, 1))
    try:
        root = _tree(document, yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise _syntax_error(document, error) from None
    document = Document(path, root)
    document.expect(root, dict, what)
    return document


def document_path(given: str | PathLike[str], what: str) -> Path:
    """Make the path of a file that a job is read from; a pipe is refused, as it would be waited for."""
    try:
        path = local_path("read", given)
    except PathError as error:
        raise JobError(f"cannot read {what}: {error}") from None
    if is_special(path):
        raise JobError(f"{path.name}: cannot read {what}: this is a device or a pipe: {path}")
    return path


def _read_text(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise JobError(f"{path.name}: cannot read {what}: {error.strerror}: {path}") from None
    if len(content) > MAXIMUM_BYTES:
        raise JobError(f"{path.name}: {what} is larger than {MAXIMUM_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise JobError(f"{path.name}:{line}: not UTF-8 text") from None


def _syntax_error(document: Document, error: yaml.YAMLError) -> JobError:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return document.error(1, "not valid YAML: it holds a character that YAML does not allow")
    return document.error(mark.line + 1, f"not valid YAML: {problem}")


@dataclass
class _Open:
    """A collection that is being read; ``key`` waits for its value."""

    data: Any
    line: int
    key: str | None = None
    key_line: int = 0


def _tree(document: Document, events: Iterator[yaml.Event]) -> Value:
    """Build values from parser events with a stack of our own: depth cannot exhaust Python's."""
    stack: list[_Open] = [_Open([], 1)]
    documents = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        _refuse(document, event, line, len(stack), documents)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _check_key_is_text(document, stack[-1], line)
            stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], line))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = stack.pop()
            _put(document, stack[-1], closed.data, closed.line)
        elif isinstance(event, yaml.ScalarEvent):
            _put(document, stack[-1], _scalar(event), line)
    return stack[0].data[0] if stack[0].data else Value(None, 1)


def _refuse(document: Document, event: yaml.Event, line: int, depth: int, documents: int) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise document.error(line, "anchors and aliases (& and *) are not allowed; write the value out")
    if tag := getattr(event, "tag", None):
        raise document.error(line, f"the tag {tag!r} is not allowed; write plain values")
    if depth > MAXIMUM_DEPTH and isinstance(event, yaml.CollectionStartEvent):
        raise document.error(line, f"nested deeper than {MAXIMUM_DEPTH} levels")
    if documents > 1:
        raise document.error(line, "a second document starts here; one file holds one")


def _check_key_is_text(document: Document, parent: _Open, line: int) -> None:
    if isinstance(parent.data, dict) and parent.key is None:
        raise document.error(line, "a key must be text, found a list or mapping; quote it if it is text")


def _put(document: Document, parent: _Open, data: Any, line: int) -> None:
    """Append to a list; in a mapping take keys and values in turn."""
    if isinstance(parent.data, list):
        parent.data.append(Value(data, line))
    elif parent.key is None:
        parent.key, parent.key_line = _key(document, parent, data, line), line
    else:
        parent.data[parent.key] = Value(data, parent.key_line)
        parent.key = None


def _key(document: Document, parent: _Open, data: Any, line: int) -> str:
    if not isinstance(data, str):
        raise document.error(line, f"a key must be text, found {shown(Value(data, line))}; put it in quotes")
    if data in parent.data:
        first = parent.data[data].line
        raise document.error(line, f"the key {data!r} is used twice; the first is on line {first}")
    return data


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if event.style is not None or len(text) > 300:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
