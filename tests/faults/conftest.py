"""Faults: a few in every run, and with ``--long-faults`` as many as are needed to find what is rare."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator

import dask
import pytest

Rounds = Callable[[int, int], int]
Tally = Callable[[str], None]

_outcomes: dict[str, Counter[str]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in item.path.as_posix():
            item.add_marker(pytest.mark.faults)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count here, where the reports of all processes of pytest-xdist arrive."""
    if report.when == "teardown":
        for kind, counts in report.user_properties:
            if kind == "outcomes":
                name = report.nodeid.split("::")[-1].split("[")[0]
                _outcomes.setdefault(name, Counter()).update(counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _outcomes:
        return
    terminalreporter.section("faults injected, and what came of them")
    for name, counts in sorted(_outcomes.items()):
        listed = ", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items()))
        terminalreporter.line(f"{name}: {counts.total()} ({listed})")


@pytest.fixture(autouse=True, scope="session")
def _frozen() -> None:
    """Tests collect garbage after each fault: what was there before need not be searched each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _durable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As users have it."""
    monkeypatch.setenv("DASK_OUTGRAD__DURABLE", "True")
    with dask.config.set({"outgrad.durable": True}):
        yield


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Rounds:
    """``rounds(few, many)``: how often to try, in the default run and with ``--long-faults``."""
    is_long = bool(request.config.getoption("--long-faults"))
    return lambda few, many: many if is_long else few


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """``tally("refused")``: count an outcome of this test, for the table at the end of the run."""
    counts: Counter[str] = Counter()

    def count(outcome: str) -> None:
        counts[outcome] += 1

    yield count
    request.node.user_properties.append(("outcomes", dict(counts)))
