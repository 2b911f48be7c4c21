"""The versions of an archive: listed, brought back, and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from os import PathLike
from typing import Any

from outgrad.config import chunk_bytes
from outgrad.errors import ArchiveConflictError, ArchiveError, NotAnArchiveError, ValidationError
from outgrad.storage.lazily import lazily
from outgrad.storage.paths import reaching, shown_path
from outgrad.storage.places import is_file, require_writable, source_path
from outgrad.storage.save_plan import execute, plan_save
from outgrad.storage.store import Store
from outgrad.storage.stores import open_store
from outgrad.storage.zarr import commits, leftovers, recommit, refused
from outgrad.storage.zarr.format import DEFAULT_COMPRESSOR, Action, Added, Commit, SegmentSpec
from outgrad.storage.zarr.reader import open_archive
from outgrad.storage.zarr.revision import Base, VersionContent, make_version
from outgrad.storage.zarr.updates import Compact
from outgrad.units import format_bytes, parse_bytes


@dataclass(frozen=True)
class ArchiveVersion:
    """A version of an archive.

    Parameters
    ----------
    version : int
        Its number, by which :func:`outgrad.open` opens it.
    created : str
        When it was made, in UTC.
    action : {"save", "append", "compact", "restore", "index"}
        How it came about.
    who : str
        User and machine.
    software : str
        The program that wrote it.
    segments : int
        Of how many segments it consists.
    samples : int
        How many samples were added.
    nbytes : int
        How many bytes of values and gradients were added, before compression.
    provenance : dict
        How the data that were added were made, as whoever wrote them said.
    """

    version: int
    created: str
    action: Action
    who: str
    software: str
    segments: int
    samples: int
    nbytes: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.version}: {self.created} {self.action}, {self.samples} samples, "
            f"{format_bytes(self.nbytes)}, {self.who or self.software}"
        )


def history(path: str | PathLike[str]) -> list[ArchiveVersion]:
    """List the versions of an archive that can be opened, the oldest first.

    Parameters
    ----------
    path : str or Path
        An archive.

    Returns
    -------
    list of ArchiveVersion
        One for each version.

    Raises
    ------
    ArchiveError
        If there is no archive, or the commit of a version is corrupted.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((2, 3)))])
    >>> og.save("kept.zarr", map, provenance={"by": "me"})
    >>> [(each.version, each.action, each.samples, each.provenance) for each in og.history("kept.zarr")]
    [(1, 'save', 2, {'by': 'me'})]
    """
    with _archive("history", path) as store:
        found: list[ArchiveVersion] = []
        while not found:  # all that were listed may be replaced before they are read
            commits.read_newest(store)  # says what is there if it is no archive
            for version in commits.versions(store):
                with suppress(FileNotFoundError):  # somebody has removed it since it was listed
                    commit = commits.read_version(store, version).commit
                    # Format version 1 does not say what was added: its only segment.
                    samples, nbytes = commit.segments[-1].added if commit.added is None else commit.added
                    found.append(
                        ArchiveVersion(
                            version=commit.version,
                            created=commit.created,
                            action=commit.action,
                            who=commit.who,
                            software=commit.software,
                            segments=len(commit.segments),
                            samples=samples,
                            nbytes=nbytes,
                            provenance=commit.provenance,
                        )
                    )
    return found


def restore(path: str | PathLike[str], version: int) -> None:
    """Make an older version of an archive the newest again; nothing is copied or lost.

    The versions in between stay, until :func:`clean` removes them.

    Parameters
    ----------
    path : str or Path
        An archive.
    version : int
        A version that :func:`history` lists.

    Raises
    ------
    ArchiveNotFoundError
        If there is no such version.
    ArchiveConflictError
        If another writer made a version in the same moment.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 3)), sample_names=["system"])
    >>> map = og.TensorMap(og.Labels.single(), [block])
    >>> og.save("undone.zarr", map)
    >>> og.append("undone.zarr", map, shift={"system": 1})
    >>> og.restore("undone.zarr", 1)
    >>> len(og.open("undone.zarr").block()), len(og.history("undone.zarr"))
    (1, 3)
    """
    with _archive("restore", path) as store:
        newest = commits.read_newest(store).commit.version
        old = commits.read_given(store, version, "restore").commit

        def revise(base: Base, content: VersionContent) -> VersionContent:
            if base.version != newest:
                raise ArchiveConflictError(
                    f"restore {store.name}: another writer has made a version since; nothing was changed: "
                    "look at the history, and restore again"
                )
            return content

        content = replace(
            VersionContent.of(old), action="restore", provenance={"restored": old.version}, added=Added(0, 0)
        )
        make_version(store, content, revise, sources=[version])


def compact(
    path: str | PathLike[str],
    *,
    smaller_than: int | str = "1 GiB",
    compressor: str = DEFAULT_COMPRESSOR,
    durable: bool | None = None,
) -> None:
    """Put neighbouring small segments of an archive together, as a new version with the same content.

    Each append makes a segment. Thousands of small ones take longer to open and to read than one large one.
    The data are copied chunk by chunk, by the workers of a ``distributed.Client`` if there is one. Older
    versions stay, until :func:`clean` removes them.

    Parameters
    ----------
    path : str or Path
        An archive.
    smaller_than : int or str
        Segments of fewer bytes of values and gradients, before compression, are small.
    compressor : {"lz4", "zstd", "none"}
        How the chunks are compressed.
    durable : bool, optional
        As for :func:`save`.

    Raises
    ------
    ArchiveConflictError
        If another writer has put the same segments together in the meantime.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 3)), sample_names=["system"])
    >>> map = og.TensorMap(og.Labels.single(), [block])
    >>> for number in range(3):
    ...     og.append("pieces.zarr", map, shift={"system": number})
    >>> og.compact("pieces.zarr")
    >>> [(version.action, version.segments) for version in og.history("pieces.zarr")][-2:]
    [('append', 3), ('compact', 1)]
    """
    try:
        limit = int(parse_bytes(smaller_than))
    except (ValueError, OverflowError):
        raise ValidationError(
            f"compact: smaller_than={smaller_than!r} is not a size; pass bytes or a text like '1 GiB'"
        ) from None
    with _archive("compact", path) as store:
        newest = commits.read_newest(store).commit

    def is_small(segment: SegmentSpec) -> bool:
        return not segment.is_foreign and segment.added.nbytes < limit

    # One that has no small neighbour stays as it is.
    runs = [(first, last) for first, last in _runs(newest, is_small) if last - first > 1]
    _put_together(path, store, newest, runs, compressor, durable)


def materialize(
    path: str | PathLike[str], *, compressor: str = DEFAULT_COMPRESSOR, durable: bool | None = None
) -> None:
    """Copy what an archive refers to in other files and archives into it, as a new version.

    Data are copied chunk by chunk, by the workers of a ``distributed.Client`` if there is one. Afterwards the
    files are not needed for this version any more. ``outgrad convert`` makes a copy elsewhere.

    Parameters
    ----------
    path : str or Path
        An archive that :func:`index` has made or added to.
    compressor : {"lz4", "zstd", "none"}
        How the chunks are compressed.
    durable : bool, optional
        As for :func:`save`.

    Raises
    ------
    DamagedArchiveError
        If a file is gone, or was changed since it was indexed; nothing is changed then.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)), sample_names=["system"])
    >>> og.save("one.mts", og.TensorMap(og.Labels.single(), [block]))
    >>> og.index(["one.mts"], "copied.zarr")
    >>> og.materialize("copied.zarr")
    >>> [version.action for version in og.history("copied.zarr")]
    ['index', 'compact']
    """
    with _archive("materialize", path) as store:
        newest = commits.read_newest(store).commit
    runs = _runs(newest, lambda segment: segment.is_foreign)
    _put_together(path, store, newest, runs, compressor, durable)


def _runs(commit: Commit, is_wanted: Callable[[SegmentSpec], bool]) -> list[tuple[int, int]]:
    """Ranges of neighbouring segments that are wanted."""
    runs = []
    first = 0
    for wanted, group in groupby(commit.segments, is_wanted):
        last = first + len(list(group))
        if wanted:
            runs.append((first, last))
        first = last
    return runs


def _put_together(
    path: str | PathLike[str],
    store: Store,
    newest: Commit,
    runs: Sequence[tuple[int, int]],
    compressor: str,
    durable: bool | None,
) -> None:
    """Write one segment for each range of neighbouring ones, each as a new version."""
    settings: dict[str, Any] = {"call": "compact", "compressor": compressor, "durable": durable}
    # From the end: the numbers of segments before stay what they are.
    for first, last in reversed(runs):
        # The version that was listed, whatever is the newest now: numbers of segments are those in it.
        opened = open_archive(store, newest.version, segments=(first, last))
        compaction = Compact([segment.name for segment in newest.segments[first:last]])
        data = lazily(opened, chunk_bytes())
        execute([plan_save(path, data, update=lambda *_, planned=compaction: planned, **settings)])


def commit(path: str | PathLike[str]) -> int:
    """Commit data that a writer has written completely, and that did not fit to the archive then.

    If an archive is replaced while a writer appends to it, the writer gets an error, and what it has written
    is kept. This adds it to what is there now, without computing it again.

    Parameters
    ----------
    path : str or Path
        An archive.

    Returns
    -------
    int
        How many appends were committed.

    Raises
    ------
    ValidationError
        If the data still do not fit to the archive.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("complete.zarr", og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))]))
    >>> og.commit("complete.zarr")
    0
    """
    with _archive("commit", path) as store:
        if not commits.is_archive(store):
            commits.read_newest(store)  # says what is there instead
        kept = recommit.kept(store)
        named = leftovers.named_by_commits(store) if kept else None
        committed = 0
        for content in kept:
            (segment,) = content.segments
            note = refused.refused_key(segment.name)
            if named is not None and segment.name in named:
                store.remove(note)  # it was committed before, by a process that was stopped after that
                continue
            try:
                make_version(store, content, recommit.revise, superseded=note)
            except (ArchiveError, ValidationError) as error:
                named = leftovers.named_by_commits(store)
                if named is not None and segment.name in named:
                    continue  # another process has just committed it
                if committed:
                    error.add_note(f"{committed} append(s) that were made before it are committed")
                raise
            committed += 1
    return committed


@contextmanager
def _archive(call: str, path: str | PathLike[str]) -> Iterator[Store]:
    source = source_path(call, path)
    if call != "history":
        require_writable(call, source)
    if is_file(source):
        raise NotAnArchiveError(
            f"{call} {shown_path(source)}: this is a file, and only archives (.zarr) have versions"
        )
    with reaching(call, source):
        yield open_store(source)
