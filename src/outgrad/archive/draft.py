"""The directory of an archive while a segment is written into it: begun, published, or removed."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.archive import commits
from outgrad.archive.documents import documents, serialize
from outgrad.archive.layout import array_spec
from outgrad.archive.spec import (
    CHECKSUM_DTYPE,
    COMMITS,
    PLAN,
    SEGMENTS,
    ArraySpec,
    Commit,
    Kind,
    Manifest,
    SegmentSpec,
    Sizes,
    commit_version,
)
from outgrad.archive.stores import Array, ByteStore, SegmentStore
from outgrad.errors import ArchiveError, ArchiveExistsError, NotAnArchiveError, ValidationError

Json = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """What a commit says about the whole archive, apart from its data."""

    kind: Kind
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


class Draft:
    """One save: it owns a new segment, and at the end one commit."""

    def __init__(self, path: str | Path, *, overwrite: bool) -> None:
        self.root = Path(path).absolute()
        self.overwrite = overwrite
        self.writer = uuid.uuid4().hex
        self.segment_name = uuid.uuid4().hex
        self._is_new = False
        self._is_begun = False
        self._base_version = 0
        if self.root.exists():
            # Also at the start, where it counts; here it saves planning and computing in vain.
            self._check_existing()

    @property
    def folder(self) -> Path:
        return self.root / SEGMENTS / self.segment_name

    @property
    def plan_path(self) -> Path:
        return self.folder / PLAN

    def store(self) -> SegmentStore:
        return SegmentStore(ByteStore.local(self.root, read_only=False), f"{SEGMENTS}/{self.segment_name}/")

    def begin(self) -> None:
        """Claim the path.

        Raises
        ------
        ArchiveExistsError
            If it exists and ``overwrite`` is not set.
        NotAnArchiveError
            If it exists and is no archive: such a path is never touched.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.root.mkdir()
            self._is_new = True
        except FileExistsError:
            self._check_existing()
        self._is_begun = True
        self._base_version = max(commits.versions(self.root), default=0)
        try:
            self._make_folders()
        except BaseException:
            self.abort()
            raise

    def _make_folders(self) -> None:
        if self._is_new:
            (self.root / "zarr.json").write_bytes(serialize(commits.root_document()))
        (self.root / COMMITS).mkdir(exist_ok=True)
        self.folder.mkdir(parents=True)

    def _check_existing(self) -> None:
        if not self.overwrite:
            raise ArchiveExistsError(
                f"save {self.root}: the path exists; choose another one, or pass overwrite=True to replace it"
            ) from None
        if not commits.is_archive(self.root):
            raise NotAnArchiveError(
                f"save {self.root}: the path exists and is no Outgrad archive, and overwrite=True replaces "
                "only archives; remove it yourself, or choose another path"
            ) from None

    def publish(
        self,
        description: Description,
        segment: SegmentSpec,
        checksums: list[list[int]],
        sizes: Sizes,
    ) -> None:
        """Write the manifest, the Zarr metadata and the commit; then remove what it replaces."""
        segment = self._with_manifest(segment, checksums, sizes)
        store = self.store().store
        for key, document in documents(segment):
            store.put(key, serialize(document))
        found = max(commits.versions(self.root), default=0)
        if found != self._base_version:
            raise ArchiveError(
                f"save {self.root}: another writer has finished version {found} since this save began; "
                "its archive is there, and this one was not written: open it and decide, or save again"
            )
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
        commits.publish(self.root, commit)
        self._is_begun = False
        self._clean(commit.version)

    def _with_manifest(self, segment: SegmentSpec, checksums: list[list[int]], sizes: Sizes) -> SegmentSpec:
        flat = np.array([checksum for own in checksums for checksum in own], dtype=CHECKSUM_DTYPE)
        array = array_spec("checksums", CHECKSUM_DTYPE, flat.shape, sizes.table_chunk, None)
        own = self._write_manifest(array, flat)
        return replace(segment, manifest=Manifest(array, tuple(own)))

    def _write_manifest(self, array: ArraySpec, flat: Array) -> list[int]:
        store = self.store()
        ranges = map(array.chunk_range, range(array.chunk_count))
        return [store.write_chunk(array, n, flat[start:stop]) for n, (start, stop) in enumerate(ranges)]

    def _clean(self, version: int) -> None:
        """Remove older commits, then what only they named. What cannot be removed does no harm."""
        self.plan_path.unlink(missing_ok=True)
        for path in (self.root / COMMITS).iterdir():
            older = commit_version(path.name)
            if older is not None and older < version:
                path.unlink(missing_ok=True)
        for path in (self.root / SEGMENTS).iterdir():
            if path.is_dir() and path.name != self.segment_name:
                shutil.rmtree(path, ignore_errors=True)

    def abort(self) -> None:
        """Remove what was written; an archive that was there before stays."""
        if not self._is_begun:
            return
        self._is_begun = False
        shutil.rmtree(self.root if self._is_new else self.folder, ignore_errors=True)


def chunk_checksums(
    root: Path, segment: SegmentSpec, written: Mapping[tuple[int, int], int]
) -> list[list[int]]:
    """The checksums of all storage chunks, array by array.

    Raises
    ------
    ArchiveError
        If a chunk was not written.
    """
    wanted = [(n, chunk) for n, array in enumerate(segment.arrays) for chunk in range(array.chunk_count)]
    missing = [(segment.arrays[n].path, chunk) for n, chunk in wanted if (n, chunk) not in written]
    if missing:
        listed = ", ".join(f"{path} chunk {chunk}" for path, chunk in missing[:5])
        raise ArchiveError(
            f"save {root}: {len(missing)} storage chunk(s) were not written: {listed}"
            f"{', …' if len(missing) > 5 else ''}; nothing was changed: run the writing tasks again"
        )
    return [
        [written[number, chunk] for chunk in range(array.chunk_count)]
        for number, array in enumerate(segment.arrays)
    ]
