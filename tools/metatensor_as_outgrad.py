"""A plugin of pytest: ``import metatensor`` gives Outgrad, and how each test ended is written down."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NAME = "metatensor"


class Renamed:
    """Finds ``metatensor`` and its modules in Outgrad; what is not there is not found anywhere else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != NAME and not name.startswith((f"{NAME}.", f"{NAME}_")):
            return None
        own = "outgrad" + name.removeprefix(NAME)
        if name.startswith(f"{NAME}_") or importlib.util.find_spec(own) is None:
            raise ModuleNotFoundError(f"No module named {name!r}: Outgrad has no {own!r}", name=name)
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module("outgrad" + spec.name.removeprefix(NAME))

    def exec_module(self, module: ModuleType) -> None:
        """It was executed under its own name."""


class Raises(AbstractContextManager[Any]):
    """``pytest.raises`` that notes where the class of an error fits, and its text does not."""

    def __init__(
        self, wanted: AbstractContextManager[Any], match: str, note: Callable[[str, str], None]
    ) -> None:
        self.wanted, self.match, self.note = wanted, match, note

    def __enter__(self) -> Any:
        self.found = self.wanted.__enter__()
        return self.found

    def __exit__(self, *error: Any) -> bool | None:
        swallowed = self.wanted.__exit__(*error)
        if swallowed and not re.search(self.match, str(self.found.value)):
            self.note(self.match, str(self.found.value))
        return swallowed


class Outcomes:
    """How each test ended, and errors whose text is another."""

    def __init__(self, path: Path) -> None:
        self.path, self.current = path, ""
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.texts: dict[str, list[tuple[str, str]]] = {}

    def note(self, wanted: str, found: str) -> None:
        self.texts.setdefault(self.current, []).append((wanted, found))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.current = nodeid
        importlib.import_module(NAME).unsafe_enable_checks()  # whatever the test before left

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._keep(report.nodeid, report.outcome, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self._keep(report.nodeid, report.outcome, report.longrepr)

    def _keep(self, test: str, outcome: str, text: Any) -> None:
        said = text[2] if isinstance(text, tuple) else str(text or "")
        lines = [line for line in said.splitlines() if line.startswith("E ")] or said.splitlines() or [""]
        if self.outcomes.get(test, ("",))[0] != "failed":
            self.outcomes[test] = (outcome, lines[0].removeprefix("E").strip())

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps({"outcomes": self.outcomes, "texts": self.texts}), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", required=True, help="where to write how each test ended")
    parser.addoption("--library", default="outgrad", help="metatensor: leave it as it is")


def pytest_configure(config: pytest.Config) -> None:
    """Replace metatensor before a test is imported, and compare texts of errors without failing."""
    if config.getoption("--library") == "outgrad":
        replace()
    outcomes, strict = Outcomes(Path(config.getoption("--outcomes"))), pytest.raises

    def raises(*args: Any, **options: Any) -> Any:
        match = options.pop("match", None)
        wanted = strict(*args, **options)
        return wanted if match is None else Raises(wanted, match, outcomes.note)

    pytest.raises = raises  # type: ignore[assignment]
    config.pluginmanager.register(outcomes)


def replace() -> None:
    """Let ``import metatensor`` give Outgrad from now on."""
    if any(name.split(".")[0] in (NAME, f"{NAME}_operations") for name in sys.modules):
        raise pytest.UsageError("metatensor was imported before it could be replaced")
    sys.meta_path.insert(0, Renamed())  # type: ignore[arg-type]
    importlib.import_module("outgrad.operations")._dispatch = helpers()  # type: ignore[attr-defined]


def helpers() -> ModuleType | None:
    """What metatensor's tests take for arrays of NumPy and of torch: it is not what they test."""
    try:
        folder = distribution(f"{NAME}-operations").locate_file(f"{NAME}_operations")
    except PackageNotFoundError:
        return None
    package = ModuleType("_helpers")  # under another name, so that the package itself is not imported
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    return importlib.import_module("_helpers._dispatch")
