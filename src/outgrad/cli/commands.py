"""The commands of ``outgrad``. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext, suppress
from typing import Any

import click

from outgrad import run, storage
from outgrad._signals import termination_as_interrupt
from outgrad.cli.output import say, write
from outgrad.errors import JobError
from outgrad.late import late
from outgrad.units import parse_bytes

FAILED = 1
WRONG_USAGE = 2


class Path(click.types.StringParamType):
    """A path, as it was given: click's own type drops slashes, which tell a URL."""

    name = "path"


PATH = Path()
"""Text: a URL loses slashes as a ``Path``, and click's own paths fail where there is no such name."""


class Command(click.Command):
    """A command that tells errors in one line, and with ``--debug`` where they come from."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.pop("debug")
        try:
            with termination_as_interrupt(), warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                raise
            message = late("run.report", "explain")(error).replace("overwrite=True", "--overwrite")
            say(f"outgrad: {message}", stderr=True)
            ctx.exit(WRONG_USAGE if isinstance(error, JobError) else FAILED)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"outgrad: warning: {' '.join(str(message).split())}", stderr=True)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, with a unit or without."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            nbytes = int(parse_bytes(value))
        except (ValueError, OverflowError):
            nbytes = 0
        if nbytes < 1:
            self.fail(f"{value!r} is no size; write bytes or a unit, like 768MiB", param, ctx)
        return nbytes


@click.group("outgrad", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="outgrad", message="%(prog)s %(version)s")
def main() -> None:
    """Labelled, block-sparse tensors with gradients, larger than memory."""


@main.command("run", cls=Command)
@click.argument("job", type=PATH)
@click.option(
    "--cluster", metavar="SPEC", help="Specification *.yaml, tcp://host:port, or scheduler file *.json."
)
@click.option("--dry-run", is_flag=True, help="Tell tasks, bytes and memory; write and start nothing.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes on this machine [2].")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each [1].")
@click.option(
    "--memory-limit", type=Size(), help="Memory of each, like 768MiB [a share of 0.8 of the machine]."
)
@click.option(
    "--no-progress", "--quiet", "-q", "quiet", is_flag=True, help="No progress bar and dashboard address."
)
def run_command(
    job: str,
    cluster: str | None,
    dry_run: bool,
    overwrite: bool,
    workers: int | None,
    threads: int | None,
    memory_limit: int | None,
    quiet: bool,
) -> None:
    """Run the job file JOB.

    Without --cluster, on processes of this machine that listen on loopback only.
    """
    sizes = (workers, threads, memory_limit)
    if cluster is not None and any(size is not None for size in sizes):
        raise click.UsageError(
            "--workers, --threads and --memory-limit are for the cluster on this machine; "
            "with --cluster edit SPEC instead"
        )
    where = run.embedded(*sizes, dashboard=not quiet) if cluster is None else run.read_where(cluster)
    progress = None if quiet else late("cli.console", "console")(stderr=True)
    summary = run.run_job(job, where, dry_run=dry_run, overwrite=overwrite, console=progress)
    with nullcontext() if dry_run else suppress(OSError):  # the outputs are there, whoever reads of it
        late("cli.tables", "print_pairs")(summary.lines())
    if dry_run:
        summary.projection.check()


@main.command("info", cls=Command)
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def info_command(path: str, as_json: bool) -> None:
    """Tell what PATH holds, without reading values."""
    found = late("run.describe", "describe")(path)
    if as_json:
        write(f"{json.dumps(found, indent=2)}\n")
    else:
        late("cli.tables", "print_description")(found)


@main.command("convert", cls=Command)
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists.")
def convert_command(source: str, target: str, overwrite: bool) -> None:
    """Write SOURCE to TARGET; the suffixes (.zarr, .mts, .npz) choose the formats."""
    storage.save(target, storage.open(source), overwrite=overwrite)


@main.command("clean", cls=Command)
@click.argument("path", type=PATH)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def clean_command(path: str, dry_run: bool) -> None:
    """Remove what writers that were killed have left in the archive, for the file, or in the folder PATH."""
    found = storage.clean(path, dry_run=dry_run)
    for each in found:
        say(f"{'would remove' if dry_run else 'removed'} {each}")
    if not found:
        say(f"{path}: nothing to remove")


@main.command("verify", cls=Command)
@click.argument("path", type=PATH)
@click.pass_context
def verify_command(ctx: click.Context, path: str) -> None:
    """Read everything at PATH and compare it with its checksums."""
    problems = storage.verify(path)
    for problem in problems:
        say(problem)
    if problems:
        say(f"outgrad: {len(problems)} damaged or missing pieces in {path}", stderr=True)
        ctx.exit(FAILED)
    say(f"{path}: whole")
