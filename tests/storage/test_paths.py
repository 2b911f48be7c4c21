"""Every entry that takes a path, with every odd path: what it means, or one line that says why nothing."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner

import outgrad as og
from outgrad import run, storage, testing
from outgrad.cli import main
from outgrad.cli.commands import PATH
from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    NotAnArchiveError,
    OutgradError,
    PathAccessError,
    PathError,
    PathPermissionError,
)
from outgrad.storage.paths import local_path

BLOCK = og.block_from_array(np.arange(6.0).reshape(2, 3))
MAP = og.TensorMap(og.Labels.single(), [BLOCK])
LABELS = og.Labels.range("n", 3)

JOB = """\
version: 1
inputs:  {{rho: {input}}}
steps:
  - {{name: h, op: multiply, args: [rho, rho]}}
outputs: {{h: {output}}}
"""


# ---- the entries, found and called -----------------------------------------------------------------


def write_with_archive_writer(path: Any, **options: Any) -> None:
    with og.ArchiveWriter(path, **options) as writer:
        writer.append(MAP)


def command(*words: str) -> Any:
    """Run a command in this process; an error comes back as the class that tells it from a crash."""
    found = CliRunner().invoke(main, words)
    if found.exit_code == 0:
        return None
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    lines = found.output.splitlines()
    assert len(lines) == 1, found.output
    assert lines[0].startswith("outgrad: ")
    raise OutgradError(lines[0])


def convert(source: Any, target: Any, **options: Any) -> None:
    command("convert", str(source), str(target), *(["--overwrite"] if options else []))


def run_with(overwrite: bool = False, **paths: Any) -> None:
    """Run a job with an odd input or output; only to its plan, which is before anything is written."""
    paths = {"input": "whole.mts", "output": "out.zarr"} | {name: quoted(p) for name, p in paths.items()}
    Path("job.yaml").write_bytes(JOB.format(**paths).encode("utf-8", "surrogateescape"))
    try:
        run.run_job("job.yaml", dry_run=True, overwrite=overwrite)
    finally:
        Path("job.yaml").unlink()


def quoted(path: Any) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\0").replace("\n", "\\n")
    return f'"{text}"'


READERS: dict[str, Callable[[Any], Any]] = {
    "storage.open": og.open,
    "storage.verify": og.verify,
    "storage.clean": og.clean,
    "storage.load": og.load,
    "storage.load_block": og.load_block,
    "storage.load_labels": og.load_labels,
    "TensorMap.load": og.TensorMap.load,
    "TensorBlock.load": og.TensorBlock.load,
    "Labels.load": og.Labels.load,
    "outgrad info path": lambda path: command("info", str(path)),
    "outgrad verify path": lambda path: command("verify", str(path)),
    "outgrad clean path": lambda path: command("clean", str(path)),
    "outgrad convert source": lambda path: convert(path, "out.zarr"),
    "job input": lambda path: run_with(input=path),
}
"""What reads an archive or a file."""

OF_ARCHIVES: dict[str, Callable[[Any], Any]] = {
    "storage.history": og.history,
    "storage.restore": lambda path: og.restore(path, 1),
    "storage.compact": og.compact,
    "storage.commit": og.commit,
    "storage.materialize": og.materialize,
    "storage.index files": lambda path: og.index([path], "index.zarr"),
    "storage.index root": lambda path: og.index(["whole.mts"], "index.zarr", root=path),
    "storage.repair path": lambda path: og.repair(path, "../copy/whole.zarr"),
    "storage.repair source": lambda path: og.repair("../copy/whole.zarr", path),
    "outgrad log path": lambda path: command("log", str(path)),
    "outgrad restore path": lambda path: command("restore", str(path), "1"),
    "outgrad compact path": lambda path: command("compact", str(path)),
    "outgrad commit path": lambda path: command("commit", str(path)),
    "outgrad materialize path": lambda path: command("materialize", str(path)),
    "outgrad index files": lambda path: command("index", str(path), "-o", "index.zarr"),
    "outgrad index root": lambda path: command("index", "whole.mts", "-o", "i.zarr", "--root", str(path)),
    "outgrad verify repair_from": lambda path: command(
        "verify", "../copy/whole.zarr", "--repair-from", str(path)
    ),
}
"""What has only archives to do with."""

WRITERS: dict[str, Callable[..., Any]] = {
    "storage.save": lambda path, **options: og.save(path, MAP, **options),
    "storage.save_all": lambda path, **options: og.save_all({path: MAP}, **options),
    "storage.plan_save": lambda path, **options: storage.execute([storage.plan_save(path, MAP, **options)]),
    "storage.ArchiveWriter": write_with_archive_writer,
    "TensorMap.save": lambda path, **options: MAP.save(path, **options),
    "TensorBlock.save": lambda path, **options: BLOCK.save(path, **options),
    "Labels.save": lambda path, **options: LABELS.save(path, **options),
    "outgrad convert target": lambda path, **options: convert("whole.mts", path, **options),
    "job output": lambda path, **options: run_with(output=path, **options),
}
"""What writes one."""

APPENDERS: dict[str, Callable[..., Any]] = {
    "storage.index path": lambda path, **_: og.index(["whole.mts"], path),
    "outgrad index path": lambda path, **_: command("index", "whole.mts", "-o", str(path)),
    "storage.append": lambda path, **_: og.append(path, MAP, shift={"sample": 100}),
}
"""What adds to one, or makes one."""

JOB_FILES: dict[str, Callable[[Any], Any]] = {
    "run.read_job": run.read_job,
    "run.run_job path": run.run_job,
    "run.run_job cluster": lambda path: run.run_job("good.yaml", path, dry_run=True),
    "run.read_where": run.read_where,
    "outgrad run job": lambda path: command("run", str(path), "--dry-run"),
    "outgrad run cluster": lambda path: command("run", "good.yaml", "--dry-run", "--cluster", str(path)),
}
"""What reads jobs and specifications of clusters."""

NOT_PATHS = {"Labels.save_buffer", "Labels.load_buffer"}
TAKES_PATH = re.compile(r"\b(Path|PathLike|File)\b")


def entries() -> Iterator[str]:
    """Every public function, method and option that takes a path, by its annotation."""
    for module in (og, og.io, og.operations, storage, run, testing):
        for name in getattr(module, "__all__", ()):
            yield from _entries_of(getattr(module, name), name)
    for name, found in main.commands.items():
        for parameter in found.params:
            if parameter.type is PATH or parameter.name == "cluster":
                yield f"outgrad {name} {parameter.name}"


def _entries_of(value: Any, name: str) -> Iterator[str]:
    if dataclasses.is_dataclass(value) or not callable(value) or not value.__module__.startswith("outgrad"):
        return
    if inspect.isclass(value):
        for method, function in inspect.getmembers(value, callable):
            if method == "__init__" and _paths_of(function):
                yield f"{_room(value)}.{name}"
            elif not method.startswith("_") and _paths_of(function):
                yield f"{name}.{method}"
        return
    for parameter in _paths_of(value):
        several = len(_paths_of(value)) > 1
        yield f"{_room(value)}.{name}" + (f" {parameter}" if several else "")


def _room(value: Any) -> str:
    return str(value.__module__.split(".")[1])


def _paths_of(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in parameters if TAKES_PATH.search(str(each.annotation))]


def test_every_entry_is_in_the_tables() -> None:
    """A new function that takes a path has to be put into a table, and then meets every odd path."""
    in_files = {"job input", "job output"}
    assert set(entries()) == {*READERS, *OF_ARCHIVES, *WRITERS, *APPENDERS, *JOB_FILES} - in_files


# ---- where the tests are ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with some odd things; the home directory is beside it."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    og.save("whole.mts", MAP)
    og.save("../copy/whole.zarr", MAP)
    Path("good.yaml").write_text(JOB.format(input="whole.mts", output="out.zarr"))
    Path("file.txt").write_text("a file")
    Path("loop").symlink_to("loop")
    Path("loop.zarr").symlink_to("loop2.zarr")
    Path("loop2.zarr").symlink_to("loop.zarr")
    Path("nowhere").symlink_to("/nonexistent/scratch")
    Path("gone.zarr").symlink_to("/nonexistent/scratch/gone.zarr")
    Path("gone.mts").symlink_to("gone.folder/gone.mts")
    Path("null.mts").symlink_to("/dev/null")
    Path("other.zarr").symlink_to("other.mts")
    os.mkfifo("pipe.mts")
    os.mkfifo("pipe.yaml")
    return work


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder: name → mode and size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = status.st_mode, status.st_size
    return found


@contextmanager
def nothing_changes(folder: Path) -> Iterator[None]:
    before = listing(folder), set(os.listdir("/"))  # noqa: PTH208
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert (listing(folder), set(os.listdir("/"))) == before  # noqa: PTH208


# ---- odd paths that mean nothing -------------------------------------------------------------------

STORES = "URLs of this kind are not supported"
SCHEMES = ["s3a", "gcs", "abfs", "ftp", "sftp", "hdfs", "zip", "oss"]

KNOWN = ["s3", "S3", "gs", "az", "http", "https", "memory"]

NEVER: list[tuple[Any, type[Exception], str]] = [
    *((f"{scheme}://bucket/run1/h.zarr", PathError, STORES) for scheme in SCHEMES),
    ("zip::s3://bucket/h.zarr", PathError, STORES),
    ("simplecache::s3://bucket/h.zarr", PathError, STORES),
    ("zip://h.zarr::/data/h.zip", PathError, STORES),
    (" oss://bucket/h.zarr", PathError, STORES),
    *((f"{scheme}://user:pw@bucket/h.zarr", PathError, "the URL has a user") for scheme in KNOWN),
    *((f"{scheme}://bucket/h.zarr?version=2", PathError, "the URL has a user, a query") for scheme in KNOWN),
    *((f"{scheme}:///h.zarr", PathError, "the URL names no bucket") for scheme in KNOWN),
    ("s3:/bucket/h.zarr", PathError, "reached by its absolute path"),
    (Path("s3://bucket/h.zarr"), PathError, "reached by its absolute path"),
    (PurePath("gs://bucket/h.zarr"), PathError, STORES),
    ("file://h.zarr", PathError, "'h.zarr' is where a URL names a machine; write file:///"),
    ("file://elsewhere/data/h.zarr", PathError, "'elsewhere' is where a URL names a machine"),
    ("FILE://~/h.zarr", PathError, "'~' is where a URL names a machine"),
    (Path("file:///data/h.zarr"), PathError, "pathlib has removed slashes of this URL; give it as text"),
    ("file:///data/h.zarr?version=2", PathError, r"\? and # start a query"),
    ("file:///data/h%00.zarr", PathError, "a null character"),
    ("$HOME/h.zarr", PathError, r"variables such as \$HOME are not expanded; write the path out, or use ~"),
    ("${SCRATCH}/h.zarr", PathError, r"variables such as \$\{SCRATCH\} are not expanded"),
    ("run/$USER/h.zarr", PathError, r"variables such as \$USER are not expanded"),
    ("h_$RUN.zarr", PathError, r"variables such as \$RUN are not expanded"),
    (Path("$HOME/h.zarr"), PathError, r"variables such as \$HOME are not expanded"),
    ("file:///$HOME/h.zarr", PathError, r"variables such as \$HOME are not expanded"),
    ("~nobody-here/h.zarr", PathError, "there is no user 'nobody-here'; for a folder of this name write ./~"),
    ("", PathError, "the path is empty; give the name of"),
    ("  \n", PathError, "the path is empty"),
    ("h\0.zarr", PathError, "a null character; no name can have one"),
    ("\ud800.zarr", PathError, "the path is not valid text"),
    (f"{'n' * 300}.zarr", PathAccessError, "longer than this file system allows; choose a shorter one"),
    (f"{'n/' * 3000}h.zarr", PathAccessError, "longer than this file system allows"),
    ("file.txt/h.zarr", PathAccessError, "one of its folders is a file|is a file, not a folder"),
    ("loop.zarr", PathAccessError, "its links form a circle; remove one of them"),
    ("loop/h.zarr", PathAccessError, "its links form a circle"),
    ("nowhere/h.zarr", ArchiveNotFoundError, "nowhere is a link to /nonexistent/scratch, where there"),
    ("gone.zarr", ArchiveNotFoundError, "is a link to .*/gone.zarr, (where there is nothing|whose folder)"),
    ("gone.mts", ArchiveNotFoundError, "is a link to .*gone.folder/gone.mts, (where there is|whose folder)"),
    ("pipe.mts", NotAnArchiveError, "this is a pipe; give the path of a file or an archive, or an open file"),
    ("null.mts", NotAnArchiveError, "this is a device; give the path"),
    ("socket.mts", NotAnArchiveError, "this is a socket; give the path"),
    (b"h.zarr", TypeError, "must be str or os.PathLike, got bytes; os.fsdecode makes text of it"),
    (None, TypeError, "must be str or os.PathLike, got NoneType"),
    (3, TypeError, "must be str or os.PathLike, got int"),
    (["h.zarr"], TypeError, "must be str or os.PathLike, got list"),
    (fsspec.open("h.zarr", "rb"), TypeError, "got OpenFile; open it first, and give the open file"),
]  # fmt: skip

NOT_READ: list[tuple[Any, type[Exception], str]] = [
    ("h.zarr", ArchiveNotFoundError, "there is nothing at this path"),
    ("a\nb.zarr", ArchiveNotFoundError, r"a\\nb.zarr: there is nothing at this path"),
    ("h.zarr/", ArchiveNotFoundError, "there is nothing at this path"),
    ("~/h.zarr", ArchiveNotFoundError, "home/h.zarr: there is nothing at this path"),
    ("file:///nonexistent/h.zarr", ArchiveNotFoundError, " /nonexistent/h.zarr: there is nothing"),
    ("s3_copy:h.zarr", ArchiveNotFoundError, "there is nothing at this path"),
    ("/dev/null", NotAnArchiveError, "this is a device"),
    (".", NotAnArchiveError, "not an Outgrad archive"),
    ("/", NotAnArchiveError, "not an Outgrad archive"),
    ("whole.mts/h.zarr", PathAccessError, "one of its folders is a file; check the path"),
]

FORMAT = r"names no format; use \.zarr for an archive"
NOT_WRITTEN: list[tuple[Any, type[Exception], str]] = [
    (".", ArchiveError, f"this names a folder|this is a folder|{FORMAT}|must end in one of"),
    ("..", ArchiveError, f"this names a folder|this is a folder|{FORMAT}|must end in one of"),
    ("/", ArchiveError, f"this names a folder|this is a folder|{FORMAT}|must end in one of"),
    ("~", ArchiveError, f"this names a folder|{FORMAT}|must end in one of"),
    ("runs/", ArchiveError, f"this names a folder|{FORMAT}|must end in one of"),
    ("/dev/null", ArchiveError, f"this names a folder or a device|{FORMAT}|must end in one of"),
    ("h.txt", ArchiveError, f"{FORMAT}|must end in one of"),
    ("h.zarr ", ArchiveError, f"{FORMAT}|must end in one of"),
    ("h.ZARR", ArchiveError, f"{FORMAT}|must end in one of"),
    (
        "other.zarr",
        ArchiveError,
        "this is a link to .*other.mts, which has another format|lies inside|whose",
    ),
]


OTHER = "must end in one of|must not be empty"
"""What a job says first."""


def name_of(path: Any) -> str:
    return re.sub(r"[^\w$:~./{}-]", "?", repr(path)[:40])


def refusal(call: Callable[[Any], Any], path: Any, kind: type[Exception], pattern: str) -> str:
    """What is wrong with how a path is refused: nothing, if by an error of our own that is one line long."""
    try:
        call(path)
    except (OutgradError, TypeError) as error:
        text = str(error)
        if isinstance(error, kind) and re.search(pattern, text) and text.isprintable():
            return ""
        return f"{path!r:.60}: {type(error).__name__}: {text}"
    except Exception as error:
        return f"{path!r:.60}: raw {type(error).__name__}: {error}"
    return f"{path!r:.60}: taken"


def is_word(path: Any) -> bool:
    """Whether a command or a job can hold it."""
    if not isinstance(path, str) or "\0" in path:
        return False
    try:
        return bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def refuse_all(
    folder: Path, entry: str, call: Callable[[Any], Any], table: list[tuple[Any, type[Exception], str]]
) -> None:
    is_outside = entry.startswith(("outgrad", "job"))
    if is_outside:
        table = [(path, OutgradError, f"{pattern}|{OTHER}") for path, _, pattern in table if is_word(path)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mts")
        problems = []
        for path, kind, pattern in table:
            with nothing_changes(folder.parent):
                problems.append(refusal(call, path, kind, pattern))
    assert not list(filter(None, problems))


@pytest.mark.parametrize("entry", [*READERS, *OF_ARCHIVES])
def test_no_reader_takes_an_odd_path(folder: Path, entry: str) -> None:
    table = [*NEVER, *NOT_READ]
    if "clean" in entry or "index root" in entry:  # which take folders too
        table = [row for row in table if row[0] not in (".", "/")]
    if "index root" in entry:  # which may be left out
        table = [row for row in table if row[0] is not None]
    refuse_all(folder, entry, (READERS | OF_ARCHIVES)[entry], table)


@pytest.mark.parametrize("entry", [*WRITERS, *APPENDERS])
def test_no_writer_takes_an_odd_path(folder: Path, entry: str) -> None:
    table = [*NEVER, *NOT_WRITTEN]
    if entry == "storage.save_all":
        table = [row for row in table if not isinstance(row[0], list)]
    if entry in ("storage.ArchiveWriter", *APPENDERS):
        is_file = [(path, str(path).endswith(".mts")) for path, _, _ in table]
        other = ArchiveError, "only archives are written piece by piece"
        table = [(row[0], *other) if mts else row for row, (_, mts) in zip(table, is_file, strict=True)]
    refuse_all(folder, entry, (WRITERS | APPENDERS)[entry], table)


@pytest.mark.parametrize("entry", JOB_FILES)
def test_no_job_is_read_from_an_odd_path(folder: Path, entry: str) -> None:
    paths = [
        *(path for path, _, _ in NEVER if isinstance(path, str | Path)),
        "pipe.yaml",
        "no.yaml",
        ".",
        "/dev/null",
    ]
    refuse_all(folder, entry, JOB_FILES[entry], [(path, Exception, "") for path in paths])


# ---- odd paths that mean something -----------------------------------------------------------------

GOOD = [
    ("./h", "work/h"),
    ("~/h", "home/h"),
    ("file://{root}/h", "h"),
    ("file://localhost{root}/h", "h"),
    ("FILE:{root}/h", "h"),
    ("file://{root}/water%20box%23%E6%B0%B4", "water box#水"),
    ("\udcff", "work/\udcff"),
    ("file://{root}/%FF", "\udcff"),
    ("😀" * 60, f"work/{'😀' * 60}"),
    ("two\nlines\033[31m", "work/two\nlines\033[31m"),
    ("  h  ", "work/  h  "),
    ("300K:run::2", "work/300K:run::2"),
    ("./s3:h", "work/s3:h"),
    ("./~/h", "work/~/h"),
    ("~h", "work/~h"),
    ("price in $", "work/price in $"),
    ("of $RUN/h", "work/of $RUN/h"),
    ("水" * 80, f"work/{'水' * 80}"),
    ("nested/../h", "work/h"),
    ("link", "work/target"),
    ("chain", "work/target"),
    ("away/h", "home/h"),
    ("-h", "work/-h"),
    ("[red]", "work/[red]"),
    ("%d%s{0}", "work/%d%s{0}"),
]
"""Spelling → place; both get a suffix."""


DATA = {"map": MAP, "block": BLOCK, "labels": LABELS}
READERS_OF = {
    "block": ["storage.load_block", "TensorBlock.load"],
    "labels": ["storage.load_labels", "Labels.load"],
}
READERS_OF["map"] = [name for name in READERS if name not in READERS_OF["block"] + READERS_OF["labels"]]


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
@pytest.mark.parametrize(("spelled", "place"), GOOD, ids=[name_of(spelled) for spelled, _ in GOOD])
def test_every_entry_finds_the_one_place(folder: Path, spelled: str, place: str, suffix: str) -> None:
    (folder / f"link.{suffix}").symlink_to(f"target.{suffix}")
    (folder / f"chain.{suffix}").symlink_to(f"link.{suffix}")
    (folder / "away").symlink_to(folder.parent / "home")
    for name in ("nested", "~", "of $RUN"):
        (folder / name).mkdir()
    path = f"{spelled.replace('{root}', str(folder.parent))}.{suffix}"
    target = folder.parent / f"{place}.{suffix}"
    for name, write in WRITERS.items():
        if (suffix == "mts" and name == "storage.ArchiveWriter") or not understands(name, path):
            continue
        with nothing_changes(folder.parent):
            write(path)
            assert name == "job output" or (target.exists() and not target.is_symlink())
            remove(target)
    for data, readers in READERS_OF.items():
        og.save(path, DATA[data], overwrite=True)
        for name in readers:
            if understands(name, path):
                READERS[name](path)
                remove(Path("out.zarr"))


def understands(entry: str, path: str) -> bool:
    """Commands take -h for an option, and YAML no character that cannot be printed."""
    if entry.startswith("job"):
        return path.isprintable() and "%" not in path
    return not entry.startswith("outgrad") or not (path.startswith("-") or "\udcff" in path or "%FF" in path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_home_of_a_user() -> None:
    user = pwd.getpwuid(os.getuid())
    assert local_path("open", f"~{user.pw_name}/h.zarr") == Path(user.pw_dir) / "h.zarr"


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    with pytest.raises(PathError, match="the home directory is not known; set HOME, or write it out"):
        og.save("~/h.zarr", MAP)


@pytest.mark.parametrize("given", ["~", "./~/h.zarr", "./s3:/h.zarr", "~h.mts", "a/./b", "file:///x/%7E"])
def test_a_path_means_the_same_when_it_is_given_again(folder: Path, given: str) -> None:
    """Functions call each other: what one has made of a path, the next one gets."""
    once = local_path("open", given)
    assert local_path("open", once) == local_path("open", str(once)) == once


def test_a_folder_counts_for_relative_paths(tmp_path: Path) -> None:
    assert local_path("run", "h.zarr", tmp_path) == tmp_path / "h.zarr"
    assert local_path("run", "file:///h.zarr", tmp_path) == Path("/h.zarr")
    with pytest.raises(PathError, match=r"variables such as \$X are not expanded"):
        local_path("run", "$X/h.zarr", tmp_path)
    (tmp_path / "$X").mkdir()
    assert local_path("run", "$X/h.zarr", tmp_path) == tmp_path / "$X/h.zarr"
    assert local_path("run", "h.zarr", tmp_path / "$Y") == tmp_path / "$Y/h.zarr"


def test_other_objects_with_a_path(folder: Path) -> None:
    class Bytes(os.PathLike[bytes]):
        def __fspath__(self) -> bytes:
            return b"~/h.mts"

    og.save(Bytes(), MAP)
    assert (folder.parent / "home/h.mts").is_file()


def test_open_files_that_have_a_path_too(folder: Path) -> None:
    with fsspec.open("h.mts", "wb") as file:
        og.save(file, MAP)
    with fsspec.open("h.mts", "rb") as file:
        assert og.equal(og.load(file), MAP)
    with tempfile.NamedTemporaryFile() as file:
        og.save(file, MAP)
        file.seek(0)
        assert og.equal(og.load(file), MAP)


def test_paths_that_have_methods_of_a_file(folder: Path) -> None:
    """``py.path.local`` reads and writes."""

    class Local(type(Path())):  # type: ignore[misc]
        def read(self) -> str:
            raise AssertionError

        def write(self, text: str) -> None:
            raise AssertionError

    og.save(Local("h.mts"), MAP)
    assert og.equal(og.load(Local("h.mts")), MAP)


# ---- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
def test_overwriting_goes_through_a_link(folder: Path, suffix: str) -> None:
    target, link = folder.parent / f"home/h.{suffix}", folder / f"h.{suffix}"
    link.symlink_to(target)
    og.save(link, MAP)
    with pytest.raises(FileExistsError):
        og.save(link, MAP)
    og.save(link, MAP * 2, overwrite=True)
    assert og.equal(og.load(target), MAP * 2)
    assert link.readlink() == target
    assert os.listdir(folder.parent / "home") == [target.name]  # noqa: PTH208


def test_the_link_names_the_format(folder: Path) -> None:
    """Stores of data name objects by their content."""
    Path("h.zarr").symlink_to("8fa1")
    Path("h.mts").symlink_to("8fa2")
    og.save("h.zarr", MAP)
    og.save("h.mts", MAP)
    assert (Path("8fa1").is_dir(), Path("8fa2").is_file()) == (True, True)


# ---- several outputs -------------------------------------------------------------------------------

SAME = [
    ("x.mts", "./x.mts"),
    ("x.mts", Path("x.mts")),
    ("x.zarr", "nested/../x.zarr"),
    ("x.zarr", "../work/x.zarr"),
    ("x.zarr", "here/x.zarr"),
    ("x.zarr", "x.zarr/"),
    ("x.mts", "link.mts"),
    ("~/x.mts", "away/x.mts"),
    ("x.mts", "file://{work}/x.mts"),
    ("x.mts", "{work}//x.mts"),
    ("x.mts", "/{work}/x.mts"),
    ("new/x.zarr", "new/../new/x.zarr"),
]
NESTED = [
    ("a.zarr", "a.zarr/b.zarr"),
    ("a.zarr/deep/b.zarr", "a.zarr"),
    ("a.zarr", "here/a.zarr/b.mts"),
    ("x.mts", "x.mts/b.zarr"),
]


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(("one", "other"), [*SAME, *NESTED], ids=name_of)
def test_outputs_that_share_a_place(folder: Path, one: Any, other: Any, is_there: bool) -> None:
    Path("nested").mkdir()
    Path("here").symlink_to(".")
    Path("away").symlink_to(folder.parent / "home")
    Path("link.mts").symlink_to("x.mts")
    one, other = (p.replace("{work}", str(folder)) if isinstance(p, str) else p for p in (one, other))
    if is_there and not isinstance(one, Path) and "/deep/" not in one:
        og.save(one, MAP)
    with nothing_changes(folder.parent), pytest.raises(ArchiveError, match=SHARED):
        og.save_all({one: MAP, other: LABELS}, overwrite=True)


SHARED = (
    "two outputs have the path .*give each a path of its own|lies in the output .*outside of it"
    "|inside the archive|is a file|its folder does not exist"
)


def test_outputs_apart(folder: Path) -> None:
    og.save("a.mts", MAP)
    Path("b.mts").hardlink_to("a.mts")
    og.save_all({"a.mts": MAP * 2, "b.mts": MAP * 3, "a.zarr": BLOCK, "a.zarr.zarr": LABELS}, overwrite=True)
    assert og.equal(og.load("a.mts"), MAP * 2)
    assert og.equal(og.load("b.mts"), MAP * 3)
    assert og.load_labels("a.zarr.zarr") == LABELS


@pytest.mark.parametrize("name", ["l.zarr", "l.mts", "l.npz", "l.npy"])
def test_labels_among_several_outputs(folder: Path, name: str) -> None:
    og.save_all({"h.zarr": MAP, name: LABELS, "h.mts": BLOCK})
    assert og.load_labels(name) == LABELS
    assert og.equal(og.load("h.zarr"), MAP)
    with nothing_changes(folder), pytest.raises(FileExistsError, match=name):
        og.save_all({"new.zarr": MAP, name: LABELS})


def test_labels_fail_with_the_others(folder: Path) -> None:
    """Labels are whole before the values are, but seen only with them."""

    def fails(values: Any) -> Any:
        if len(values):
            raise ArithmeticError
        return values

    og.save("in.zarr", MAP)
    lazy = og.apply_rows(og.open("in.zarr"), fails)
    with nothing_changes(folder), pytest.raises(ArithmeticError):
        og.save_all({"l.zarr": LABELS, "l.mts": LABELS, "h.zarr": lazy})


def test_nothing_to_save(folder: Path) -> None:
    with nothing_changes(folder):
        og.save_all({})


@pytest.mark.parametrize("data", [np.ones(3), None, {"a": MAP}, "h"], ids=name_of)
def test_other_things_are_refused_before_anything_is_written(folder: Path, data: Any) -> None:
    with nothing_changes(folder), pytest.raises(TypeError, match="save_all: `data` must be one of 'Labels'"):
        og.save_all({"a.zarr": MAP, "b.zarr": data})
    message = "save_all: outputs must be a mapping of paths to data"
    with nothing_changes(folder), pytest.raises(TypeError, match=message):
        og.save_all([("a.zarr", MAP)])


# ---- outputs that are inputs -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
def test_an_output_may_replace_an_input(folder: Path, suffix: str) -> None:
    """Inputs are read until all outputs are whole: two files can even change places."""
    a, b = f"a.{suffix}", f"b.{suffix}"
    og.save_all({a: MAP, b: MAP * 2})
    og.save_all({a: og.open(b), f"./{b}": og.open(a)}, overwrite=True)
    assert og.equal(og.load(a), MAP * 2)
    assert og.equal(og.load(b), MAP)
    og.save_all({a: og.open(a) * 5, "sum.zarr": og.add(og.open(a), og.open(b))}, overwrite=True)
    assert og.equal(og.load(a), MAP * 10)
    assert og.equal(og.load("sum.zarr"), MAP * 3)


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
def test_conversion_to_itself(folder: Path, suffix: str) -> None:
    path = f"h.{suffix}"
    og.save(path, MAP)
    for spelled in (path, f"./{path}", f"../work/{path}", f"file://{folder}/{path}"):
        with nothing_changes(folder), pytest.raises(OutgradError, match="exists"):
            convert(path, spelled)
        convert(path, spelled, overwrite=True)
        assert og.equal(og.load(path), MAP)


@pytest.mark.parametrize(
    "target", ["h.zarr/b.zarr", "h.zarr/segments/b.zarr", "h.zarr/b.mts", "here/h.zarr/b.mts"]
)
def test_nothing_is_written_into_an_archive(folder: Path, target: str) -> None:
    og.save("h.zarr", MAP)
    Path("here").symlink_to(".")
    for name, write in WRITERS.items():
        if name == "storage.ArchiveWriter" and target.endswith(".mts"):
            continue
        with (
            nothing_changes(folder),
            pytest.raises(OutgradError, match=r"this is inside the archive .*outside of it"),
        ):
            write(target)
        with nothing_changes(folder), pytest.raises(OutgradError, match="this is inside the archive"):
            write(target, overwrite=True)


# ---- what the system refuses -----------------------------------------------------------------------


@contextmanager
def without_rights() -> Iterator[None]:
    """The superuser may do everything, and so becomes somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may search, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
@pytest.mark.parametrize("closed", ["folder", "above", "file"])
def test_permission_denied(folder: Path, public: Path, suffix: str, closed: str) -> None:
    inner = public / "above" / "folder"
    inner.mkdir(parents=True)
    path = inner / f"h.{suffix}"
    og.save(path, MAP)
    {"folder": inner, "above": public / "above", "file": path}[closed].chmod(0o000)
    calls = [*READERS.items(), *((name, partial(write, overwrite=True)) for name, write in WRITERS.items())]
    problems = []
    for name, call in calls:
        if "ArchiveWriter" in name and suffix == "mts":
            continue
        if suffix == "mts" and closed == "file" and name in WRITERS:
            continue  # the rights of the folder count
        if name.startswith("job") or name == "outgrad convert target":
            continue  # these read or write in the folder of the test too
        with without_rights():
            problems.append(refusal(call, path, OutgradError, "permission denied"))
    (public / "above").chmod(0o755)
    inner.chmod(0o755)
    path.chmod(0o755)
    assert not list(filter(None, problems))
    assert os.listdir(inner) == [path.name]  # noqa: PTH208


def test_a_read_only_folder(public: Path) -> None:
    for suffix in ("zarr", "mts"):
        with (
            without_rights(),
            pytest.raises(PathPermissionError, match=r"permission denied \(.*its owner and mode"),
        ):
            og.save(public / f"h.{suffix}", MAP)
    assert os.listdir(public) == []  # noqa: PTH208


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
@pytest.mark.parametrize("data", [MAP, LABELS], ids=["map", "labels"])
def test_rights_that_are_lost_while_a_save_is_planned(public: Path, suffix: str, data: Any) -> None:
    store = storage.plan_save(public / f"h.{suffix}", data)
    with without_rights(), pytest.raises(PathPermissionError, match="permission denied"):
        storage.execute([store])
    assert os.listdir(public) == []  # noqa: PTH208


@pytest.mark.parametrize("suffix", ["zarr", "mts"])
def test_errors_about_names_of_two_lines_are_one_line(folder: Path, suffix: str) -> None:
    path = f"two\nlines\033[31m.{suffix}"
    og.save(path, MAP)
    for call in (partial(og.save, data=MAP), og.load_labels, lambda path: storage.plan_save(path, MAP)):
        with pytest.raises(ArchiveError) as caught:
            call(path)
        assert r"two\nlines\x1b[31m" in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["h.zarr", "h.mts", "./h.zarr", "~x.mts"])
def test_a_working_directory_that_is_gone(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for call in (og.open, og.verify, partial(og.save, data=MAP), lambda path: og.save_all({path: MAP})):
        with pytest.raises(ArchiveNotFoundError, match="there is nothing at this path"):
            call(name)


def test_reading_a_pipe_does_not_wait(folder: Path) -> None:
    """In a process of its own, which would hang."""
    code = (
        "import outgrad as og\n"
        "for call in (og.open, og.load, og.verify):\n"
        "    try: call('pipe.mts')\n"
        "    except og.OutgradError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.count("this is a pipe") == 3
