"""Object stores behind a network: how much is asked of them, faults, secrets, forks, interrupts, and HTTP."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad import run
from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    PathError,
    PathPermissionError,
    StoreAccessError,
)
from outgrad.storage import object_store, stores
from outgrad.storage.zarr import reader
from outgrad.storage.zarr.commits import last_that_is
from outgrad.testing.asserts import assert_identical
from tests.support import ROOT
from tests.support.fault_proxy import FaultProxy, of_kind
from tests.support.object_servers import Bucket, ObjectServer, http_server
from tests.support.pieces import joined, piece

pytestmark = pytest.mark.cluster

SECONDS = 60


@pytest.fixture
def url(s3_bucket: Bucket) -> str:
    return f"{s3_bucket.url}/runs/a.zarr"


@pytest.fixture
def proxied(s3_proxy: FaultProxy, url: str) -> str:
    """An archive of one version behind a proxy."""
    og.save(url, piece(0))
    s3_proxy.forget()
    return url


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that take less time than users have."""
    monkeypatch.setattr(object_store, "RETRIES", 2)
    monkeypatch.setattr(object_store, "FIRST_PAUSE_SECONDS", 0.01)


def forget_archives() -> None:
    """As in a new process."""
    reader._archives._items.clear()


# ---- how much is asked ----
def test_opening_is_one_list_and_one_get(s3_proxy: FaultProxy, proxied: str) -> None:
    og.open(proxied)
    assert s3_proxy.counts() == {"list": 1, "get": 1}


def test_a_chunk_is_one_request_a_shard(s3_proxy: FaultProxy, url: str) -> None:
    values = np.random.default_rng(0).normal(size=(8000, 512))  # 31 MiB, which are not compressed
    og.save(url, og.block_from_array(values))
    opened = og.open(url)
    forget_archives()
    s3_proxy.forget()
    np.testing.assert_array_equal(opened.values.compute(), values)
    # The commit again, as in a worker, the list of checksums, and shards of 4 MiB.
    assert s3_proxy.counts() == {"get": 2, "range": 8}


def test_appending_asks_little_besides_what_it_writes(s3_proxy: FaultProxy, proxied: str) -> None:
    og.append(proxied, piece(1))
    counts = s3_proxy.counts()
    assert counts["create"] == 1
    assert counts["list"] <= 20
    assert counts["get"] <= 9
    assert counts["head"] <= 3


# ---- faults while reading ----
@pytest.mark.parametrize("fault", ["status 404"])
def test_a_chunk_that_seems_to_be_missing(s3_proxy: FaultProxy, proxied: str, fault: Any) -> None:
    opened = og.open(proxied)
    s3_proxy.inject(fault, when=lambda request: "/blocks/1/values/" in request.path)
    with pytest.raises(DamagedArchiveError, match=r"blocks/1/values is missing; the file is segments/"):
        opened.compute()
    s3_proxy.heal()
    assert_identical(opened, piece(0))


@pytest.mark.parametrize(
    "fault", ["status 500", "status 503", "reset", "lost reply", "truncated", "late 500"]
)
def test_a_fault_once_is_not_noticed(s3_proxy: FaultProxy, proxied: str, fault: Any) -> None:
    for at in range(12):
        forget_archives()
        s3_proxy.heal()
        rule = s3_proxy.inject(fault, at=at)
        assert_identical(og.load(proxied), piece(0))
        assert rule.hits == 1, at


def test_flipped_bits_are_never_silent(s3_proxy: FaultProxy, proxied: str) -> None:
    for at in range(12):
        forget_archives()
        s3_proxy.heal()
        rule = s3_proxy.inject("flipped bit", at=at, when=of_kind("get", "range"))
        with pytest.raises(DamagedArchiveError):
            og.load(proxied)
        assert rule.hits == 1, at


def test_slow_bodies(s3_proxy: FaultProxy, proxied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(object_store.CLIENT_OPTIONS, "read_timeout", "1 s")
    object_store._clients._items.clear()
    s3_proxy.inject("slow body", at=3, seconds=2.0)
    assert_identical(og.load(proxied), piece(0))


@pytest.mark.parametrize("fault", ["status 500", "status 503", "reset", "lost reply", "truncated"])
def test_what_never_answers_well(s3_proxy: FaultProxy, proxied: str, fault: Any) -> None:
    opened = og.open(proxied)
    s3_proxy.inject(fault)
    begin = time.monotonic()
    for call in (og.open, og.load, og.history, og.verify, og.clean, og.compact, lambda _: opened.compute()):
        with pytest.raises(StoreAccessError, match=r"^(list|read|look for) s3://.*; check the URL and the"):
            call(proxied)
    for call in (lambda path: og.append(path, piece(1)), lambda path: og.save(path, piece(1))):
        with pytest.raises(StoreAccessError, match=r"^(list|read|look for) s3://.*"):
            call(proxied)
    assert time.monotonic() - begin < SECONDS


def test_a_server_that_hangs(s3_proxy: FaultProxy, proxied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(object_store.CLIENT_OPTIONS, "read_timeout", "0.5 s")
    monkeypatch.setattr(object_store, "RETRY_SECONDS", 1.0)
    object_store._clients._items.clear()
    s3_proxy.inject("delay", seconds=30.0)
    begin = time.monotonic()
    with pytest.raises(StoreAccessError, match=r"list s3://.*/commits: .*; check the URL and the network"):
        og.open(proxied)
    assert time.monotonic() - begin < 15


def test_a_server_that_is_not_there(s3_bucket: Bucket, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreAccessError, match=r"list s3://.*/a.zarr/commits: .*sending request.*; check"):
        og.open(f"{s3_bucket.url}/a.zarr")


# ---- mistakes of users: one line each, before anything is computed ----
CALLS = [og.open, og.history, og.verify, og.clean, lambda url: og.save(url, piece(0))]


def explains(url: str, kind: type[Exception], text: str) -> None:
    for call in CALLS:
        with pytest.raises(kind, match=text) as caught:
            call(url)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_no_such_bucket(s3_bucket: Bucket, url: str) -> None:
    explains(
        "s3://no-such-bucket/a.zarr", ArchiveNotFoundError, "there is no bucket s3://no-such-bucket; check"
    )


def test_no_such_container(azure_container: Bucket) -> None:
    explains(
        "az://no-such-container/a.zarr", ArchiveNotFoundError, "there is no bucket az://no-such-container"
    )


def test_no_rights(s3_proxy: FaultProxy, url: str) -> None:
    s3_proxy.inject("status 403")
    explains(
        url, PathPermissionError, "permission denied; check the credentials, and what they allow in s3://"
    )
    s3_proxy.heal()
    s3_proxy.inject("status 403", when=of_kind("put"))
    with pytest.raises(PathPermissionError, match=r"write s3://.*/zarr.json: permission denied"):
        og.save(url, piece(0))


def test_a_wrong_key(azure_container: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3JvbmctYnV0LWxvbmctZW5vdWdoLWtleQ==")
    explains(f"{azure_container.url}/a.zarr", PathPermissionError, "permission denied; check the credentials")


def test_no_credentials(s3_bucket: Bucket, url: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    explains(url, PathPermissionError, "no credentials; set the environment variables AWS_ACCESS_KEY_ID and")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    explains(url, PathPermissionError, "no credentials; set the environment variables AWS_ACCESS_KEY_ID and")


def test_an_endpoint_that_is_not_encrypted(s3_bucket: Bucket, url: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    explains(
        url, StoreAccessError, r"its endpoint is not encrypted \(http://\); if that is meant, set AWS_ALLOW"
    )


def test_obstore_is_optional(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ImportError, match=r"obstore is not installed; .* pip install 'outgrad\[cloud\]'"):
        og.open(url)


# ---- secrets ----
def test_secrets_are_never_shown(s3_proxy: FaultProxy, proxied: str, s3: ObjectServer) -> None:
    texts = [
        repr(stores.open_store(proxied)),
        repr(og.open(proxied)),
        repr(og.open(proxied).__dask_graph__()),
    ]
    assert s3.secret.encode() not in pickle.dumps([stores.open_store(proxied), og.open(proxied)])
    for fault in ("status 500", "status 403", "status 404", "reset", "truncated"):
        s3_proxy.heal()
        s3_proxy.inject(fault)  # type: ignore[arg-type]
        for call in (og.open, og.load, lambda path: og.append(path, piece(1))):
            try:
                call(proxied)
            except ArchiveError as error:
                texts.append("".join(traceback.format_exception(error)))
    assert len(texts) > 12
    assert not [text for text in texts if s3.secret in text or s3.user in text or "Debug source" in text]


def test_azure_shows_no_secrets(
    azure_proxy: FaultProxy, azure_container: Bucket, azure: ObjectServer
) -> None:
    url = f"{azure_container.url}/a.zarr"
    og.save(url, piece(0))
    texts = [repr(stores.open_store(url)), repr(og.open(url))]
    for fault in ("status 500", "status 403", "reset"):
        azure_proxy.heal()
        azure_proxy.inject(fault)  # type: ignore[arg-type]
        for call in (og.open, lambda path: og.append(path, piece(1))):
            try:
                call(url)
            except ArchiveError as error:
                texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == 8
    assert not [text for text in texts if azure.secret in text or "Debug source" in text]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://user:hunter22@bucket/a.zarr", "s3://bucket/a.zarr: the URL has a user"),
        ("s3://bucket/a.zarr?sig=hunter22", "s3://bucket/a.zarr: the URL has a user, a query"),
        ("https://example.org/a.zarr#hunter22", "https://example.org/a.zarr: the URL has a user, a query"),
        ("http://hunter22@example.org/a.zarr?x=hunter22", "http://example.org/a.zarr: the URL has"),
        ("S3:///a.zarr", "the URL names no bucket; write s3://bucket/name.zarr"),
        ("s3://bucket/../a.zarr", "a part of the URL is empty, '.' or '..'"),
        ("s3://bucket//a.zarr", "a part of the URL is empty, '.' or '..'"),
        ("s3://buck\net/a.zarr", "the URL has characters that no name should have"),
    ],
)
def test_urls_that_are_refused(text: str, shown: str, tmp_path: Path) -> None:
    for call in CALLS:
        with pytest.raises(PathError) as caught:
            call(text)
        assert shown in str(caught.value)
        assert "hunter22" not in "".join(traceback.format_exception(caught.value)).replace(text, "")
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"version": 1, "inputs": {"rho": text}, "outputs": {"rho": "h.zarr"}}))
    with pytest.raises(og.errors.JobError) as refused:
        run.read_job(job)
    assert "hunter22" not in str(refused.value)


def test_reasons_lose_what_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "hunter22hunter22")
    text = "GET http://us:pw@host/a?sig=abc failed\n  hunter22hunter22 " + 1000 * "x"
    shown = object_store.shown_reason(text)
    assert shown.startswith("GET http://host/a?… failed … xxx")
    assert len(shown) < 310


# ---- processes ----
def test_a_forked_child_is_refused_and_does_not_hang(proxied: str) -> None:
    child = os.fork()
    if not child:
        code = 1
        try:
            og.open(proxied)
        except StoreAccessError as error:
            code = 0 if "was forked from one that had used an object store" in str(error) else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + SECONDS
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert_identical(og.load(proxied), piece(0)), "and the parent goes on"


def test_workers_read_and_write(s3_bucket: Bucket) -> None:
    url = f"{s3_bucket.url}/a.zarr"
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        og.append(url, piece(0).chunk(100))
        og.append(url, piece(1).chunk(50))
        og.save(f"{s3_bucket.url}/b.zarr", og.open(url, target_bytes=100) * 2)
        og.compact(url)
    assert_identical(og.load(url), joined([piece(0), piece(1)]))
    assert_identical(og.load(f"{s3_bucket.url}/b.zarr"), joined([piece(0), piece(1)]) * 2)
    assert og.verify(url) == []


SCRIPT = """
import sys, numpy as np, outgrad as og
url, what = sys.argv[1:]
block = og.block_from_array(np.random.default_rng(0).normal(size=(8000, 256)))
print("started", flush=True)
if what == "save":
    og.save(url, block.chunk(2**20), overwrite=True)
else:
    og.load(url)
"""


@pytest.mark.parametrize("what", ["save", "load"])
def test_an_interrupt_ends_within_seconds(s3_proxy: FaultProxy, proxied: str, what: str) -> None:
    """Also while a server does not answer; what was there is still there."""
    kinds = ("put",) if what == "save" else ("get", "range")
    s3_proxy.inject("delay", seconds=20.0, at=8, from_then_on=True, when=of_kind(*kinds))
    program = [sys.executable, "-c", SCRIPT, proxied, what]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(program, env=environment, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        while s3_proxy.counts()["put" if what == "save" else "get"] < 8:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        seconds = time.monotonic() - begin
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert seconds < 10
    s3_proxy.heal()
    assert_identical(og.load(proxied), piece(0))
    og.clean(proxied)
    assert og.verify(proxied) == []


def test_threads_share_a_store(proxied: str) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(og.load(proxied))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in found:
        assert_identical(each, piece(0))
    assert len(found) == 8


# ---- plain HTTP ----
@pytest.mark.parametrize("ranges", [True, False])
def test_archives_on_a_web_server(tmp_path: Path, ranges: bool) -> None:
    path = tmp_path / "runs of May" / "ü.zarr"
    pieces = [og.remove_gradients(piece(seed, keys=(0,))) for seed in range(7)]
    for each in pieces[:5]:
        og.append(path, each)
    with http_server(tmp_path, ranges=ranges) as host:
        url = f"{host}/runs%20of%20May/%C3%BC.zarr"
        for kept in (5, 2):
            og.clean(path, keep=kept)
            forget_archives()
            assert_identical(og.load(url), joined(pieces[:5]))
            assert [version.version for version in og.history(url)] == list(range(6 - kept, 6))
        assert_identical(og.open(url, version=4), joined(pieces[:4]))
        with pytest.raises(ArchiveNotFoundError, match="no version 1; versions that can be opened: 4 to 5"):
            og.open(url, version=1)
        assert og.verify(url) == []
        shutil.copy(path / "zarr.json", tmp_path / "root.json")
        og.append(path, pieces[6])
        shutil.copy(tmp_path / "root.json", path / "zarr.json")  # as if its writer had been killed
        assert og.history(url)[-1].version == 6
        with pytest.raises(ArchiveNotFoundError, match=f"open {host}/b.zarr: there is no such file"):
            og.open(f"{host}/b.zarr")
        for call in (
            og.compact,
            og.commit,
            og.clean,
            lambda u: og.restore(u, 4),
            lambda u: og.append(u, piece(8)),
        ):
            with pytest.raises(
                PathError, match="archives are only read at http://; write to a disk or a bucket"
            ):
                call(url)


@pytest.mark.parametrize("first", [1, 7])
def test_numbers_without_gaps(first: int) -> None:
    for last in range(first, first + 70):
        asked: list[int] = []
        assert last_that_is(lambda number: asked.append(number) or number <= last, first) == last  # type: ignore[func-returns-value] # noqa: B023
        assert len(asked) <= 2 * np.log2(last - first + 2) + 1
