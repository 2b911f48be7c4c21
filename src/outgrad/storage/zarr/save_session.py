"""The directory of an archive while a segment is written into it: begun, published, or removed."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from outgrad._signals import deferred
from outgrad.errors import ArchiveConflictError, ArchiveError, ValidationError
from outgrad.storage import leases
from outgrad.storage.publishing import attempted, warn_of
from outgrad.storage.store import Store
from outgrad.storage.zarr import leftovers, refused
from outgrad.storage.zarr.codecs import Json
from outgrad.storage.zarr.documents import (
    segment_documents,
    serialize,
)
from outgrad.storage.zarr.format import (
    PLAN,
    RECORD_DTYPE,
    SEGMENTS,
    ArchiveKind,
    ChunkSizes,
    Manifest,
    SegmentSpec,
)
from outgrad.storage.zarr.layout import manifest_spec
from outgrad.storage.zarr.revision import Revision, VersionContent
from outgrad.storage.zarr.root import describe_folders, make_root
from outgrad.storage.zarr.storage_chunks import ChunkRecords, SegmentStore
from outgrad.storage.zarr.updates import Update

BEGIN_ATTEMPTS = 20
"""How often to make the folders of an archive that another writer is removing because they were empty."""


@dataclass(frozen=True)
class Description:
    """What a commit says about the whole archive, apart from its data."""

    kind: ArchiveKind
    info: dict[str, str]
    provenance: Json

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for pair in self.info.items() for text in pair):
            raise ValidationError(
                f"save: info must hold pairs of text, found {self.info!r}; convert with str()"
            )
        try:
            json.dumps(self.provenance, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"save: provenance must be plain JSON data: {error}") from error


class SaveSession:
    """One save: it owns a new segment, and at the end one commit.

    Other writers may be at work in the same archive. So a session removes only its own files; folders only if
    they are empty; and, once its commit is the newest and replaces what was there, what no commit names and
    nobody is writing.
    """

    def __init__(self, store: Store, update: Update, *, durable: bool = True) -> None:
        self.store = store
        self.update = update
        self.durable = durable
        self.segment_name = uuid.uuid4().hex
        self._token = ""
        self._revision: Revision | None = None
        self._is_kept = False
        self._was_there = store.is_there()
        self._made_parents: list[str] = []
        self._made: list[str] = []
        if self._was_there:
            # Checked again at the start, where it counts; here it saves planning and computing in vain.
            update.require(store)

    @property
    def name(self) -> str:
        return self.store.name

    @property
    def is_open(self) -> bool:
        """Whether it was begun, and neither finished nor aborted."""
        return bool(self._token)

    @property
    def folder(self) -> str:
        return f"{SEGMENTS}/{self.segment_name}"

    @property
    def plan_key(self) -> str:
        return f"{self.folder}/{PLAN}"

    @property
    def _lease(self) -> str:
        """Made before the segment, removed after the commit: there is never a segment without either."""
        return f"{SEGMENTS}/{leases.partial_name(self.segment_name, self._token)}"

    def segment_store(self) -> SegmentStore:
        """The segment, for the process that owns the session: it makes folders as they are needed."""
        return SegmentStore(self.store, f"{self.folder}/", durable=self.durable, made=self._made)

    def begin(self) -> None:
        """Claim the path.

        Raises
        ------
        ArchiveExistsError
            If it exists and is not to be replaced.
        NotAnArchiveError
            If it exists and is not an archive: such a path is never touched.
        """
        self._token = leases.new_token()
        try:
            self._made_parents = self.store.make_parents()
            self._was_there = self.store.is_there()
            if not self._was_there:
                try:
                    self.store.make_folder("")
                except FileExistsError:
                    self._was_there = True
            if self._was_there:
                self.update.require(self.store)
            self._make_folders()
        except BaseException:
            self.abort()
            raise

    def _make_folders(self) -> None:
        """Make the own segment and what is above it, which a writer that gives up may be removing."""
        for attempt in range(BEGIN_ATTEMPTS):
            try:
                make_root(self.store, self._token, durable=self.durable)
                self.store.create(self._lease)
                self.store.make_folder(self.folder)
                return
            except (FileNotFoundError, FileExistsError):
                if attempt == BEGIN_ATTEMPTS - 1:
                    raise
                time.sleep(0.01)

    def prepare(
        self, description: Description, segment: SegmentSpec, records: list[ChunkRecords], sizes: ChunkSizes
    ) -> None:
        """Write all that a commit needs, and flush it to the disk; nothing is visible yet.

        ``records`` has those of the chunks of each array.
        """
        store = self.segment_store()
        rows = np.concatenate([*records, np.empty((0, 2), RECORD_DTYPE)])
        array = manifest_spec(len(rows), sizes)
        written = [
            store.write_shard(array, number, rows[slice(*array.shard_range(number))])
            for number in range(array.shard_count)
        ]
        checksums = tuple(int(record[0]) for records in written for record in records)
        segment = replace(segment, manifest=Manifest(array, checksums))

        documents = [
            (key.removeprefix(segment.prefix), serialize(document))
            for key, document in segment_documents(segment)
        ]
        deque(self.store.each(lambda pair: store.put(*pair), documents), maxlen=0)
        describe_folders(self.store, durable=self.durable)
        leftovers.require_whole(self.store, segment)
        # Before the commit: nothing looks for it in a segment that a commit names.
        self.store.remove(self.plan_key)
        if self.durable:
            folders = sorted({key.rpartition("/")[0] for key in self._made}, reverse=True)
            self.store.flush(self._made, [*folders, SEGMENTS, "", ".."])

        content = VersionContent(
            action="save",
            kind=description.kind,
            info=description.info,
            provenance=description.provenance,
            segments=(segment,),
            added=segment.added,
        )
        self._revision = Revision(self.store, content, self.update.revise, self._token, durable=self.durable)
        with self._keeping(content):
            self._revision.stage()

    @contextmanager
    def _keeping(self, content: VersionContent) -> Iterator[None]:
        """Keep data that are complete if only the archive is not what they are for."""
        try:
            yield
        except (ArchiveConflictError, ValidationError) as error:
            if self.update.keeps_refused:
                refused.keep(self.store, content, durable=self.durable)
                self._is_kept = True
                error.add_note(refused.KEPT_ADVICE.format(name=self.store.name, folder=self.folder))
            raise

    def publish(self) -> None:
        """Make the commit visible, in one step.

        Raises
        ------
        ArchiveConflictError
            If another writer was faster.
        """
        revision = self._revision
        assert revision is not None, "prepare() comes before publish()"
        with self._keeping(revision.content):
            revision.publish()

    def withdraw(self) -> None:
        """Take the commit back: the version before, which nobody has removed yet, is the newest again."""
        if self._revision is not None:
            self._revision.withdraw()

    def finish(self) -> Iterator[str]:
        """Flush the commit, then remove what it replaces; yield what could not be done."""
        name = self.store.name
        revision = self._revision
        assert revision is not None, "prepare() comes before finish()"
        yield from revision.finish()
        yield from attempted(f"remove {name}/{self._lease}", self.store.remove, self._lease)
        leases.release(self._token)
        self._token = ""
        if self.update.replaces:
            yield from leftovers.remove_superseded(self.store, revision.version)
        else:
            yield from leftovers.remove_abandoned(self.store)

    def abort(self) -> None:
        """Remove what was written; what is visible, of this writer or another, stays."""
        if not leases.is_own(self._token):
            return
        with deferred():
            revision = self._revision
            if revision is None or not revision.may_be_visible():
                name = self.store.name
                problems: list[str] = []
                if revision is not None:
                    problems += attempted(f"remove the unfinished commit of {name}", revision.discard)
                # If it was taken back after it was visible, another writer may have added to it.
                was_visible = revision is not None and revision.was_tried
                named = leftovers.named_by_commits(self.store) if was_visible else set()
                if not self._is_kept and named is not None and self.segment_name not in named:
                    problems += attempted(
                        f"remove {name}/{self.folder}", self.store.remove_folder, self.folder
                    )
                problems += attempted(f"remove {name}/{self._lease}", self.store.remove, self._lease)
                problems += attempted("remove the folders that were made", self._remove_empty_folders)
                warn_of(problems)
            leases.release(self._token)
            self._token = ""

    def _remove_empty_folders(self) -> None:
        if leftovers.remove_if_without_segments(self.store) and not self._was_there:
            self.store.remove_folder_if_empty("")
        self.store.remove_parents(self._made_parents)


def chunk_records(
    name: str, segment: SegmentSpec, written: Mapping[tuple[int, int], ChunkRecords]
) -> list[ChunkRecords]:
    """The records of all chunks, array by array; ``written`` has those of each shard.

    Raises
    ------
    ArchiveError
        If a shard was not written.
    """
    expected = [
        [(number, shard) for shard in range(array.shard_count)] for number, array in enumerate(segment.arrays)
    ]
    missing = [each for of_array in expected for each in of_array if each not in written]
    if missing:
        listed = ", ".join(f"{segment.arrays[number].path} shard {shard}" for number, shard in missing[:5])
        raise ArchiveError(
            f"save {name}: {len(missing)} shard(s) were not written: {listed}"
            f"{', …' if len(missing) > 5 else ''}; nothing was changed: run the writing tasks again"
        )
    nothing = np.empty((0, 2), RECORD_DTYPE)
    return [np.concatenate([nothing, *(written[each] for each in of_array)]) for of_array in expected]
