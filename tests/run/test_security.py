"""Only the processes of a run can use its ports, and its keys are nowhere but in their memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from outgrad.run.keys import KeysInMemory, keys_of_a_run

REFUSED = 2.0
"""Seconds that a stranger tries for."""


@contextmanager
def collected_afterwards() -> Iterator[None]:
    """A refused client closes itself when it is collected: while another one starts, both would hang."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.mark.cluster
@pytest.mark.parametrize("keys", ["none", "others"])
def test_strangers_are_refused(client: Client, keys: str) -> None:
    port = client.scheduler.address.rsplit(":", 1)[1]
    security = Security() if keys == "none" else keys_of_a_run()
    for address in [f"tcp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}"]:
        if keys == "others" and address.startswith("tcp"):
            continue
        with pytest.raises((OSError, TypeError, RuntimeError)), collected_afterwards():
            Client(address, security=security, timeout=REFUSED, set_as_default=False)


@pytest.mark.cluster
def test_all_ports_of_a_run_speak_tls(client: Client) -> None:
    """Those of the workers too, and of the nannies that start them."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    addresses = [client.scheduler.address, *workers, *(worker["nanny"] for worker in workers.values())]
    assert len(addresses) == 5
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


@pytest.mark.cluster
def test_keys_are_in_no_command_line_environment_or_file(client: Client) -> None:
    keys = client.security
    assert isinstance(keys, KeysInMemory)
    secret = keys.tls_client_key.splitlines()[1]
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        assert secret not in " ".join(process.cmdline())
        assert secret not in Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
        assert not [
            file for file in process.open_files() if secret in Path(file.path).read_text(errors="replace")
        ]
    assert secret not in repr(keys)


def test_each_run_has_keys_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise AssertionError("a key was written to a disk")

    first, second = keys_of_a_run(), keys_of_a_run()
    assert first.tls_client_key != second.tls_client_key
    monkeypatch.setattr("tempfile.TemporaryDirectory", no_file)
    assert first.get_listen_args("worker")["ssl_context"].minimum_version.name == "TLSv1_3"
