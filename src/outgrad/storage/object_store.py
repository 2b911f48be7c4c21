"""A bucket of an object store as a store, through obstore (``pip install outgrad[cloud]``).

What was measured of obstore, and why things are as they are here, is in docs/design/0012-object-stores.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from outgrad._forks import forgets_in_child
from outgrad._threads import stop_event, stops_with
from outgrad.errors import (
    ArchiveNotFoundError,
    PathPermissionError,
    StoreAccessError,
    UnknownOutcomeError,
)
from outgrad.storage.leases import partial_name
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Asked, Bytes, Entry, Reply, Staged, Store, UnreadableError
from outgrad.storage.urls import READ_ONLY, StoreUrl

CLIENT_OPTIONS = {"connect_timeout": "5 s", "read_timeout": "15 s", "timeout": "300 s"}
"""``timeout`` bounds a whole request with its body, ``read_timeout`` the silence in it."""
RETRIES = 5
RETRY_SECONDS = 30.0
"""No request is repeated after so long: a call ends after this and one more ``read_timeout``."""
FIRST_PAUSE_SECONDS = 0.2
ATTEMPTS = 4
"""Of what obstore does not repeat itself: lists and bodies that were cut off, and conditional puts."""
STOP_SECONDS = 2.0
"""How long an interrupted call waits for the request that is under way."""
AT_ONCE = 4
"""Requests of one call at the same time; so a task holds a few shards more than from a disk."""

PREFIXES = {"s3": "AWS", "az": "AZURE", "gs": "GOOGLE"}
"""How the names of environment variables begin."""
OF_CLIENT = ("allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout")
"""Options that are environment variables too; they count no more once any option is given in another way."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_SKIP_SIGNATURE=true for a public bucket)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_NO_CREDENTIALS = re.compile(
    r"token request|/latest/(api/token|meta-data)|169\.254\.169\.254|Missing (Access|Secret)|"
    r"Account must be specified"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
_DENIED = re.compile(r"status code: 40[13]\b|\b40[13] (Forbidden|Unauthorized)")
_ENDS_BEFORE = re.compile(
    r"\b416 (Requested )?Range Not Satisfiable|Wanted range starting at \d+, but", re.IGNORECASE
)
_TRIED = re.compile(r"after [1-9]\d* retries")
"""What obstore has repeated itself."""
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SIGNATURE|CREDENTIAL|SAS")
SHOWN_REASON = 300


class _Network:
    """Whether this process has asked anything of a network: then its forked children cannot.

    obstore's threads stay with the parent, and a child that waits for them disturbs the parent too.
    """

    def __init__(self) -> None:
        self.is_used = False
        self.is_lost = False

    def forget_threads(self) -> None:
        self.is_lost = self.is_used


_network = _Network()
forgets_in_child(_network)
_clients: OpenFiles[tuple[str, str, str], Any] = OpenFiles(64)
_memories: dict[str, Any] = {}
"""Stores in the memory of this process, for tests."""


class ObjectStore(Store):
    """Objects whose names begin with a URL; there are no folders.

    It is small to pickle and holds no secrets: the client is made once a process, of environment variables.
    """

    def __init__(self, url: StoreUrl) -> None:
        self.url = url
        self._prefix = f"{url.key}/" if url.key else ""

    @property
    def lists(self) -> bool:
        return self.url.scheme not in READ_ONLY

    @property
    def at_once(self) -> int:
        return 1 if self.url.scheme == "memory" else AT_ONCE

    @property
    def name(self) -> str:
        return str(self.url)

    # ---- reading ----
    def get(self, key: str, most: int | None = None) -> Bytes | None:
        def read(obstore: Any, client: Any) -> Bytes:
            found = obstore.get(client, self._prefix + key)
            size = found.meta["size"]
            if most is not None and size > most:
                raise UnreadableError(f"is corrupted: its {size} bytes are more than it can have")
            return np.frombuffer(found.bytes(), np.uint8)

        return self._found("read", key, read)

    def get_range(self, key: str, start: int, stop: int) -> Bytes | None:
        if start >= stop:
            return np.empty(0, np.uint8) if self.exists(key) else None

        def read(obstore: Any, client: Any) -> Bytes:
            try:
                data = obstore.get_range(client, self._prefix + key, start=start, end=stop)
            except obstore.exceptions.NotSupportedError:  # a plain HTTP server that has no ranges
                return np.frombuffer(obstore.get(client, self._prefix + key).bytes(), np.uint8)[start:stop]
            except obstore.exceptions.BaseError as error:
                if not _ENDS_BEFORE.search(str(error)):
                    raise
                return np.empty(0, np.uint8)
            return np.frombuffer(data, np.uint8)

        return self._found("read", key, read)

    def exists(self, key: str) -> bool:
        return self._found("look for", key, lambda o, client: o.head(client, self._prefix + key)) is not None

    def is_there(self) -> bool:
        return self._any("") if self.lists else self.exists("zarr.json")

    def is_folder(self) -> bool:
        return self.is_there()

    def entries(self, folder: str, prefix: str = "") -> list[Entry]:
        if not self.lists:
            return []
        within = self._folder(folder)
        listed = self._ask(
            "list", folder, lambda obstore, client: obstore.list_with_delimiter(client, within or None)
        )
        found = [_entry(each) for each in listed["objects"]]
        found += [Entry(path.rpartition("/")[2], "folder") for path in listed["common_prefixes"]]
        return sorted(entry for entry in found if entry.name and entry.name.startswith(prefix))

    def walk(self, folder: str) -> Iterator[tuple[str, Entry]]:
        prefix = self._folder(folder) or None
        listed = self._ask(
            "list", folder, lambda obstore, client: [*chain.from_iterable(obstore.list(client, prefix))]
        )
        for each in listed:
            yield each["path"].removeprefix(self._prefix), _entry(each)

    def each(self, function: Callable[[Asked], Reply], items: Iterable[Asked]) -> Iterator[Reply]:
        waiting = list(items)
        if min(len(waiting), self.at_once) < 2:
            return map(function, waiting)
        return at_once(function, waiting)

    def _any(self, folder: str) -> bool:
        prefix = self._folder(folder) or None
        return bool(
            self._ask("list", folder, lambda o, client: next(iter(o.list(client, prefix, chunk_size=1)), ()))
        )

    def _folder(self, folder: str) -> str:
        return f"{self._prefix}{folder}".rstrip("/")

    # ---- writing ----
    def put(self, key: str, data: bytes | Bytes, *, durable: bool = True) -> None:
        body = np.frombuffer(data, np.uint8).data
        self._ask("write", key, lambda obstore, client: obstore.put(client, self._prefix + key, body))

    def create(self, key: str, data: bytes | Bytes = b"") -> None:
        self.put(key, data)

    def stage(self, key: str, data: bytes, token: str, *, durable: bool = True) -> Staged:
        folder, _, name = key.rpartition("/")
        partial = f"{folder}/{partial_name(name, token)}".lstrip("/")
        self._ask("write", key, lambda obstore, client: obstore.put(client, self._prefix + partial, data))
        return _StagedObject(self, key, partial, data)

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object that must not exist, once; FileExistsError may also mean that it was just written,
        or that the store wants to be asked again."""

        def put(obstore: Any, client: Any) -> None:
            obstore.put(client, self._prefix + key, data, mode="create", use_multipart=False)

        self._ask("write", key, put, attempts=1)

    def remove(self, key: str) -> None:
        self._found("remove", key, lambda obstore, client: obstore.delete(client, self._prefix + key))

    def remove_folder(self, folder: str) -> None:
        prefix = self._folder(folder) or None

        def remove(obstore: Any, client: Any) -> bool:
            paths = [each["path"] for chunk in obstore.list(client, prefix) for each in chunk]
            if paths:
                with suppress(FileNotFoundError):  # another writer was faster: list again
                    obstore.delete(client, paths)
            return not paths

        for _ in range(ATTEMPTS):
            if self._ask("remove", folder, remove):
                return

    def make_parents(self) -> list[str]:
        return []

    def remove_parents(self, made: Sequence[str]) -> None:
        pass

    def make_folder(self, folder: str) -> None:
        pass

    def remove_folder_if_empty(self, folder: str) -> bool:
        return not self._any(folder)

    def flush(self, written: Sequence[str], folders: Sequence[str]) -> None:
        pass

    # ---- asking ----
    def _found(self, action: str, key: str, ask: Callable[[Any, Any], Reply]) -> Reply | None:
        """What is asked for, None if there is no such object; that there is no bucket is an error."""
        try:
            return self._ask(action, key, ask)
        except FileNotFoundError as error:
            if isinstance(error, ArchiveNotFoundError):
                raise
            return None

    def _ask(
        self, action: str, key: str, ask: Callable[[Any, Any], Reply], attempts: int = ATTEMPTS
    ) -> Reply:
        """Ask something, again where that may help; errors are ours, short and without secrets."""
        obstore = import_obstore(f"{action} {self.name}")
        known = (obstore.exceptions.BaseError, NotImplementedError, ValueError)
        where = f"{action} {self.name}/{key}".rstrip("/")
        deadline = time.monotonic() + RETRY_SECONDS / 3
        for attempt in range(attempts):
            try:
                client = self._client(obstore)
                if self.url.scheme == "memory":
                    return ask(obstore, client)
                return interruptibly(partial(ask, obstore, client))
            except FileNotFoundError as error:
                if _NO_BUCKET.search(str(error)):
                    raise self._refusal(where, error) from None
                raise FileNotFoundError(where) from None
            except obstore.exceptions.AlreadyExistsError:
                raise FileExistsError(where) from None
            except known as error:
                refusal = self._refusal(where, error)
                is_last = attempt == attempts - 1 or time.monotonic() > deadline or _TRIED.search(str(error))
                if is_last or type(refusal) is not StoreAccessError:
                    raise refusal from None
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _client(self, obstore: Any) -> Any:
        if self.url.scheme == "memory":
            return _memories.setdefault(self.url.bucket, obstore.store.MemoryStore())
        if _network.is_lost:
            raise StoreAccessError(
                f"open {self.name}: this process was forked from one that had used an object store, and "
                "cannot use one itself; start it with the method 'spawn' or 'forkserver' of multiprocessing"
            )
        _network.is_used = True
        return _clients.get(
            (self.url.scheme, self.url.bucket, environment_digest()),
            partial(new_client, obstore, self.url),
        )

    def _refusal(self, where: str, error: BaseException) -> OSError:
        """The error for what obstore says, which may take many lines and name what is secret."""
        text = str(error).split("\n\nDebug source:")[0]
        if _NO_BUCKET.search(text):
            return ArchiveNotFoundError(f"{where}: there is no bucket {self.url.root}; check the URL")
        if _NO_CREDENTIALS.search(text):
            return PathPermissionError(
                f"{where}: there are no credentials; set the environment variables "
                f"{CREDENTIALS.get(self.url.scheme)}"
            )
        if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or _DENIED.search(text):
            return PathPermissionError(
                f"{where}: permission denied; check the credentials, and what they allow in {self.url.root}"
            )
        return StoreAccessError(
            f"{where}: {shown_reason(text)}; check the URL and the network, and try again"
        )


def _entry(listed: Any) -> Entry:
    modified = listed["last_modified"].timestamp()
    return Entry(listed["path"].rpartition("/")[2], "object", modified, listed["size"])


class _StagedObject:
    """An object under another name, by which other writers see what is about to appear."""

    def __init__(self, store: ObjectStore, key: str, partial: str, data: bytes) -> None:
        self._store = store
        self._key = key
        self._partial = partial
        self._data = data

    def publish(self) -> None:
        """Create it. While the outcome of an attempt is not known another one settles it: it creates the
        object, or finds it there, and then its content says whose it is.

        Raises
        ------
        UnknownOutcomeError
            If no attempt had an answer: the object may be there, or come.
        """
        unknown: OSError | None = None
        deadline = time.monotonic() + RETRY_SECONDS
        for attempt in range(ATTEMPTS):
            try:
                self._store.put_new(self._key, self._data)
                return
            except FileExistsError:
                # S3 says so too where two requests met, and neither has made an object.
                if self._store.exists(self._key):
                    raise
            except PathPermissionError:
                if unknown is None:
                    raise
            except StoreAccessError as error:
                unknown = error
            if time.monotonic() > deadline:
                break
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        raise UnknownOutcomeError(
            f"{unknown or f'write {self._store.name}/{self._key}: it was refused'}; whether the new version "
            "was made is not known: look at the history"
        )

    def discard(self) -> None:
        self._store.remove(self._partial)


def interruptibly(ask: Callable[[], Reply]) -> Reply:
    """Call in a thread, so that Ctrl-C and the end of a computation need not wait for an answer."""
    if stop_event() is None and threading.current_thread() is not threading.main_thread():
        return ask()
    future: Future[Reply] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="outgrad request", daemon=True).start()
    try:
        return waited_for(future)
    except KeyboardInterrupt:
        wait([future], STOP_SECONDS)
        raise


def at_once(function: Callable[[Asked], Reply], items: Sequence[Asked]) -> Iterator[Reply]:
    """Yield what a function returns for each item, in their order, a few of them ahead."""
    stopped = threading.Event()
    count = min(AT_ONCE, len(items))
    pool = ThreadPoolExecutor(count, "outgrad several", initializer=stops_with, initargs=(stopped,))
    ahead: deque[Future[Reply]] = deque()
    try:
        for item in items:
            if len(ahead) == count:
                yield waited_for(ahead.popleft())
            ahead.append(pool.submit(function, item))
        while ahead:
            yield waited_for(ahead.popleft())
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def waited_for(future: Future[Reply]) -> Reply:
    """The result of a future, unless nobody needs it any more."""
    stop = stop_event()
    while stop is not None and not wait([future], STOP_SECONDS).done:
        if stop.is_set():
            raise StoreAccessError("a request was given up, since the computation has ended")
    return future.result()


def import_obstore(call: str) -> Any:
    """Return the package, which is optional."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise ImportError(
            f"{call}: obstore is not installed; install it with: pip install 'outgrad[cloud]'"
        ) from None
    return obstore


def new_client(obstore: Any, url: StoreUrl) -> Any:
    """Make the client of a bucket, of environment variables alone."""
    options: dict[str, Any] = dict(CLIENT_OPTIONS)
    prefix = PREFIXES.get(url.scheme, "")
    for name in OF_CLIENT:
        value = os.environ.get(f"{prefix}_{name}".upper())
        if prefix and value is not None:
            options[name] = value
    if url.scheme == "http":
        options["allow_http"] = True
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    allowed = str(options.get("allow_http", "")).lower() in ("true", "1")
    if url.scheme in PREFIXES and endpoint.startswith("http://") and not allowed:
        raise StoreAccessError(
            f"open {url.root}: its endpoint is not encrypted (http://); if that is meant, set "
            f"{prefix}_ALLOW_HTTP=true"
        )
    retries = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_PAUSE_SECONDS),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
    return obstore.store.from_url(url.root, client_options=options, retry_config=retries)


def environment_digest() -> str:
    """Names what clients are made of: they are made anew where credentials or endpoints change."""
    prefixes = tuple(f"{prefix}_" for prefix in PREFIXES.values())
    relevant = sorted(item for item in os.environ.items() if item[0].startswith(prefixes))
    return hashlib.sha256(repr(relevant).encode()).hexdigest()


def shown_reason(text: str) -> str:
    """One line of what a store or obstore says, without what may be secret."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET_NAME.search(name):
            text = text.replace(value, "…")
    text = re.sub(r"//[^/@\s]+@", "//", text)
    text = re.sub(r"\?[^\s)\"']+", "?…", text)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_REASON else f"{text[:SHOWN_REASON]}…"
