"""Print lines and text: nothing that cannot be printed ends a command. Rich is not needed for it."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from outgrad.run.visible import visible


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
