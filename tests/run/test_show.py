"""What is only shown: a console, a dashboard or a stream that fails ends nothing."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from distributed import Client
from rich.console import Console

from outgrad.run.show import Screen, dashboard


class Broken(io.StringIO):
    """A stream that nobody can write to."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def fileno(self) -> int:
        raise OSError("no file")


ERRORS = [
    BrokenPipeError(32, "Broken pipe"),
    OSError(28, "No space left on device"),
    ValueError("I/O operation on closed file"),
    UnicodeEncodeError("ascii", "…", 0, 1, "ordinal not in range(128)"),
    SystemExit(1),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_console_that_fails_ends_nothing(error: BaseException) -> None:
    client: Any = SimpleNamespace(scheduler_info=lambda **_: {"workers": {}})
    screen = Screen(Console(file=Broken(error), force_terminal=True))
    screen.line("dashboard: …")
    with screen.progress_bar(10, client) as advance:
        advance(5)
    other = Screen(Console(file=Broken(error), force_terminal=True))
    with other.progress_bar(10, client) as advance:
        advance(5)


def test_workers_that_do_not_answer_are_not_shown() -> None:
    client: Any = SimpleNamespace(scheduler_info=lambda **_: 1 / 0)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Screen(console).progress_bar(10, client) as advance:
        advance(5)
    assert "writing" in console.file.getvalue()


@pytest.mark.cluster
@pytest.mark.parametrize("link", ["{NOT_SET_ANYWHERE}/proxy/{port}/status", "{port", "{0}", 7, None])
def test_a_link_that_cannot_be_made_is_a_plain_address(client: Client, link: Any) -> None:
    with dask.config.set({"distributed.dashboard.link": link}):
        found = dashboard(client)
    assert found is not None
    assert found.startswith("http://127.0.0.1:")
    assert found.endswith("/status")
    assert dashboard(SimpleNamespace()) is None  # type: ignore[arg-type]


def test_text_from_outside_is_text() -> None:
    console = Console(file=io.StringIO(), width=200)
    Screen(console).line("http://[red]x[/red]/[/blue]:smile:\x1b[2J")
    assert console.file.getvalue() == "http://[red]x[/red]/[/blue]:smile:\\x1b[2J\n"
