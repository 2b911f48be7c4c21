"""Check every ``zarr.json`` of an archive, which only other readers of Zarr need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from outgrad.graph.mapping import map_in_order
from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.damage import Damage
from outgrad.storage.zarr.documents import (
    Document,
    above_segments,
    documents,
    root_document,
    segment_documents,
)
from outgrad.storage.zarr.format import SEGMENTS, Commit
from outgrad.storage.zarr.mend import Mender, tried
from outgrad.storage.zarr.parse import read_json
from outgrad.storage.zarr.zarr_json import document_mistake


def document_damages(
    store: Store, versions: Sequence[Commit], mender: Mender | None, *, has_root: bool
) -> Iterator[Damage]:
    """Every ``zarr.json`` that is damaged, of segments and, as of the newest version, above them.

    ``versions`` has the newest first; without ``has_root`` what the root should say is not known.
    """
    seen: set[str] = set()
    for commit in versions:
        groups: list[tuple[Iterable[str], dict[str, Document]]] = []
        if commit is versions[0]:
            above = _documents_above(store, commit)
            keys = [key for key in above if not key.startswith(f"{SEGMENTS}/") or key.count("/") == 1]
            groups.append((keys if has_root else keys[1:], above))
        for segment in commit.segments:
            if segment.archive is None and segment.name not in seen:
                seen.add(segment.name)
                expected = dict(segment_documents(segment))
                groups.append((expected, expected))
        for keys_of_group, expected in groups:
            mistake = partial(_document_mistake, store, expected)
            for key, text in map_in_order(mistake, keys_of_group, here=True):
                if text:
                    is_mended, why = tried(mender, Mender.document, key, expected)
                    version = commit.version
                    yield Damage(key, text + why, file=key, version=version, mended=is_mended)


def _document_mistake(store: Store, expected: dict[str, Document], key: str) -> str:
    try:
        raw = store.get(key, commits.MOST_ROOT_BYTES)
        return "is missing" if raw is None else document_mistake(key, raw.tobytes(), expected)
    except UnreadableError as error:
        return str(error)


def _documents_above(store: Store, newest: Commit) -> dict[str, Document]:
    """The root and the two folders below it; all documents if a tool has put them into the root.

    What the root should say: a writer that is killed after its commit leaves it to that of the version
    before.
    """
    root = root_document(None if newest.format_version == 1 else newest)
    has_others = False
    with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        raw = store.get("zarr.json", commits.MOST_ROOT_BYTES)
        document = {} if raw is None else read_json(raw.tobytes())
        has_others = "consolidated_metadata" in document
        about = document["attributes"]["outgrad"]
        if "version" not in about and newest.version == 1:
            root = root_document()
        elif about["version"] in commits.versions(store):
            root = root_document(commits.read_version(store, about["version"]).commit)
    listed = documents(newest) if has_others else above_segments(newest)
    return {**dict(listed), "zarr.json": root}
