"""What all tests share: the switch for slow ones, and the effort of hypothesis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import dask
import pytest
from hypothesis import HealthCheck, settings

from tests.support.fault_proxy import FaultProxy
from tests.support.object_servers import (
    Bucket,
    ObjectServer,
    azure_server,
    found_azurite,
    install_azurite,
    s3_server,
)

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
    parser.addoption("--install-azurite", action="store_true", help="let npm install it, for tests of Azure")


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


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectServer]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def azure(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    program = found_azurite()
    if program is None and request.config.getoption("--install-azurite"):
        program = install_azurite()
    if program is None:
        pytest.skip("Azurite is not on the PATH; --install-azurite installs it")
    with azure_server(program) as server:
        yield server


@pytest.fixture
def s3_bucket(s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Empty; the environment leads to it."""
    bucket = s3.new_bucket()
    bucket.use(monkeypatch)
    return bucket


@pytest.fixture
def azure_container(azure: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Empty; the environment leads to it."""
    container = azure.new_bucket()
    container.use(monkeypatch)
    return container


@pytest.fixture
def s3_proxy(s3: ObjectServer, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """In front of ``s3_bucket``: the environment leads through it."""
    with FaultProxy(s3.url) as proxy:
        s3_bucket.through(s3.url, proxy.url).use(monkeypatch)
        yield proxy


@pytest.fixture
def azure_proxy(
    azure: ObjectServer, azure_container: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """In front of ``azure_container``: the environment leads through it."""
    with FaultProxy(azure.url) as proxy:
        azure_container.through(azure.url, proxy.url).use(monkeypatch)
        yield proxy
