# ruff: noqa: E501 (tables with one case a line)
"""What the commands print: text from outside as it is, whatever it holds, and whoever reads it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
import outgrad.cli
import outgrad.run
from outgrad.cli import main
from outgrad.cli.console import console
from outgrad.run.visible import visible

SOURCES = [
    path
    for package in (outgrad.cli, outgrad.run)
    for path in Path(package.__file__ or "").parent.glob("*.py")
]
MARKUP = [
    "[run]",
    "[/red]",
    "[bold]x[/bold]",
    ":smile:",
    "[link=file:///etc]x",
    "\\[a]",
    "[@click=x]",
    "\x1b[31m",
]


def outgrad_(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@given(text=st.lists(st.sampled_from([*MARKUP, "a", "ü", "\x07", "[", "]", "/"]), min_size=1).map("".join))
def test_a_console_prints_text_as_it_is(text: str) -> None:
    screen = console()
    with screen.capture() as captured:
        screen.print(text, soft_wrap=True)
    assert captured.get() == f"{visible(text)}\n"


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_names_and_info_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    block = og.block_from_array(np.ones((2, 2)))
    tensor = og.TensorMap(og.Labels.single(), [block])
    tensor.set_info("note", text)
    name = f"{text.replace('/', '')}.zarr"
    og.save(name, tensor)
    shown = outgrad_("info", name)
    assert shown.exit_code == 0, shown.output
    assert visible(text) in shown.stdout
    assert visible(name) in shown.stdout
    assert outgrad_("verify", name).stdout == f"{visible(name)}: whole\n"
    missing = outgrad_("info", f"{text}.mts")
    assert missing.exit_code == 1
    assert "\x1b" not in missing.stderr
    Path("job.yaml").write_text(
        f"version: 1\ninputs: {{x: {name!a}}}\noutputs: {{'{visible(text)}': y.zarr}}\n"
    )
    assert outgrad_("run", "job.yaml").exit_code == 2


def test_one_place_prints() -> None:
    """Another console would interpret markup, and another ``print`` would fail where a stream is closed."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if path.name not in ("console.py", "output.py", "show.py"):
                    assert called not in ("print", "click.echo", "Console", "sys.stdout.write"), path
                    assert not called.endswith("from_markup"), path


def in_a_process(words: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "outgrad.cli", *words], timeout=120, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_a_stream_lacks_are_written_out(folder: Path, encoding: str) -> None:
    tensor = og.load("soap.zarr")
    tensor.set_info("note", "Ångström → 1 Å")
    og.save("日本.mts", tensor)
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TERM": ""}
    found = in_a_process(["info", "日本.mts"], env=environment, capture_output=True)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"\\u65e5\\u672c.mts" in found.stdout


@pytest.mark.parametrize(
    "words", [["info", "soap.zarr"], ["info", "soap.zarr", "--json"], ["verify", "soap.zarr"]]
)
def test_a_pipe_that_nobody_reads_is_no_error(folder: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    found = in_a_process(words, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.cluster
def test_a_job_whose_output_nobody_reads_is_done(folder: Path, rho: og.TensorMap) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    link = {"DASK_DISTRIBUTED__DASHBOARD__LINK": "{NOT_SET}/proxy/{port}/status"}
    found = in_a_process(["run", "job.yaml"], stdout=writer, stderr=writer, env={**os.environ, **link})
    os.close(writer)
    assert found.returncode == 0
    assert og.equal(og.load("squared.zarr"), og.multiply(rho, rho))


def test_a_closed_or_full_output(folder: Path) -> None:
    closed = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m outgrad.cli info soap.zarr >&-"],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (closed.returncode, closed.stderr) == (0, b"")
    with Path("/dev/full").open("wb") as full:
        found = in_a_process(["info", "soap.zarr"], stdout=full, stderr=subprocess.PIPE)
    assert (found.returncode, found.stderr) == (
        1,
        b"outgrad: No space left on device; free some space and run the job again\n",
    )


ODD = [
    "", ".", "/", "/dev/null", "pipe.mts", "pipe.zarr", "loop.mts", "loop.zarr", "soap.zarr/x.mts",
    "x" * 300 + ".mts", "a/" * 3000 + "b.mts", b"\xff\xfe.mts", "a\0b.mts", "[/red].mts", "s3://b/x.mts", "~nobody_here/x.mts",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("command", ["info", "verify", "convert", "target", "run"])
def test_odd_paths_are_one_line(folder: Path, command: str, path: str | bytes) -> None:
    os.mkfifo("pipe.mts")
    os.mkfifo("pipe.zarr")
    Path("loop.mts").symlink_to("loop.mts")
    Path("loop.zarr").symlink_to("loop.zarr")
    text = os.fsdecode(path)
    words = {
        "info": ("info", text),
        "verify": ("verify", text),
        "convert": ("convert", text, "new.zarr"),
        "target": ("convert", "soap.zarr", text),
        "run": ("run", text),
    }[command]
    found = outgrad_(*words)
    if command == "target" and isinstance(path, bytes):
        assert found.exit_code == 0
        return
    assert found.exit_code in (1, 2), found.output
    assert found.stderr.count("\n") == 1, found.stderr
    assert found.stderr.startswith("outgrad: ")
    assert not Path("new.zarr").exists()
