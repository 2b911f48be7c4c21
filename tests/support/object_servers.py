"""Object stores on loopback: S3 by moto and Azure by Azurite, in processes of their own, and plain HTTP.

Azurite is a program of npm. It is looked for in ``OUTGRAD_AZURITE`` (the path of ``azurite-blob``), on the
``PATH``, and where ``pytest --install-azurite`` puts it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

from tests.support import ROOT

START_SECONDS = 60.0
AZURITE = "azurite@3"
LISTENS = re.compile(r"listens on (http://127\.0\.0\.1:\d+)")

# The servers outlive neither the test run nor a kill of it: the end of standard input ends them. Ctrl-C of a
# terminal does not reach them, so that tests can still clean up.
GUARD = """
import os, signal, subprocess, sys, threading
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: os._exit(child.wait() & 255), daemon=True).start()
try:
    sys.stdin.read()
finally:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
"""


@dataclass(frozen=True)
class ObjectServer:
    """A server that runs: its URL, and the dummy credentials of its only user."""

    kind: Literal["s3", "azure"]
    url: str
    user: str
    secret: str
    guard_id: int  # of the process that ends it

    def new_bucket(self) -> Bucket:
        """An empty bucket, or container, that nobody else uses."""
        name = f"test-{secrets.token_hex(8)}"
        if self.kind == "s3":
            scope = f"{self.user}/20250101/us-east-1/s3/aws4_request"  # moto does not check signatures
            headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}"}
            _put(f"{self.url}/{name}", headers)
            return Bucket(f"s3://{name}", self.environment())
        path = f"/{self.user}/{name}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "\n".join(f"{key}:{value}" for key, value in sorted(headers.items()))
        text = "PUT" + 12 * "\n" + f"{signed}\n/{self.user}{path}\nrestype:container"
        digest = hmac.new(base64.b64decode(self.secret), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.user}:{base64.b64encode(digest).decode()}"
        _put(f"{self.url}{path}?restype=container", headers)
        return Bucket(f"az://{name}", self.environment())

    def environment(self) -> dict[str, str]:
        """What a user would set."""
        if self.kind == "s3":
            return {
                "AWS_ENDPOINT_URL": self.url,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": self.user,
                "AWS_SECRET_ACCESS_KEY": self.secret,
                "AWS_REGION": "us-east-1",
            }
        return {
            "AZURE_STORAGE_ENDPOINT": f"{self.url}/{self.user}",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ACCOUNT_NAME": self.user,
            "AZURE_STORAGE_ACCOUNT_KEY": self.secret,
        }


@dataclass(frozen=True)
class Bucket:
    """A bucket or container: its URL, and the environment variables that lead to it."""

    url: str
    environment: Mapping[str, str]

    def through(self, server: str, proxy: str) -> Bucket:
        """The same, reached by the URL of a proxy in front of the server."""
        moved = {name: value.replace(server, proxy) for name, value in self.environment.items()}
        return replace(self, environment=moved)

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Set its environment variables, and no others that lead elsewhere."""
        for name in os.environ:
            if name.startswith(("AWS_", "AZURE_", "AZURITE_")):
                patch.delenv(name)
        for name, value in self.environment.items():
            patch.setenv(name, value)
        # A client without credentials would ask the service of a cloud's machines; nobody listens here.
        patch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")


@contextmanager
def s3_server(*, slow: bool = False) -> Iterator[ObjectServer]:
    """S3, by moto. ``slow`` gives races in it the time to happen."""
    argv = [sys.executable, "-m", "tests.support.s3_program", *(["slow"] if slow else [])]
    with _served(argv, {}) as (url, guard_id):
        yield ObjectServer("s3", url, "dummy-user", secrets.token_hex(20), guard_id)


@contextmanager
def azure_server(program: str) -> Iterator[ObjectServer]:
    """Azure's blobs, by ``program``, an ``azurite-blob``; see :func:`found_azurite`."""
    user, secret = "dummyuser", base64.b64encode(secrets.token_bytes(32)).decode()
    argv = [program, "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    # Azurite may not know the newest version of the protocol.
    argv += ["--skipApiVersionCheck", "--disableProductStyleUrl"]
    with _served(argv, {"AZURITE_ACCOUNTS": f"{user}:{secret}"}) as (url, guard_id):
        yield ObjectServer("azure", url, user, secret, guard_id)


@contextmanager
def _served(argv: list[str], environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    guard = subprocess.Popen(
        [sys.executable, "-c", GUARD, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    assert guard.stdin is not None
    log = _Log(guard)
    try:
        url = log.url()
        _wait_for_answer(url)
        yield url, guard.pid
    finally:
        guard.stdin.close()
        try:
            guard.wait(2)
        except subprocess.TimeoutExpired:
            # A process that forked from this one still has the other end.
            guard.terminate()
            guard.wait(10)
        log.join()


class _Log(threading.Thread):
    """Reads what a server prints, so that it never waits for a reader."""

    def __init__(self, guard: subprocess.Popen[str]) -> None:
        super().__init__(name="log of a server", daemon=True)
        self._guard = guard
        self._lines: deque[str] = deque(maxlen=50)
        self._url: str | None = None
        self._is_known = threading.Event()
        self.start()

    def run(self) -> None:
        assert self._guard.stdout is not None
        with self._guard.stdout as lines:
            for line in lines:
                self._lines.append(line)
                if self._url is None and (found := LISTENS.search(line)):
                    self._url = found[1]
                    self._is_known.set()
        self._is_known.set()

    def url(self) -> str:
        self._is_known.wait(START_SECONDS)
        if self._url is None:
            raise RuntimeError("the server did not start; it printed:\n" + "".join(self._lines))
        return self._url


def _wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()  # any answer will do
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        return


def _put(url: str, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, data=b"", headers=headers, method="PUT")
    request.add_header("Content-Type", "")
    urllib.request.urlopen(request, timeout=START_SECONDS).close()


def found_azurite() -> str | None:
    """The path of ``azurite-blob``, if this machine has it."""
    cached = _azurite_folder() / "node_modules" / ".bin" / "azurite-blob"
    named = os.environ.get("OUTGRAD_AZURITE")
    return named or shutil.which("azurite-blob") or (str(cached) if cached.exists() else None)


def install_azurite() -> str:
    """Let npm install Azurite in the user's cache; another process may be doing the same."""
    folder = _azurite_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        argv = ["npm", "install", "--no-audit", "--no-fund", "--prefix", scratch, AZURITE]
        subprocess.run(argv, check=True, capture_output=True, timeout=600)
        with suppress(OSError):  # the other process was faster
            (Path(scratch) / "node_modules").rename(folder / "node_modules")
    program = found_azurite()
    assert program is not None
    return program


def _azurite_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "outgrad-tests" / "azurite"


class _RangeHandler(SimpleHTTPRequestHandler):
    """Files, and one range of them where a request asks for it."""

    protocol_version = "HTTP/1.1"
    has_ranges = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not self.has_ranges or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        if wanted[1]:
            start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
        else:
            start, stop = max(0, len(data) - int(wanted[2])), len(data)
        if start >= stop:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(data[start:stop])


class _PlainHandler(_RangeHandler):
    has_ranges = False


@contextmanager
def http_server(folder: Path, *, ranges: bool = True) -> Iterator[str]:
    """The URL of a plain HTTP server of a folder; without ``ranges`` like ``python -m http.server``."""
    handler = partial(_RangeHandler if ranges else _PlainHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
