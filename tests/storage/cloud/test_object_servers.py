"""Servers for tests: they start, behave like the stores they stand for, and end whatever happens."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from tests.support import ROOT
from tests.support.fault_proxy import FaultProxy, of_kind
from tests.support.object_servers import Bucket, ObjectServer, http_server, s3_server

pytestmark = pytest.mark.cluster


def is_gone(url: str) -> bool:
    """Whether nobody listens at ``url``, soon."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (ConnectionError, urllib.request.URLError):
            return True
        time.sleep(0.1)
    return False


class TestEnds:
    def test_with_the_block_even_if_it_fails(self) -> None:
        with pytest.raises(RuntimeError, match="of the test"), s3_server() as server:
            raise RuntimeError("of the test")
        assert is_gone(server.url)

    @pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
    def test_with_the_process_that_started_it(self, ending: signal.Signals) -> None:
        program = (
            "import signal, time\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from tests.support.object_servers import s3_server\n"
            "with s3_server() as server:\n"
            "    print(server.url, flush=True)\n"
            "    time.sleep(100)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            process.send_signal(ending)
            process.wait()
        assert is_gone(url)

    def test_when_a_fork_holds_on_to_it(self) -> None:
        with s3_server() as server:
            fork = os.fork()
            if fork == 0:
                signal.pause()
        os.kill(fork, signal.SIGKILL)
        os.waitpid(fork, 0)
        assert is_gone(server.url)

    def test_one_that_does_not_start_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "")
        monkeypatch.setattr("tests.support.object_servers.sys.executable", sys.executable)
        monkeypatch.setattr("tests.support.object_servers.ROOT", Path("/"))
        with pytest.raises(RuntimeError, match=r"did not start; it printed:\n.*No module named"), s3_server():
            pass


class TestS3:
    def test_buckets_are_empty_and_apart(self, s3: ObjectServer, s3_bucket: Bucket) -> None:
        store = from_url(s3_bucket.url)
        obstore.put(store, "a/b", b"value")
        assert bytes(obstore.get(store, "a/b").bytes()) == b"value"
        assert not list(obstore.list(from_url(s3.new_bucket().url)))

    def test_one_of_many_creates_an_object(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with s3_server(slow=True) as server:
            bucket = server.new_bucket()
            bucket.use(monkeypatch)
            store = from_url(bucket.url)
            winners = [winners_of_a_race(store, f"{number}") for number in range(5)]
        assert winners == [1] * len(winners)

    def test_through_the_proxy(self, s3_bucket: Bucket, s3_proxy: FaultProxy) -> None:
        store = from_url(s3_bucket.url)
        rule = s3_proxy.inject("lost reply", at=0, when=of_kind("create"))
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, "a", b"value", mode="create")
        assert bytes(obstore.get_range(store, "a", start=1, end=3)) == b"al"
        assert rule.hits == 1
        assert s3_proxy.counts() == {"create": 2, "range": 1}
        assert s3_proxy.records[0].request.path == f"/{s3_bucket.url.removeprefix('s3://')}/a"


class TestAzure:
    def test_creates_lists_and_checks_signatures(
        self, azure_container: Bucket, azure_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = from_url(azure_container.url)
        obstore.put(store, "a/b", b"value", mode="create")
        with pytest.raises(AlreadyExistsError):
            obstore.put(store, "a/b", b"other", mode="create")
        assert bytes(obstore.get_range(store, "a/b", start=1, end=3)) == b"al"
        assert [meta["path"] for batch in obstore.list(store) for meta in batch] == ["a/b"]
        assert azure_proxy.counts() == {"create": 2, "range": 1, "list": 1}
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "b3RoZXI=")
        with pytest.raises(obstore.exceptions.PermissionDeniedError):
            obstore.get(from_url(azure_container.url), "a/b")

    def test_one_of_many_creates_an_object(self, azure_container: Bucket) -> None:
        store = from_url(azure_container.url)
        winners = [winners_of_a_race(store, f"{number}") for number in range(20)]
        assert winners == [1] * len(winners)


def winners_of_a_race(store: obstore.store.ObjectStore, path: str) -> int:
    """How many of 8 threads could create an object."""
    won = []
    together = threading.Barrier(8)

    def create(number: int) -> None:
        together.wait()
        try:
            obstore.put(store, path, b"%d" % number, mode="create")
        except AlreadyExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bytes(obstore.get(store, path).bytes()) == b"%d" % won[0]
    return len(won)


class TestPlainHttp:
    @pytest.mark.parametrize("ranges", [True, False])
    @pytest.mark.parametrize(
        ("asked", "expected"),
        [("bytes=2-4", b"cde"), ("bytes=2-99", b"cdefg"), ("bytes=5-", b"fg"), ("bytes=-3", b"efg")],
    )
    def test_ranges(self, tmp_path: Path, ranges: bool, asked: str, expected: bytes) -> None:
        (tmp_path / "x").write_bytes(b"abcdefg")
        with http_server(tmp_path, ranges=ranges) as url:
            request = urllib.request.Request(f"{url}/x", headers={"Range": asked})
            with urllib.request.urlopen(request) as answer:
                found = (answer.status, answer.read())
        assert found == ((206, expected) if ranges else (200, b"abcdefg"))

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"abc")
        with http_server(tmp_path) as url:
            client = http.client.HTTPConnection(url.removeprefix("http://"))
            found = []
            for path, asked in (("/y", "bytes=0-1"), ("/x", "bytes=3-5"), ("/x", "bytes=0-0")):
                client.request("GET", path, headers={"Range": asked})
                answer = client.getresponse()
                answer.read()
                found.append(answer.status)
            client.close()
        assert found == [404, 416, 206]
