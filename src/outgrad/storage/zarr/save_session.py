"""The directory of an archive while a segment is written into it: begun, published, or removed."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from outgrad._signals import deferred
from outgrad.errors import (
    ArchiveConflictError,
    ArchiveError,
    ArchiveExistsError,
    NotAnArchiveError,
    ValidationError,
)
from outgrad.storage import files, leases
from outgrad.storage.publishing import attempted, warn_of
from outgrad.storage.zarr import commits, leftovers
from outgrad.storage.zarr.codecs import Json
from outgrad.storage.zarr.documents import documents, serialize
from outgrad.storage.zarr.format import (
    CHECKSUM_DTYPE,
    COMMITS,
    PLAN,
    SEGMENTS,
    ArchiveKind,
    ChunkSizes,
    Commit,
    Manifest,
    SegmentSpec,
)
from outgrad.storage.zarr.layout import array_spec
from outgrad.storage.zarr.storage_chunks import ByteStore, SegmentStore

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
    they are empty; and, once its commit is the newest, what no commit names and nobody is writing.
    """

    def __init__(self, path: str | Path, *, overwrite: bool, durable: bool = True) -> None:
        self.root = Path(path).absolute()
        self.overwrite = overwrite
        self.durable = durable
        self.writer = uuid.uuid4().hex
        self.segment_name = uuid.uuid4().hex
        self._token = ""
        self._is_publishing = False
        self._was_there = self.root.exists()
        self._made_parents: list[Path] = []
        self._made: list[Path] = []
        self._base_version = 0
        if self._was_there:
            # Checked again at the start, where it counts; here it saves planning and computing in vain.
            self._check_existing()

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def is_open(self) -> bool:
        """Whether it was begun, and neither finished nor aborted."""
        return bool(self._token)

    @property
    def folder(self) -> Path:
        return self.root / SEGMENTS / self.segment_name

    @property
    def plan_path(self) -> Path:
        return self.folder / PLAN

    @property
    def _target(self) -> Path:
        return commits.commit_path(self.root, self._base_version + 1)

    @property
    def _partial(self) -> Path:
        return self._target.with_name(leases.partial_name(self._target.name, self._token))

    @property
    def _lease(self) -> Path:
        """Made before the segment, removed after the commit: there is never a segment without either."""
        return self.folder.with_name(leases.partial_name(self.segment_name, self._token))

    def store(self) -> SegmentStore:
        """The segment, for the process that owns the session: it makes folders as they are needed."""
        store, prefix = ByteStore.local(self.root, read_only=False), f"{SEGMENTS}/{self.segment_name}/"
        return SegmentStore(store, prefix, durable=self.durable, made=self._made)

    def begin(self) -> None:
        """Claim the path.

        Raises
        ------
        ArchiveExistsError
            If it exists and ``overwrite`` is not set.
        NotAnArchiveError
            If it exists and is not an archive: such a path is never touched.
        """
        self._token = leases.new_token()
        try:
            self._made_parents = files.make_parents(self.root)
            try:
                files.make_folder(self.root)
                self._was_there = False
            except FileExistsError:
                self._check_existing()
            self._base_version = max(commits.versions(self.root), default=0)
            self._make_folders()
        except BaseException:
            self.abort()
            raise

    def _make_folders(self) -> None:
        """Make the own segment and what is above it, which a writer that gives up may be removing."""
        for attempt in range(BEGIN_ATTEMPTS):
            try:
                with suppress(FileExistsError):
                    files.make_folder(self.root)
                # First what shows that this is an archive: other writers may look at any moment.
                if not (self.root / "zarr.json").exists():
                    self._write_root_document()
                for folder in (self.root / COMMITS, self.root / SEGMENTS):
                    with suppress(FileExistsError):
                        files.make_folder(folder)
                files.write_new(self._lease, b"", durable=False)
                files.make_folder(self.folder)
                return
            except (FileNotFoundError, FileExistsError):
                if attempt == BEGIN_ATTEMPTS - 1:
                    raise
                time.sleep(0.01)

    def _write_root_document(self) -> None:
        content = serialize(commits.root_document())
        files.write_file(self.root / "zarr.json", content, durable=self.durable)

    def _check_existing(self) -> None:
        is_empty = leftovers.is_empty(self.root)
        is_ours = is_empty or commits.is_archive(self.root)
        links = [folder for folder in (COMMITS, SEGMENTS) if (self.root / folder).is_symlink()]
        if is_ours and links:
            raise ArchiveError(
                f"save {self.root}: {links[0]} is a link; nothing is written or removed through links inside "
                "an archive: put the folder itself there, or save to another path"
            ) from None
        if self.overwrite and not is_ours:
            raise NotAnArchiveError(
                f"save {self.root}: the path exists and is not an Outgrad archive, and overwrite=True "
                "replaces only archives; remove it yourself, or choose another path"
            ) from None
        if self.overwrite or is_empty:
            return
        if not is_ours or commits.versions(self.root):
            raise ArchiveExistsError(
                f"save {self.root}: the path exists; choose another one, or pass overwrite=True to replace it"
            ) from None
        if leftovers.at_work(self.root):
            raise ArchiveExistsError(
                f"save {self.root}: another writer is at work there, and has not finished; wait for it, "
                "choose another path, or pass overwrite=True: then the first to finish wins"
            ) from None

    def prepare(
        self,
        description: Description,
        segment: SegmentSpec,
        checksums: list[list[int]],
        sizes: ChunkSizes,
    ) -> None:
        """Write all that a commit needs, and flush it to the disk; nothing is visible yet."""
        store = self.store()
        flat = np.array([checksum for each in checksums for checksum in each], dtype=CHECKSUM_DTYPE)
        array = array_spec("checksums", CHECKSUM_DTYPE, flat.shape, sizes.table_chunk, None)
        ranges = map(array.chunk_range, range(array.chunk_count))
        written = [store.write_chunk(array, n, flat[start:stop]) for n, (start, stop) in enumerate(ranges)]
        segment = replace(segment, manifest=Manifest(array, tuple(written)))

        for key, document in documents(segment):
            if key.startswith(segment.prefix):
                store.put(key.removeprefix(segment.prefix), serialize(document))
            elif not (self.root / key).exists():
                files.write_file(self.root / key, serialize(document), durable=self.durable)
        leftovers.require_whole(self.root, segment)
        if self.durable:
            leftovers.flush_segment(self.folder, self.root, self._made)

        newest = max(commits.versions(self.root), default=0)
        if newest != self._base_version:
            raise self._lost(newest)
        commit = Commit(
            version=self._base_version + 1,
            kind=description.kind,
            writer=self.writer,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            software=commits.SOFTWARE,
            info=description.info,
            provenance=description.provenance,
            segments=(segment,),
        )
        with files.naming(self._partial):
            files.write_new(self._partial, commits.commit_bytes(commit), durable=self.durable)

    def _lost(self, version: int) -> ArchiveConflictError:
        return ArchiveConflictError(
            f"save {self.root}: another writer has finished version {version} since this save began; "
            "its archive is there, and this one was not written: open it and decide, or save again"
        )

    def publish(self) -> None:
        """Make the commit visible, in one step.

        Raises
        ------
        ArchiveConflictError
            If another writer was faster.
        """
        self._is_publishing = True
        try:
            files.publish_new(self._partial, self._target)
        except OSError as error:
            # The step may have been done, and only its answer lost: as after a time-out of a network's disk.
            if not self._is_published():
                if isinstance(error, FileExistsError):
                    raise self._lost(self._base_version + 1) from error
                raise
        newest = max(commits.versions(self.root), default=0)
        if newest > self._base_version + 1:
            # A faster writer has removed the version whose name this one then found free.
            raise self._lost(newest)

    def _is_published(self) -> bool:
        return commits.writer_of(self.root, self._base_version + 1) == self.writer

    def withdraw(self) -> None:
        """Take the commit back: the version before, which nobody has removed yet, is the newest again."""
        if self._is_published():
            files.remove_file(self._target)

    def finish(self) -> Iterator[str]:
        """Flush the commit, then remove what it replaces; yield what could not be done."""
        if self.durable:
            yield from attempted("flush", files.flush, self._target.parent)
        yield from attempted("remove", files.remove_file, self._partial)
        yield from attempted("write", self._refresh_root_document)
        yield from attempted("remove", files.remove_file, self.plan_path)
        yield from attempted("remove", files.remove_file, self._lease)
        leases.release(self._token)
        self._token = ""
        yield from leftovers.remove_superseded(self.root, self._base_version + 1)

    def _refresh_root_document(self) -> None:
        """Write it again if a tool has consolidated metadata there, which are those of the version before."""
        if (self.root / "zarr.json").read_bytes() != serialize(commits.root_document()):
            self._write_root_document()

    def abort(self) -> None:
        """Remove what was written; what is visible, of this writer or another, stays."""
        if not leases.is_own(self._token):
            return
        with deferred():
            try:
                may_be_visible = self._is_publishing and self._is_published()
            except (OSError, ArchiveError):
                may_be_visible = True  # where it cannot be known, nothing is removed
            if not may_be_visible:
                problems = [
                    *attempted("remove", files.remove_file, self._partial),
                    *attempted("remove", files.remove_folder, self.folder),
                    *attempted("remove", files.remove_file, self._lease),
                    *attempted("remove", self._remove_empty_folders),
                ]
                warn_of(problems)
            leases.release(self._token)
            self._token = ""

    def _remove_empty_folders(self) -> None:
        if leftovers.remove_if_without_segments(self.root) and not self._was_there:
            files.remove_folder_if_empty(self.root)
        for parent in reversed(self._made_parents):
            files.remove_folder_if_empty(parent)


def chunk_checksums(
    root: Path, segment: SegmentSpec, written: Mapping[tuple[int, int], int]
) -> list[list[int]]:
    """The checksums of all storage chunks, array by array.

    Raises
    ------
    ArchiveError
        If a chunk was not written.
    """
    expected = [
        [(number, chunk) for chunk in range(array.chunk_count)] for number, array in enumerate(segment.arrays)
    ]
    missing = [each for of_array in expected for each in of_array if each not in written]
    if missing:
        listed = ", ".join(f"{segment.arrays[number].path} chunk {chunk}" for number, chunk in missing[:5])
        raise ArchiveError(
            f"save {root}: {len(missing)} storage chunk(s) were not written: {listed}"
            f"{', …' if len(missing) > 5 else ''}; nothing was changed: run the writing tasks again"
        )
    return [[written[each] for each in of_array] for of_array in expected]
