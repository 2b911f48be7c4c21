"""The commands of ``outgrad``. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import nullcontext, suppress
from dataclasses import asdict
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
    """A path as it was typed: click's own type drops slashes, by which URLs are recognized."""

    name = "path"


PATH = Path()


class Command(click.Command):
    """Report errors in one line; with ``--debug`` show the traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show tracebacks of errors."))

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.pop("debug")

        def show_warning(message: Warning | str, *_: object, **__: object) -> None:
            say(f"outgrad: warning: {' '.join(str(message).split())}", stderr=True)

        try:
            with termination_as_interrupt(), warnings.catch_warnings():
                warnings.showwarning = show_warning
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                raise
            message = late("run.report", "explain")(error).replace("overwrite=True", "--overwrite")
            say(f"outgrad: {message}", stderr=True)
            ctx.exit(WRONG_USAGE if isinstance(error, JobError) else FAILED)


class Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, with or without a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            nbytes = int(parse_bytes(value))
        except (ValueError, OverflowError):
            nbytes = 0
        if nbytes < 1:
            self.fail(f"{value!r} is not a size; give bytes or a unit, e.g. 768MiB", param, ctx)
        return nbytes


@click.group("outgrad", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="outgrad", message="%(prog)s %(version)s")
def main() -> None:
    """Labelled, block-sparse tensors with gradients, larger than memory."""


@main.command("run", cls=Command)
@click.argument("job", type=PATH)
@click.option(
    "--cluster",
    metavar="SPEC",
    help="Specification (*.yaml), address (tcp://host:port) or scheduler file (*.json).",
)
@click.option("--dry-run", is_flag=True, help="Report tasks, bytes and memory; write and start nothing.")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes on this machine. [default: 2]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads per worker. [default: 1]")
@click.option(
    "--memory-limit",
    type=Size(),
    help="Memory per worker, e.g. 768MiB. [default: an equal share of 80 % of the machine]",
)
@click.option(
    "--no-progress",
    "--quiet",
    "-q",
    "quiet",
    is_flag=True,
    help="Show neither a progress bar nor the dashboard's address.",
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

    Without --cluster it runs on worker processes of this machine, which listen on loopback only.
    """
    sizes = (workers, threads, memory_limit)
    if cluster is not None and any(size is not None for size in sizes):
        raise click.UsageError(
            "--workers, --threads and --memory-limit apply to the cluster on this machine; "
            "with --cluster edit SPEC instead"
        )
    where = run.embedded(*sizes, dashboard=not quiet) if cluster is None else run.read_where(cluster)
    progress = None if quiet else late("cli.console", "console")(stderr=True)
    summary = run.run_job(job, where, dry_run=dry_run, overwrite=overwrite, console=progress)
    with (
        nullcontext() if dry_run else suppress(OSError)
    ):  # the outputs are written, even if nobody reads this
        late("cli.tables", "print_pairs")(summary.lines())
    if dry_run:
        summary.projection.check()


@main.command("info", cls=Command)
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def info_command(path: str, as_json: bool) -> None:
    """Describe what PATH holds, without reading values."""
    description = late("run.describe", "describe")(path)
    if as_json:
        write(f"{json.dumps(description, indent=2)}\n")
    else:
        late("cli.tables", "print_description")(description)


@main.command("convert", cls=Command)
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists.")
def convert_command(source: str, target: str, overwrite: bool) -> None:
    """Convert SOURCE to TARGET.

    The suffixes (.zarr, .mts, .npz) choose the formats.
    """
    storage.save(target, storage.open(source), overwrite=overwrite)


@main.command("log", cls=Command)
@click.argument("path", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, one version a line.")
def log_command(path: str, as_json: bool) -> None:
    """List the versions of the archive PATH, the newest first."""
    versions = storage.history(path)[::-1]
    if as_json:
        write("".join(f"{json.dumps(asdict(version))}\n" for version in versions))
    else:
        late("cli.tables", "print_history")(versions)


@main.command("restore", cls=Command)
@click.argument("path", type=PATH)
@click.argument("version", type=click.IntRange(min=1))
def restore_command(path: str, version: int) -> None:
    """Make VERSION of the archive PATH the newest again.

    Nothing is copied, and no version is lost.
    """
    storage.restore(path, version)
    say(f"{path}: version {storage.history(path)[-1].version} has what version {version} has")


@main.command("compact", cls=Command)
@click.argument("path", type=PATH)
@click.option(
    "--smaller-than",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="Put together segments of fewer bytes than this.",
)
def compact_command(path: str, smaller_than: int) -> None:
    """Put small segments of the archive PATH together, as a new version.

    Each append makes a segment. The versions before stay, until `outgrad clean --keep` removes them.
    """
    storage.compact(path, smaller_than=smaller_than)
    newest = storage.history(path)[-1]
    say(f"{path}: version {newest.version} has {newest.segments} segment(s)")


@main.command("index", cls=Command)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option(
    "-o", "--output", "path", type=PATH, required=True, metavar="ARCHIVE", help="The archive to make."
)
@click.option("--append", is_flag=True, help="Add to ARCHIVE if it exists.")
@click.option("--root", type=PATH, help="The folder with all FILES. [default: the folder of ARCHIVE]")
@click.option("--target", help="Of data sets with several targets, the one that is indexed.")
@click.option("--renumber", metavar="NAME", help="Count this dimension of the samples on from file to file.")
def index_command(
    files: tuple[str, ...],
    path: str,
    append: bool,
    root: str | None,
    target: str | None,
    renumber: str | None,
) -> None:
    """Make an archive that refers to FILES, without copying their values.

    FILES are .mts and .npz files, data sets of metatrain (.zip), and archives.
    """
    storage.index(files, path, append=append, root=root, target=target, renumber=renumber)
    newest = storage.history(path)[-1]
    say(f"{path}: version {newest.version} refers to {len(files)} file(s), with {newest.samples} samples")


@main.command("materialize", cls=Command)
@click.argument("path", type=PATH)
def materialize_command(path: str) -> None:
    """Copy what the archive PATH refers to in other files into it, as a new version."""
    storage.materialize(path)


@main.command("commit", cls=Command)
@click.argument("path", type=PATH)
def commit_command(path: str) -> None:
    """Commit data to the archive PATH that a writer has written and could not commit."""
    say(f"{path}: committed {storage.commit(path)} append(s)")


@main.command("clean", cls=Command)
@click.argument("path", type=PATH)
@click.option("--dry-run", is_flag=True, help="List what would be removed; remove nothing.")
@click.option("--keep", type=click.IntRange(min=1), help="Remove all versions but the newest so many.")
@click.option(
    "--older-than", metavar="TIME", help="Remove versions that are older, e.g. 30d; never the newest."
)
def clean_command(path: str, dry_run: bool, keep: int | None, older_than: str | None) -> None:
    """Remove what killed writers left behind at PATH, and old versions of an archive.

    PATH is an archive, a file, next to which writers leave partial ones, or a folder of archives and files.
    All versions stay unless --keep or --older-than is given; look with --dry-run first.
    """
    leftovers = storage.clean(path, dry_run=dry_run, keep=keep, older_than=older_than)
    for leftover in leftovers:
        say(f"{'would remove' if dry_run else 'removed'} {leftover}")
    if not leftovers:
        say(f"{path}: nothing to remove")


@main.command("verify", cls=Command)
@click.argument("path", type=PATH)
@click.option("--all-versions", is_flag=True, help="Check all versions that are kept, not the newest alone.")
@click.option(
    "--repair-from", type=PATH, metavar="COPY", help="Mend what is damaged with a copy of the archive."
)
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON, one damage a line.")
@click.option("--no-progress", "--quiet", "-q", "quiet", is_flag=True, help="Show no progress bar.")
@click.pass_context
def verify_command(
    ctx: click.Context, path: str, all_versions: bool, repair_from: str | None, as_json: bool, quiet: bool
) -> None:
    """Compare everything at PATH with its checksums.

    What is corrupted or missing is listed. Nothing is changed without --repair-from.
    """
    bar: Any = nullcontext()
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        screen = late("run.show", "Screen")(late("cli.console", "console")(stderr=True))
        bar = screen.progress_bar(None, name="verifying")
    with bar as advance:
        if repair_from is None:
            found = storage.verify(path, all_versions=all_versions, progress=advance)
        else:
            found = storage.repair(path, repair_from, all_versions=all_versions, progress=advance)
    for damage in found:
        if as_json:
            write(f"{json.dumps({'text': damage, **asdict(damage.details)})}\n")
        else:
            say(damage)
    left = [damage for damage in found if not damage.details.mended]
    if left:
        say(f"outgrad: {path} is corrupted; problems found: {len(left)}", stderr=True)
        ctx.exit(FAILED)
    if not as_json:
        mended = f", {len(found)} damage(s) mended" if found else ""
        say(f"{path}: OK, all checksums match{mended}")
