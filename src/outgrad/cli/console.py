"""The one place that prints: text from outside is text, and nothing that cannot be printed ends a command."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

import rich.console
from rich.text import Text

from outgrad.run.visible import visible

PIPE_WIDTH = 200
"""Columns where there is no terminal: lines for other programs are not folded."""


class Console(rich.console.Console):
    """A console in whose text nothing is markup, an emoji or a command to the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


def console(*, stderr: bool = False) -> Console:
    """A console for the stream as it is now."""
    stream: Any = Stream(sys.stderr if stderr else sys.stdout)
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def say(text: str, *, stderr: bool = False) -> None:
    """Print one line, however long it is."""
    write(f"{visible(text)}\n", stderr=stderr)


def write(text: str, *, stderr: bool = False) -> None:
    """Print text as it is."""
    stream = Stream(sys.stderr if stderr else sys.stdout)
    stream.write(text)
    stream.flush()


class Stream:
    """A stream that writes out characters that it cannot encode, and ends where nobody reads it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: TextIO = io.StringIO() if stream is None else stream  # None: closed by the shell

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send the rest nowhere: Python would flush it once more when it ends, and fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
