"""The proxy that injects faults: requests reach the server unchanged, and each fault lands as it is meant."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.fault_proxy import FAULTS, Fault, FaultProxy, of_kind

BODY = bytes(range(250)) * 4


@dataclass
class Upstream:
    """A server that remembers all it is asked for."""

    url: str
    stored: dict[str, bytes] = field(default_factory=dict)
    heads: list[dict[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def noted(self) -> None:
            found.lines.append(self.requestline)
            found.heads.append(dict(self.headers.items()))

        def do_GET(self) -> None:
            self.noted()
            body = found.stored.get(self.path, BODY)
            self.send_response(200)
            if self.path == "/chunked":
                self.send_header("Transfer-Encoding", "chunked")
                body = b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n"
            elif self.path != "/endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            self.noted()
            if "Content-Length" in self.headers:
                found.stored[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            else:
                parts = []
                while length := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(length + 2)[:-2])
                self.rfile.readline()
                found.stored[self.path] = b"".join(parts)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Upstream(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
    yield connection
    connection.close()


def asked(client: http.client.HTTPConnection, path: str = "/x") -> tuple[int, bytes]:
    client.request("GET", path)
    answer = client.getresponse()
    return answer.status, answer.read()


def put(client: http.client.HTTPConnection, path: str = "/x") -> int:
    client.request("PUT", path, body=b"value")
    answer = client.getresponse()
    answer.read()
    return answer.status


class TestPassingOn:
    @pytest.mark.parametrize("path", ["/plain", "/chunked", "/endless"])
    def test_answers_of_all_framings(
        self, proxy: FaultProxy, client: http.client.HTTPConnection, path: str
    ) -> None:
        assert [asked(client, path) for _ in range(2)] == [(200, BODY), (200, BODY)]
        assert proxy.landed == 0

    def test_head_has_no_body_and_the_connection_goes_on(self, client: http.client.HTTPConnection) -> None:
        client.request("HEAD", "/x")
        answer = client.getresponse()
        assert (answer.read(), answer.headers["Content-Length"]) == (b"", "1000")
        assert asked(client) == (200, BODY)

    def test_a_connection_serves_many_requests(self, client: http.client.HTTPConnection) -> None:
        client.connect()
        before = client.sock
        assert {asked(client)[0] for _ in range(5)} == {200}
        assert client.sock is before

    def test_request_body_in_chunks(self, upstream: Upstream, client: http.client.HTTPConnection) -> None:
        client.request("PUT", "/x", body=iter([b"ab", b"cde"]), encode_chunked=True)
        assert client.getresponse().read() == b""
        assert upstream.stored == {"/x": b"abcde"}

    def test_client_that_waits_for_leave_to_send(self, proxy: FaultProxy, upstream: Upstream) -> None:
        with socket.create_connection(("127.0.0.1", int(proxy.url.rsplit(":")[-1]))) as plain:
            plain.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert plain.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            plain.sendall(b"abc")
            assert plain.recv(100).startswith(b"HTTP/1.1 201")
        assert upstream.stored == {"/x": b"abc"}

    def test_what_is_signed_stays(
        self, proxy: FaultProxy, upstream: Upstream, client: http.client.HTTPConnection
    ) -> None:
        headers = {"If-None-Match": "*", "Authorization": "signature", "x-Odd-CASE": "a  b"}
        client.request("PUT", "/a%20b//c?x=1&y=%2F&z", body=b"1", headers=headers)
        client.getresponse().read()
        assert upstream.lines == ["PUT /a%20b//c?x=1&y=%2F&z HTTP/1.1"]
        assert upstream.heads[0]["Host"] == proxy.url.removeprefix("http://")
        assert headers.items() <= upstream.heads[0].items()

    def test_connections_at_once(self, proxy: FaultProxy) -> None:
        proxy.inject("delay", seconds=0.3)
        started = time.monotonic()

        def one(_: int) -> tuple[int, bytes]:
            client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
            try:
                return asked(client)
            finally:
                client.close()

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(one, range(20))) == {(200, BODY)}
        assert time.monotonic() - started < 20 * 0.3
        assert proxy.landed == 20

    def test_leaving_ends_what_is_slow(self, upstream: Upstream) -> None:
        with FaultProxy(upstream.url) as proxy:
            proxy.inject("delay", seconds=100)
            client = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
            client.request("GET", "/x")
            while not proxy.records:
                time.sleep(0.01)
        client.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "fault proxy"]

    def test_server_that_is_gone(self, upstream: Upstream) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with FaultProxy(f"http://127.0.0.1:{port}") as proxy:
            client = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
            with pytest.raises(http.client.RemoteDisconnected):
                asked(client)
            assert [(record.status, record.fault) for record in proxy.records] == [(0, None)]

    def test_upstream_has_to_be_plain_http(self) -> None:
        with pytest.raises(ValueError, match="'https://a:1' is not http://host:port"):
            FaultProxy("https://a:1")


class TestRecords:
    def test_methods_ranges_and_conditions(
        self, proxy: FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        asked(client, "/a?list-type=2")
        client.request("GET", "/a", headers={"Range": "bytes=0-9"})
        client.getresponse().read()
        client.request("PUT", "/a", body=b"123", headers={"If-None-Match": "*"})
        client.getresponse().read()
        client.request("PUT", "/a", body=b"123", headers={"If-Match": "tag"})
        client.getresponse().read()
        put(client)
        requests = [record.request for record in proxy.records]
        assert [request.kind for request in requests] == ["list", "range", "create", "update", "put"]
        assert [request.method for request in requests] == ["GET", "GET", "PUT", "PUT", "PUT"]
        assert (requests[1].path, requests[1].range) == ("/a", "bytes=0-9")
        assert (requests[2].if_none_match, requests[2].if_match, requests[2].body_bytes) == ("*", None, 3)
        assert requests[3].if_match == "tag"
        assert proxy.counts()["put"] == 1
        proxy.forget()
        assert proxy.counts() == {}


def received(client: http.client.HTTPConnection) -> str:
    """What a client notices of a fault."""
    started = time.monotonic()
    try:
        client.request("GET", "/x")
        answer = client.getresponse()
        retry = answer.headers.get("Retry-After")
        body = answer.read()
    except http.client.IncompleteRead as error:
        client.close()
        return f"{len(error.partial)} of {len(error.partial) + (error.expected or 0)} bytes"
    except http.client.RemoteDisconnected:
        return "no answer"
    except ConnectionResetError:
        return "reset"
    if answer.status != 200:
        return f"{answer.status}" + (f" retry after {retry}" if retry else "")
    if body != BODY:
        return f"{sum(a != b for a, b in zip(body, BODY, strict=True))} wrong"
    return "late" if time.monotonic() - started >= 0.5 else "right"


NOTICED: dict[Fault, tuple[str, int]] = {
    "status 500": ("500", 0),
    "status 503": ("503 retry after 1", 0),
    "status 403": ("403", 0),
    "status 404": ("404", 0),
    "status 409": ("409", 0),
    "reset": ("reset", 0),
    "lost reply": ("no answer", 1),
    "late 500": ("500", 1),
    "truncated": ("500 of 1000 bytes", 1),
    "flipped bit": ("1 wrong", 1),
    "slow body": ("late", 1),
    "delay": ("late", 1),
}
"""What a client notices, and how many requests the server carries out."""


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_each_lands(
        self, proxy: FaultProxy, upstream: Upstream, client: http.client.HTTPConnection, fault: Fault
    ) -> None:
        rule = proxy.inject(fault, at=0, seconds=0.6)
        assert (received(client), len(upstream.lines)) == NOTICED[fault]
        assert (rule.hits, proxy.landed, proxy.records[0].fault) == (1, 1, fault)
        assert received(client) == "right"
        assert proxy.landed == 1

    @pytest.mark.parametrize("fault", ["truncated", "flipped bit", "slow body"])
    @pytest.mark.parametrize("path", ["/chunked", "/endless"])
    def test_bodies_whose_length_is_not_announced(
        self, proxy: FaultProxy, client: http.client.HTTPConnection, fault: Fault, path: str
    ) -> None:
        proxy.inject(fault)
        if fault == "truncated":
            with pytest.raises(http.client.IncompleteRead, match="500 bytes read, 500 more expected"):
                asked(client, path)
        else:
            _, body = asked(client, path)
            assert sum(a != b for a, b in zip(body, BODY, strict=True)) == (fault == "flipped bit")
        assert proxy.landed == 1

    def test_lost_reply_of_a_change(
        self, proxy: FaultProxy, upstream: Upstream, client: http.client.HTTPConnection
    ) -> None:
        proxy.inject("lost reply")
        with pytest.raises(http.client.RemoteDisconnected):
            put(client)
        assert upstream.stored == {"/x": b"value"}
        assert proxy.records[0].status == 0

    @pytest.mark.parametrize(
        "fault", ["status 500", "status 503", "status 403", "status 404", "status 409", "reset"]
    )
    def test_changes_that_are_refused_are_not_carried_out(
        self, proxy: FaultProxy, upstream: Upstream, client: http.client.HTTPConnection, fault: Fault
    ) -> None:
        proxy.inject(fault)
        if fault == "reset":
            with pytest.raises(ConnectionResetError):
                put(client)
        else:
            assert put(client) == int(fault[-3:])
        assert upstream.stored == {}

    def test_answer_without_a_body_is_truncated_in_its_head(
        self, proxy: FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.inject("truncated")
        client.request("PUT", "/x", body=b"value")
        # http.client takes the end of the connection for the end of the head.
        assert len(client.getresponse().headers) < 3
        assert proxy.landed == 1

    @pytest.mark.parametrize("fault", ["flipped bit", "slow body"])
    def test_faults_of_bodies_do_not_count_where_there_is_none(
        self, proxy: FaultProxy, client: http.client.HTTPConnection, fault: Fault
    ) -> None:
        rule = proxy.inject(fault)
        assert put(client) == 201
        assert (rule.seen, rule.hits, proxy.landed) == (1, 0, 0)


def statuses(client: http.client.HTTPConnection, number: int) -> list[int]:
    return [asked(client)[0] for _ in range(number)]


class TestWhichRequests:
    def test_one(self, proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.inject("status 500", at=2)
        assert statuses(client, 5) == [200, 200, 500, 200, 200]

    def test_from_one_on_until_it_is_healed(
        self, proxy: FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.inject("status 500", at=2, from_then_on=True)
        assert statuses(client, 4) == [200, 200, 500, 500]
        proxy.heal()
        assert statuses(client, 2) == [200, 200]

    def test_of_a_kind(self, proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.inject("status 403", at=1, when=of_kind("put"))
        assert [put(client), *statuses(client, 3), put(client), put(client)] == [201, 200, 200, 200, 403, 201]

    def test_by_chance_but_reproducibly(self, proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
        found = []
        for seed in (1, 1, 2):
            proxy.heal()
            proxy.inject("status 500", probability=0.3, seed=seed)
            found.append(statuses(client, 40))
        assert found[0] == found[1] != found[2]
        assert 0 < found[0].count(500) < 40

    def test_the_first_rule_that_hits_counts(
        self, proxy: FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.inject("status 403", at=0)
        proxy.inject("status 404", at=0)
        assert statuses(client, 3) == [403, 404, 200]

    def test_unknown_fault(self, proxy: FaultProxy) -> None:
        with pytest.raises(ValueError, match="no fault is called 'fire'; there are status 500, status 503"):
            proxy.inject("fire")  # type: ignore[arg-type]
