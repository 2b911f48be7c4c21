"""The console for tables and progress bars: text from outside is text, and never markup."""

from __future__ import annotations

import sys
from typing import Any

import rich.console
from rich.text import Text

from outgrad.cli.output import Stream
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
