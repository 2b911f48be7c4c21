"""Faults of a network and of an object store: an HTTP proxy on loopback that spoils chosen requests.

Requests are passed on byte for byte, with the client's ``Host``, so that signatures stay valid::

    with FaultProxy(server.url) as proxy:
        proxy.inject("lost reply", at=2, when=of_kind("create"))
        …                                   # a client whose endpoint is proxy.url
        assert proxy.landed == 1
        assert proxy.counts()["create"] == 3
"""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Literal, Self, get_args
from urllib.parse import parse_qsl, urlsplit

Fault = Literal[
    "status 500",  # not carried out
    "status 503",  # with Retry-After
    "status 403",
    "status 404",
    "status 409",  # S3: two conditional changes at once, and this one may be repeated
    "reset",  # the connection, before the request is carried out
    "lost reply",  # carried out, and the connection closed without an answer
    "late 500",  # carried out, and answered as if it failed
    "truncated",  # the length is announced, half of it sent, and the connection closed
    "flipped bit",  # in the middle of the body
    "slow body",  # one piece after another; see Rule.seconds
    "delay",  # of the answer; see Rule.seconds
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
ANSWERS = {
    "status 500": (500, "Internal Server Error", "InternalError"),
    "late 500": (500, "Internal Server Error", "InternalError"),
    "status 503": (503, "Service Unavailable", "SlowDown"),
    "status 403": (403, "Forbidden", "AccessDenied"),
    "status 404": (404, "Not Found", "NoSuchKey"),
    "status 409": (409, "Conflict", "ConditionalRequestConflict"),
}
CARRIED_OUT = ("lost reply", "late 500", "truncated", "flipped bit", "slow body", "delay")
OF_BODIES = ("flipped bit", "slow body")  # an answer without a body cannot have them
PIECES = 10  # of a slow body
MAX_HEAD_BYTES = 1 << 16
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # their names in lower case
    body_bytes: int

    @property
    def range(self) -> str | None:
        return self.headers.get("range") or self.headers.get("x-ms-range")

    @property
    def if_match(self) -> str | None:
        return self.headers.get("if-match")

    @property
    def if_none_match(self) -> str | None:
        return self.headers.get("if-none-match")

    @property
    def kind(self) -> str:
        """What it is to an object store; the same words for S3, Azure and plain HTTP."""
        if "comp" in self.query or "restype" in self.query:
            return self._kind_of_azure
        if self.method == "GET":
            if "list-type" in self.query:
                return "list"
            return "get" if self.range is None else "range"
        if self.method == "PUT":
            return self._kind_of_put
        if self.method == "POST":
            return (
                "start"
                if "uploads" in self.query
                else "finish"
                if "uploadId" in self.query
                else "delete many"
            )
        if self.method == "DELETE" and "uploadId" in self.query:
            return "abort"
        return self.method.lower()

    @property
    def _kind_of_azure(self) -> str:
        comp = self.query.get("comp", "")
        return {"list": "list", "block": "part", "blocklist": "finish", "batch": "delete many"}.get(
            comp, comp
        )

    @property
    def _kind_of_put(self) -> str:
        if "partNumber" in self.query:
            return "part"
        if "x-amz-copy-source" in self.headers or "x-ms-copy-source" in self.headers:
            return "copy"
        if self.if_match is not None:
            return "update"
        return "put" if self.if_none_match is None else "create"


@dataclass(frozen=True)
class Record:
    """A request, the status that the client was sent (0: none), and the fault that hit it."""

    request: Request
    status: int
    fault: Fault | None


Condition = Callable[[Request], bool]


def of_kind(*kinds: str) -> Condition:
    """A condition for :meth:`FaultProxy.inject`."""
    return lambda request: request.kind in kinds


@dataclass
class Rule:
    """One fault: which of the requests that fulfil ``when`` it hits, counted from 0."""

    fault: Fault
    at: int | None
    from_then_on: bool
    probability: float
    when: Condition
    seconds: float
    random: random.Random
    seen: int = 0
    hits: int = 0

    def hit(self, request: Request) -> bool:
        if not self.when(request):
            return False
        number, self.seen = self.seen, self.seen + 1
        if self.at is None:
            is_hit = self.random.random() < self.probability
        else:
            is_hit = number >= self.at if self.from_then_on else number == self.at
        self.hits += is_hit
        return is_hit


class _ClosedError(Exception):
    """The other side closed the connection between two messages."""


@dataclass(frozen=True)
class _Message:
    """A request or an answer, its bytes as they came."""

    head: bytes
    body: bytes
    ends_connection: bool = False

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        return {name.strip().lower(): value.strip() for name, value in pairs}

    @property
    def keeps_connection(self) -> bool:
        return self.first_line[2] == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"

    def without(self, *names: bytes) -> _Message:
        """Without some lines of the head, named in lower case."""
        first, *lines = self.head.split(b"\r\n")
        kept = [line for line in lines if line.split(b":", 1)[0].strip().lower() not in names]
        return _Message(b"\r\n".join([first, *kept]), self.body, self.ends_connection)

    def adding(self, line: bytes) -> _Message:
        return _Message(self.head[:-2] + line + b"\r\n\r\n", self.body, self.ends_connection)

    def with_length(self) -> _Message:
        """With its whole body after the head, and the length announced."""
        if "content-length" in self.headers:
            return self
        body = self.body
        if "transfer-encoding" in self.headers:
            body = _joined_chunks(body)
        head = self.without(b"transfer-encoding", b"connection")
        return _Message(head.head, body).adding(f"Content-Length: {len(body)}".encode())


class FaultProxy:
    """Passes requests on to ``upstream``, an ``http://`` URL of loopback, and spoils those that rules hit.

    Each connection of a client has a thread; each request has a connection of its own to the server, so that
    the proxy never has to repeat one. The first rule that hits a request counts.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError(f"FaultProxy: {upstream!r} is not http://host:port")
        self._upstream = (parts.hostname, parts.port)
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._records: list[Record] = []
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept, name="fault proxy", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake up accept()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            clients, threads = list(self._clients), list(self._threads)
        for client in clients:
            _shut(client)
        for thread in threads:
            thread.join(GIVE_UP_SECONDS)

    def inject(
        self,
        fault: Fault,
        *,
        at: int | None = None,
        from_then_on: bool = False,
        probability: float = 1.0,
        seed: int = 0,
        when: Condition = lambda _: True,
        seconds: float = 0.1,
    ) -> Rule:
        """Spoil request number ``at`` of those that come from now on and fulfil ``when``.

        Without ``at``, spoil each of them with ``probability``. ``seconds`` is the time of a delay and of a
        slow body, and of ``Retry-After`` (rounded). Gives the rule, which counts what it has ``seen`` and
        its ``hits``.
        """
        if fault not in FAULTS:
            raise ValueError(f"inject: no fault is called {fault!r}; there are {', '.join(FAULTS)}")
        rule = Rule(fault, at, from_then_on, probability, when, seconds, random.Random(seed))
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """No faults from now on."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Count requests from zero; rules go on."""
        with self._lock:
            self._records.clear()

    @property
    def records(self) -> list[Record]:
        """All requests that were dealt with, in the order of their answers."""
        with self._lock:
            return list(self._records)

    @property
    def landed(self) -> int:
        """The number of requests that were hit."""
        return sum(record.fault is not None for record in self.records)

    def counts(self) -> Counter[str]:
        """The number of requests of each kind."""
        return Counter(record.request.kind for record in self.records)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(client,), name="fault proxy", daemon=True)
            with self._lock:
                self._clients.add(client)
                self._threads.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rb") as stream:
                while self._answer_one(client, stream) and not self._stopping.is_set():
                    pass
        except (OSError, _ClosedError):
            pass  # the client went away, as clients do
        finally:
            with self._lock:
                self._clients.discard(client)
                self._threads.discard(threading.current_thread())

    def _answer_one(self, client: socket.socket, stream: BinaryIO) -> bool:
        """Deal with one request; whether the connection can go on."""
        message = _read_request(stream, client)
        request = _parsed(message)
        with self._lock:
            rule = next((rule for rule in self._rules if rule.hit(request)), None)
        fault = None if rule is None else rule.fault
        answer = None
        if fault is None or fault in CARRIED_OUT:
            answer = self._passed_on(message, request.method)
        if fault in ANSWERS:
            assert rule is not None
            answer = _refusal(rule, request.method)
        if rule is not None and fault in OF_BODIES and answer is not None and not answer.body:
            with self._lock:
                rule.hits -= 1
            rule, fault = None, None
        is_lost = answer is None or fault in ("reset", "lost reply")
        status = 0 if answer is None or is_lost else int(answer.first_line[1])
        # Before the client can act on the answer: it may look at the records then.
        with self._lock:
            self._records.append(Record(request, status, fault))
        if answer is None or is_lost:
            if fault == "reset":
                # With a linger time of zero, close() sends RST.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if rule is not None:
            return self._send_spoiled(client, answer, rule)
        client.sendall(answer.head + answer.body)
        return not answer.ends_connection and message.keeps_connection

    def _send_spoiled(self, client: socket.socket, answer: _Message, rule: Rule) -> bool:
        if answer.body:
            answer = answer.with_length()
        if rule.fault == "truncated":
            whole = answer.body or answer.head
            client.sendall((answer.head if answer.body else b"") + whole[: len(whole) // 2])
            return False
        if rule.fault == "flipped bit" and answer.body:
            middle = len(answer.body) // 2
            body = bytearray(answer.body)
            body[middle] ^= 1
            answer = _Message(answer.head, bytes(body))
        if rule.fault == "slow body":
            return self._send_slowly(client, answer, rule.seconds)
        if rule.fault == "delay":
            self._stopping.wait(rule.seconds)
        client.sendall(answer.head + answer.body)
        return not answer.ends_connection

    def _send_slowly(self, client: socket.socket, answer: _Message, seconds: float) -> bool:
        client.sendall(answer.head)
        step = max(1, -(-len(answer.body) // PIECES))
        for start in range(0, len(answer.body), step):
            self._stopping.wait(seconds / PIECES)
            client.sendall(answer.body[start : start + step])
        return not answer.ends_connection

    def _passed_on(self, message: _Message, method: str) -> _Message | None:
        """The server's answer; none if it gives none."""
        request = message.without(b"connection", b"expect").adding(b"Connection: close")
        try:
            with socket.create_connection(self._upstream, GIVE_UP_SECONDS) as server:
                server.sendall(request.head + request.body)
                with server.makefile("rb") as stream:
                    return _read_answer(stream, method)
        except (OSError, _ClosedError):
            return None


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


def _parsed(message: _Message) -> Request:
    method, target, _ = message.first_line
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, parts.path, query, message.headers, len(message.body))


def _refusal(rule: Rule, method: str) -> _Message:
    status, reason, code = ANSWERS[rule.fault]
    text = f"<Error><Code>{code}</Code><Message>injected: {rule.fault}</Message></Error>".encode()
    lines = [f"HTTP/1.1 {status} {reason}", "Content-Type: application/xml", f"Content-Length: {len(text)}"]
    if status == 503:
        lines.append(f"Retry-After: {round(rule.seconds)}")
    head = "\r\n".join([*lines, "", ""])
    return _Message(head.encode(), b"" if method == "HEAD" else text)


def _read_request(stream: BinaryIO, client: socket.socket) -> _Message:
    head = _read_head(stream)
    message = _Message(head, b"")
    if message.headers.get("expect", "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return _Message(head, _read_body(stream, message.headers))


def _read_answer(stream: BinaryIO, method: str) -> _Message:
    while True:
        message = _Message(_read_head(stream), b"")
        status = int(message.first_line[1])
        if status >= 200:
            break
    message = message.without(b"connection")
    if method == "HEAD" or status in (204, 304):
        return message
    headers = message.headers
    if "content-length" in headers or "transfer-encoding" in headers:
        return _Message(message.head, _read_body(stream, headers))
    return _Message(message.head, stream.read(), ends_connection=True).adding(b"Connection: close")


def _read_head(stream: BinaryIO) -> bytes:
    lines: list[bytes] = []
    while not lines or lines[-1] != b"\r\n":
        line = stream.readline(MAX_HEAD_BYTES)
        if not line.endswith(b"\r\n"):
            raise _ClosedError
        lines.append(line)
    return b"".join(lines)


def _read_body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    """The body, with the lengths of its chunks where it has chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _read_exactly(stream, int(headers.get("content-length", 0)))
    parts = []
    length = None
    while length != 0:
        line = stream.readline(MAX_HEAD_BYTES)
        if not line.endswith(b"\r\n"):
            raise _ClosedError
        length = int(line.split(b";")[0], 16)
        parts.append(line)
        if length:
            parts.append(_read_exactly(stream, length + 2))
    while parts[-1] != b"\r\n":  # trailers, and the empty line after them
        line = stream.readline(MAX_HEAD_BYTES)
        if not line.endswith(b"\r\n"):
            raise _ClosedError
        parts.append(line)
    return b"".join(parts)


def _joined_chunks(body: bytes) -> bytes:
    stream = BytesIO(body)
    parts = []
    while length := int(stream.readline().split(b";")[0], 16):
        parts.append(stream.read(length + 2)[:-2])
    return b"".join(parts)


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise _ClosedError
    return data
