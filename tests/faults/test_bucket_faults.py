"""Whichever request to a bucket fails: the old version is there or the new one, and nothing hangs."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import dask
import pytest

import outgrad as og
from outgrad.errors import ArchiveConflictError, ArchiveWarning, UnknownOutcomeError
from outgrad.storage import object_store
from tests.support.buckets import copy, numbers, objects, partials, segments
from tests.support.fault_proxy import Fault, FaultProxy, Request, of_kind
from tests.support.object_servers import Bucket, ObjectServer
from tests.support.pieces import joined, piece

pytestmark = pytest.mark.cluster

SECONDS = 60.0
"""No call takes longer, whatever the server does."""
FAULTS: list[Fault] = [fault for fault in get_args(Fault) if fault != "flipped bit"]
"""What a network does; TLS sees flipped bits, and the archive those in chunks and commits."""
FOR_EVER: list[Fault] = [
    "status 500",
    "status 403",
    "reset",
    "lost reply",
    "late 500",
    "truncated",
]


def small(seed: int) -> og.TensorMap:
    return og.remove_gradients(piece(seed, keys=(0,)))


def together(*seeds: int) -> og.TensorMap:
    return joined([small(seed) for seed in seeds])


def refused_segment(url: str) -> None:
    """Data that are complete, and that no commit has."""
    og.append(url, small(0))
    writer = og.ArchiveWriter(url, append=True)
    writer.append(small(1))
    og.save(url, small(2), overwrite=True)
    with pytest.raises(ArchiveConflictError, match="has replaced the archive"):
        writer.close()


def three_versions(url: str) -> None:
    for seed in range(3):
        og.append(url, small(seed))


@dataclass(frozen=True)
class Operation:
    """What is there before, what is done, and what is there before and after."""

    prepare: Callable[[str], None]
    act: Callable[[str], Any]
    before: og.TensorMap | None
    after: og.TensorMap


OPERATIONS = {
    "save": Operation(lambda url: None, lambda url: og.save(url, small(4)), None, small(4)),
    "replace": Operation(
        three_versions, lambda url: og.save(url, small(4), overwrite=True), together(0, 1, 2), small(4)
    ),
    "append": Operation(
        three_versions, lambda url: og.append(url, small(4)), together(0, 1, 2), together(0, 1, 2, 4)
    ),
    "compact": Operation(three_versions, og.compact, together(0, 1, 2), together(0, 1, 2)),
    "restore": Operation(three_versions, lambda url: og.restore(url, 1), together(0, 1, 2), small(0)),
    "commit": Operation(refused_segment, og.commit, small(2), together(2, 1)),
    "clean": Operation(
        three_versions, lambda url: og.clean(url, keep=1), together(0, 1, 2), together(0, 1, 2)
    ),
}


@pytest.fixture(scope="module")
def server(s3: ObjectServer) -> Iterator[tuple[FaultProxy, Bucket]]:
    """One bucket behind one proxy: its client is made once."""
    with FaultProxy(s3.url) as proxy, pytest.MonkeyPatch.context() as patch:
        bucket = s3.new_bucket().through(s3.url, proxy.url)
        bucket.use(patch)
        patch.setattr(object_store, "RETRIES", 1)
        patch.setattr(object_store, "FIRST_PAUSE_SECONDS", 0.002)
        patch.setitem(object_store.CLIENT_OPTIONS, "read_timeout", "2 s")
        object_store._clients._items.clear()
        yield proxy, bucket
    object_store._clients._items.clear()


_names = (f"trial-{number}" for number in itertools.count())


def state(url: str, operation: Operation) -> str:
    """What is at a URL: before, after, nothing, or something else."""
    if not numbers(url):
        return "before" if operation.before is None else "nothing"
    found = og.load(url)
    if operation.before is not None and og.equal(found, operation.before):
        return "before" if not og.equal(found, operation.after) else "both"
    return "after" if og.equal(found, operation.after) else "other"


def trial(
    proxy: FaultProxy, bucket: Bucket, content: dict[str, bytes], operation: Operation, inject: Any
) -> str:
    """One operation with a fault, and again without; one word for what came of it."""
    url = copy(content, f"{bucket.url}/{next(_names)}.zarr")
    inject()
    begin = time.monotonic()
    error: Exception | None = None
    with dask.config.set(scheduler="synchronous"), warnings.catch_warnings(record=True):
        warnings.simplefilter("always", ArchiveWarning)
        try:
            operation.act(url)
        except Exception as raised:
            error = raised
    seconds = time.monotonic() - begin
    proxy.heal()
    found = state(url, operation)
    if seconds > SECONDS:
        return f"it took {seconds:.0f} s"
    if error is None:
        return "done" if found in ("after", "both") else f"told done: {found}"
    if not isinstance(error, (og.errors.ArchiveError, OSError)):
        return f"raised {error!r}"
    if "\n" in str(error) or "Debug" in str(error):
        return f"text: {error}"
    notes = "".join(getattr(error, "__notes__", []))
    is_unknown = isinstance(error, UnknownOutcomeError) or "could not be taken back" in notes
    if found == "after" and not is_unknown:
        return f"told {error!r}, {notes}: {found}"
    if found not in ("before", "both", "after"):
        return f"told {error!r}: {found}"
    return "refused" if found == "after" else again(url, operation)


def again(url: str, operation: Operation) -> str:
    """The same without a fault: it works, and what the fault has left goes."""
    try:
        operation.act(url)
    except Exception as error:
        return f"retry blocked: {error!r}"
    if (found := state(url, operation)) not in ("after", "both"):
        return f"retry: {found}"
    if problems := og.verify(url):
        return f"damaged: {problems}"
    og.clean(url, keep=1)
    found = state(url, operation)
    if found not in ("after", "both") or partials(url) or len(numbers(url)) != 1:
        return f"cleaned: {found} {partials(url)} {numbers(url)}"
    named = len(og.history(url)[-1:]) and og.history(url)[-1].segments
    return "refused, then done" if segments(url) == named else f"left over: {segments(url)} of {named}"


@pytest.fixture
def prepared(server: tuple[FaultProxy, Bucket]) -> Callable[[Operation], dict[str, bytes]]:
    def prepare(operation: Operation) -> dict[str, bytes]:
        url = f"{server[1].url}/{next(_names)}.zarr"
        operation.prepare(url)
        return objects(url)

    return prepare


def chosen(requests: list[Request], faults: list[Fault], is_few: bool) -> list[tuple[Fault, int]]:
    """Every request with one fault, and another for the next one; or a few of them. Always among them: those
    of the request that decides."""
    decisive = [at for at, request in enumerate(requests) if request.kind == "create"]
    offset = len(requests) % 3  # others for each operation
    if not is_few:
        each = [(faults[(offset + at) % len(faults)], at) for at in range(len(requests))]
        return each + [(fault, at) for fault in faults for at in decisive]
    places = [*decisive, *range(3, len(requests), max(1, len(requests) // 3))]
    return [(faults[(offset + 2 * n) % len(faults)], at) for n, at in enumerate(places)]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("from_then_on", [False, True])
def test_old_or_new_and_told_which_in_a_bucket(
    server: tuple[FaultProxy, Bucket],
    prepared: Callable[[Operation], dict[str, bytes]],
    name: str,
    from_then_on: bool,
    rounds: Any,
    tally: Any,
) -> None:
    (proxy, bucket), operation = server, OPERATIONS[name]
    content = prepared(operation)
    proxy.forget()
    assert trial(proxy, bucket, content, operation, proxy.forget) == "done"
    counted = copy(content, f"{bucket.url}/{next(_names)}.zarr")
    proxy.forget()
    operation.act(counted)
    requests = [record.request for record in proxy.records]
    wrong = []
    for fault, at in chosen(requests, FOR_EVER if from_then_on else FAULTS, bool(rounds(1, 0))):

        def inject(fault: Fault = fault, at: int = at) -> None:
            proxy.inject(fault, at=at, from_then_on=from_then_on)

        outcome = trial(proxy, bucket, content, operation, inject)
        tally(outcome.split(":")[0])
        if outcome not in ("done", "refused", "refused, then done"):
            wrong.append(f"{fault} at {at} of {len(requests)} ({requests[at].kind}): {outcome}")
    assert wrong == []


@pytest.mark.parametrize("fault", ["lost reply", "late 500", "status 409", "reset", "delay", "status 500"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_reply_to_a_commit_that_is_lost(
    server: tuple[FaultProxy, Bucket], fault: Any, times: int, prepared: Any
) -> None:
    """Once or twice it settles itself: it is done, once, and told so."""
    (proxy, bucket), operation = server, OPERATIONS["append"]
    url = copy(prepared(operation), f"{bucket.url}/{next(_names)}.zarr")
    for number in range(times):
        proxy.inject(fault, at=number, when=of_kind("create"), seconds=3.0)
    operation.act(url)
    proxy.heal()
    assert state(url, operation) == "after"
    assert numbers(url) == [1, 2, 3, 4]
    assert partials(url) == []


def test_an_outcome_that_stays_unknown(server: tuple[FaultProxy, Bucket], prepared: Any) -> None:
    """What may still appear keeps its data, until the next writer finds that it has not."""
    (proxy, bucket), operation = server, OPERATIONS["append"]
    url = copy(prepared(operation), f"{bucket.url}/{next(_names)}.zarr")
    proxy.inject("reset", when=of_kind("create"))
    with pytest.raises(
        UnknownOutcomeError, match="whether the new version was made is not known: look at the h"
    ):
        operation.act(url)
    proxy.heal()
    assert segments(url) == 4
    assert state(url, operation) == "before"
    operation.act(url)
    assert state(url, operation) == "after"
    assert segments(url) == 4
    assert partials(url) == []
