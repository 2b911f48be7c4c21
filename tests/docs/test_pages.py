"""What the pages say: examples run and print what is shown, links lead somewhere, the job file works."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import outgrad
from outgrad.cli import main
from tests.support import ROOT

DATA = ROOT / "examples" / "data"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fenced(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and nothing else, in which commands of the README can run."""
    shutil.copytree(DATA, tmp_path / "examples" / "data", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "examples" / "square.yaml", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestReadme:
    def test_two_commands_of_one_line(self) -> None:
        """``.ci/run`` runs the first lines of the two blocks, and there is nothing else to run."""
        assert [block.count("\n") for block in fenced(README, "sh")] == [1, 1]

    def test_example_prints_what_is_shown(self, checkout: Path) -> None:
        (example,), (shown,) = fenced(README, "python"), fenced(README, "text")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(example, {})
        assert out.getvalue() == shown
        assert {path.name for path in checkout.iterdir()} == {"examples", "squared.zarr", "total.mts"}

    def test_picture_is_what_the_script_draws(self) -> None:
        names: dict[str, object] = {"__name__": "draw_overview"}
        script = ROOT / "docs" / "_static" / "draw_overview.py"
        exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
        drawn = names["picture"]
        assert callable(drawn)
        assert drawn() == (ROOT / "docs" / "_static" / "overview.svg").read_text(encoding="utf-8")


@pytest.mark.cluster
def test_the_job_of_the_readme_runs(checkout: Path) -> None:
    result = CliRunner().invoke(main, ["run", "examples/square.yaml", "--overwrite"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (checkout / "examples").iterdir()} == {
        "data",
        "square.yaml",
        "squared.zarr",
        "total.mts",
    }


def test_the_reference_lists_every_public_name() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.rst")
    listed = set(re.findall(r"[A-Za-z_]\w*", " ".join(page.read_text(encoding="utf-8") for page in pages)))
    assert set(outgrad.__all__) - listed == set()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_examples_of_the_page_run(path: Path, checkout: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # A fence that ends a block is no output.
    plain = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(plain, {}, name_of(path), str(path), 0)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    assert runner.run(test, out=report.write).failed == 0, report.getvalue()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_of_the_page_lead_to_files(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = [target.partition("#")[0] for target in LINK.findall(text) if "://" not in target]
    missing = [target for target in targets if target and not (path.parent / target).exists()]
    assert missing == []
