"""What a running job shows. A display that fails must not end the job: what cannot be shown is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from distributed import Client
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from outgrad.run.visible import visible
from outgrad.units import format_bytes


class Screen:
    """A console, or none; one that fails is not used again."""

    def __init__(self, console: Console | None) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """Show a line of text, in which nothing is markup."""
        self._try(lambda console: console.print(Text(visible(text)), soft_wrap=True))

    @contextmanager
    def progress_bar(
        self, total_bytes: int | None, client: Client | None = None, name: str = "writing"
    ) -> Iterator[Callable[..., None]]:
        """Yield ``advance(nbytes, total_bytes)`` of a bar; without a console or a terminal it shows nothing.

        With a client the bar shows the memory of the workers too.
        """
        bars: list[Progress] = []

        def start(console: Console) -> None:
            columns: list[ProgressColumn] = [
                TextColumn(name),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            ]
            if client is not None:
                columns.append(_MemoryColumn(client))
            bar = Progress(*columns, console=console, disable=not console.is_terminal)
            bars.append(bar)
            bar.add_task(name, total=total_bytes)
            bar.start()

        self._try(start)

        def advance(nbytes: int, total: int | None = None) -> None:
            self._try(lambda _: bars[0].update(bars[0].task_ids[0], advance=nbytes, total=total))

        try:
            yield advance
        finally:
            for bar in bars:
                with suppress(Exception, SystemExit):
                    bar.stop()

    def _try(self, show: Callable[[Console], None]) -> None:
        if self._console is None:
            return
        try:
            show(self._console)
        except (Exception, SystemExit):  # Rich exits where nobody reads a pipe
            self._console = None


class _MemoryColumn(ProgressColumn):
    """The memory of the workers, asked for at most twice a second."""

    max_refresh = 0.5

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def render(self, task: Task) -> Text:
        try:
            return Text(used_memory(self._client))
        except Exception:
            return Text()


def used_memory(client: Client) -> str:
    """Say how much memory the workers use, as last reported to the scheduler: they are not asked."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    sizes = [int(worker.get("metrics", {}).get("memory", 0)) for worker in workers]
    return f"{len(sizes)} workers, largest {format_bytes(max(sizes))}" if sizes else "no workers"


def dashboard(client: Client) -> str | None:
    """Return the address of the dashboard, or None if there is none.

    ``distributed.dashboard.link`` may name variables that are not set; then it is the plain address.
    """
    with suppress(Exception):
        return str(client.dashboard_link) or None
    with suppress(Exception):
        port = client.scheduler_info(n_workers=0)["services"]["dashboard"]
        host = urlsplit(getattr(client.scheduler, "address", "")).hostname
        return f"http://{host}:{port}/status"
    return None
