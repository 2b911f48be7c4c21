"""Run metatensor's own tests against Outgrad, and print what differs.

    python tools/metatensor_tests.py SOURCE                 # a checkout of metatensor
    python tools/metatensor_tests.py --core DIR --operations DIR [--data DIR]

Without any folder, the tests are looked for beside the installed metatensor. They run in a temporary copy,
where ``import metatensor`` gives Outgrad. For each test that fails, the statement of docs/differences.md that
explains it is printed, or NOT EXPLAINED; metatensor_differences.toml says which one it is. The status is 1 if
something is not explained, or if that list is not right any more.

What fails is run once more with the installed metatensor: tests of another version, or of torch where it is
not installed, fail there too, and say nothing of Outgrad.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "differences.md"
TABLE = HERE / "metatensor_differences.toml"
SUITES = ("core", "operations", "learn")
REASONS = {"torch", "C API", "internal", "data"}
ITSELF = "It fails with the installed metatensor, too."
NOT_COPIED = shutil.ignore_patterns(".git", ".tox", "target", "build", "dist", "*.egg-info", "__pycache__")
STATEMENT = re.compile(r"(?:\A|\n\n)\*\*(.+?)\*\*", re.DOTALL)


@dataclass
class Results:
    """How each test ended, with the first line of its error, and the texts of errors that are others."""

    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    texts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    itself: set[str] = field(default_factory=set)
    """Tests that fail with metatensor as well."""

    def add(self, suite: str, found: dict[str, Any]) -> None:
        for kind in ("outcomes", "texts"):
            getattr(self, kind).update({named(suite, test): value for test, value in found[kind].items()})

    def tests(self, outcome: str) -> list[str]:
        return [test for test, (found, _) in self.outcomes.items() if found == outcome]


@dataclass(frozen=True)
class Table:
    """Which statement or reason explains a test that fails, and which one other texts of errors."""

    texts: str
    statements: dict[str, str]
    reasons: dict[str, str]

    def explained(self, test: str, results: Results) -> str | None:
        entries = {**self.statements, **self.reasons}
        whys = [why for pattern, why in entries.items() if fnmatchcase(test, pattern)]
        return next(iter([*whys, *([ITSELF] if test in results.itself else [])]), None)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    folders = folders_of(options)
    if not folders:
        print("no tests of metatensor: give a checkout, or --core and --operations", file=sys.stderr)
        return 2
    results = Results()
    with tempfile.TemporaryDirectory(prefix="metatensor-tests-") as scratch:
        for suite, copy in copied(folders, options, Path(scratch)).items():
            run(suite, copy, results)
    return report(results, options.table, options.page)


def report(results: Results, entries: Path, page: Path) -> int:
    """Print what differs and why; return the status."""
    table = read_table(entries)
    faults = list(wrong_entries(table, results, statements_of(page)))
    unexplained = print_failures(table, results)
    print("\n".join(faults))
    print_counts(table, results)
    return 1 if faults or unexplained or not results.outcomes else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, nargs="?", help="a checkout of metatensor")
    for suite in SUITES:
        parser.add_argument(f"--{suite}", type=Path, help=f"the folder of the tests of metatensor-{suite}")
    parser.add_argument("--data", type=Path, help="a folder of data that is put into the folder of the tests")
    parser.add_argument("--table", type=Path, default=TABLE, help="what explains tests that fail")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the statements")
    return parser.parse_args(arguments)


def folders_of(options: argparse.Namespace) -> dict[str, Path]:
    """The folder of tests of each suite that was given or found."""
    found = {suite: getattr(options, suite) or in_source(options.source, suite) for suite in SUITES}
    if not any(found.values()) and options.source is None:
        found = {suite: installed(suite) for suite in SUITES}
    return {suite: folder for suite, folder in found.items() if folder is not None}


def in_source(source: Path | None, suite: str) -> Path | None:
    folder = source and source / "python" / f"metatensor_{suite}" / "tests"
    return folder if folder and folder.is_dir() else None


def installed(suite: str) -> Path | None:
    """The folder ``tests`` of an installed distribution, if it has one."""
    try:
        paths = files(f"metatensor-{suite}") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(p.locate())).parent for p in paths if p.parent.name == "tests"), None)


def copied(folders: dict[str, Path], options: argparse.Namespace, root: Path) -> dict[str, Path]:
    """Copies of the folders of tests, at the places of a checkout: tests read files of each other."""
    if options.source is not None:
        shutil.copytree(options.source, root, dirs_exist_ok=True, ignore=NOT_COPIED)
    copies = {}
    for suite, folder in folders.items():
        copies[suite] = copy = root / "python" / f"metatensor_{suite}" / "tests"
        shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=NOT_COPIED)
        (copy / "__init__.py").touch()
        if options.data is not None:
            shutil.copytree(options.data, copy / "data", dirs_exist_ok=True)
    return copies


def run(suite: str, copy: Path, results: Results) -> None:
    """Run the tests of a folder, those that fail with metatensor as well, and add how they ended."""
    results.add(suite, run_child(copy))
    failed = [test for test in results.tests("failed") if test.startswith(f"{suite}/")]
    files = sorted({copy / test.removeprefix(f"{suite}/").split("::")[0] for test in failed})
    if files:
        found = Results()
        found.add(suite, run_child(copy, *map(str, files), library="metatensor"))
        results.itself |= set(failed) & set(found.tests("failed"))


def named(suite: str, test: str) -> str:
    """``core/labels.py::test`` for ``tests/labels.py::test``."""
    return suite + test.removeprefix("tests")


def run_child(copy: Path, *tests: str, library: str = "outgrad") -> dict[str, Any]:
    """pytest in a process of its own, in which no metatensor was imported yet."""
    outcomes = copy.parent / f"outcomes-{library}.json"
    settings = copy.parent / "pytest.ini"
    settings.write_text("[pytest]\npython_files = *.py\n", encoding="utf-8")
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    flags = ["-q", "-c", str(settings), "-p", "metatensor_as_outgrad", "-p", "no:cacheprovider"]
    flags += ["--continue-on-collection-errors", "--library", library, "--outcomes", str(outcomes)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, *(tests or [str(copy)])],
        cwd=copy.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not outcomes.exists():
        raise SystemExit(f"the tests did not run:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(outcomes.read_text(encoding="utf-8"))
    return found


def read_table(path: Path) -> Table:
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return Table(found.get("texts", ""), found.get("statements", {}), found.get("reasons", {}))


def statements_of(page: Path) -> set[str]:
    """What stands in bold at the beginning of a paragraph."""
    return {" ".join(found.split()) for found in STATEMENT.findall(page.read_text(encoding="utf-8"))}


def wrong_entries(table: Table, results: Results, statements: set[str]) -> Iterator[str]:
    """Entries that name nothing on the page, or explain tests of which none fails."""
    for statement in sorted({table.texts, *table.statements.values()} - statements - {""}):
        yield f"NOT ON THE PAGE: {statement!r}"
    for reason in sorted(set(table.reasons.values()) - REASONS):
        yield f"NOT A REASON: {reason!r}; it is one of {', '.join(sorted(REASONS))}"
    failed = results.tests("failed")
    for pattern in (*table.statements, *table.reasons):
        ran = [test for test in results.outcomes if fnmatchcase(test, pattern)]
        if ran and not any(test in failed for test in ran):
            yield f"DOES NOT FAIL ANY MORE: {pattern}"


def print_failures(table: Table, results: Results) -> int:
    """Print why each test fails that does; return how many are not explained."""
    unexplained = 0
    for test in results.tests("failed"):
        why = table.explained(test, results)
        unexplained += why is None
        print(f"{test}\n    {results.outcomes[test][1]}\n    {why or 'NOT EXPLAINED'}")
    for test, texts in results.texts.items():
        unexplained += not table.texts
        for wanted, found in texts:
            print(f"{test}\n    expected {wanted!r}\n    found    {found!r}")
            print(f"    {table.texts or 'NOT EXPLAINED'}")
    return unexplained


def print_counts(table: Table, results: Results) -> None:
    counts = Counter(outcome for outcome, _ in results.outcomes.values())
    texts = sum(map(len, results.texts.values()))
    print(
        f"{len(results.outcomes)} tests: {counts['passed']} passed, {counts['failed']} failed, "
        f"{counts['skipped']} skipped; {texts} other texts of errors in {len(results.texts)} tests"
    )
    whys = Counter(table.explained(test, results) for test in results.tests("failed"))
    for why, count in whys.most_common():
        print(f"{count:5} {why or 'NOT EXPLAINED'}")


if __name__ == "__main__":
    sys.exit(main())
