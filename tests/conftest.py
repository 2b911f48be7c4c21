"""What all tests share: the switch for slow ones, and the effort of hypothesis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import dask
import pytest
from hypothesis import HealthCheck, settings

# Tests need not outlive a power cut. What is about that, and what injects faults, switches it on again.
os.environ["DASK_OUTGRAD__DURABLE"] = "False"
dask.config.refresh()

# A shell ignores Ctrl-C for what it runs in the background, and its children inherit that: no test that
# interrupts something could pass there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW_MACHINE = [HealthCheck.too_slow, HealthCheck.differing_executors]
settings.register_profile("default", max_examples=25, deadline=None, suppress_health_check=SLOW_MACHINE)
settings.register_profile("night", max_examples=2000, deadline=None, suppress_health_check=SLOW_MACHINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--long-faults", action="store_true", help="inject as many faults as find what is rare")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile("default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _handlers_of_signals_are_put_back() -> Iterator[None]:
    """What a test leaves behind would change what Ctrl-C does in all that come after it."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
