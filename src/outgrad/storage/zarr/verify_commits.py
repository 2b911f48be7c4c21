"""Check the commits of an archive and their lists: which versions can be opened."""

from __future__ import annotations

from contextlib import suppress

from outgrad.errors import ArchiveError, DamagedArchiveError
from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.damage import Damage
from outgrad.storage.zarr.format import SEGMENTS
from outgrad.storage.zarr.mend import Mender, tried
from outgrad.storage.zarr.opened import OpenArchive, open_version
from outgrad.storage.zarr.parse import read_json


class CheckedCommits:
    """The versions of an archive that can be opened, the newest first, and what is damaged in the others."""

    def __init__(self, store: Store, mender: Mender | None, *, all_versions: bool) -> None:
        self.damages: list[Damage] = []
        self.archives: list[OpenArchive] = []
        self.is_newest_lost = False
        """Whether there was a newer version than those that have a commit: what the root says is right."""
        self._store = store
        self._mender = mender
        named = self._root_version()  # before the commits: a writer that is done now is not a loss
        listed = commits.versions(store)
        if named > max(listed, default=0):
            listed = self._lost(named, listed)
        elif not listed and mender is not None:
            listed = self._guessed(mender)
        for version in reversed(listed if all_versions else listed[-1:]):
            with suppress(FileNotFoundError):  # removed meanwhile, after a newer one was made
                self._check(version, is_newest=version == listed[-1])
        if not self.archives and not self.damages:
            self.archives.append(open_version(store))  # or it says what is there instead

    def _root_version(self) -> int:
        """The version that the root names; 0 if it names none."""
        with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
            raw = self._store.get("zarr.json", commits.MOST_ROOT_BYTES)
            version = 0 if raw is None else read_json(raw.tobytes())["attributes"]["outgrad"]["version"]
            return version if type(version) is int and version < 10**10 else 0
        return 0

    def _lost(self, version: int, listed: list[int]) -> list[int]:
        """Report that the newest commit is not there; return the versions that there are then."""
        key = commits.commit_key(version)
        is_mended, why = tried(self._mender, Mender.commit, version)
        text = f"is missing: zarr.json says that there was a version {version}{why}"
        self.damages.append(Damage(key, text, file=key, version=version, mended=is_mended))
        self.is_newest_lost = not is_mended
        if not is_mended:
            return listed
        return [*(listed or self._before(version)), version]

    def _guessed(self, mender: Mender) -> list[int]:
        """Without any commit, and without a root that names one, the newest may be that of the copy."""
        for version in commits.versions(mender.copy)[-1:]:
            key = commits.commit_key(version)
            is_mended, _ = tried(mender, Mender.commit, version)
            if is_mended:
                self.damages.append(Damage(key, "is missing", file=key, version=version, mended=True))
                return [*self._before(version), version]
        return []

    def _before(self, version: int) -> list[int]:
        """Where all commits were lost, those before the newest, which confirms them."""
        found = []
        for each in () if self._mender is None else commits.versions(self._mender.copy):
            if each < version and tried(self._mender, Mender.commit, each)[0]:
                key = commits.commit_key(each)
                self.damages.append(Damage(key, "is missing", file=key, version=each, mended=True))
                found.append(each)
        return found

    def _check(self, version: int, *, is_newest: bool) -> None:
        key = commits.commit_key(version)
        mistake = self._mistake(version, is_newest)
        if mistake:
            is_mended, why = tried(self._mender, Mender.commit, version)
            self.damages.append(Damage(key, mistake + why, file=key, version=version, mended=is_mended))
            if not is_mended:
                return
        alone = commits.read_alone(self._store, version).commit
        is_whole = True
        for each in alone.lists:
            try:
                commits.read_list(self._store, each, alone.kind)  # not the one that this process remembers
            except ArchiveError as error:
                name = commits.list_key(each.name)
                is_mended, why = tried(self._mender, Mender.listed, each, alone.kind)
                text = f"is corrupted: {error}{why}"
                if all(name != damage.file for damage in self.damages):
                    self.damages.append(Damage(name, text, file=name, version=version, mended=is_mended))
                is_whole = is_whole and is_mended
        if is_whole:
            self.archives.append(OpenArchive(self._store, commits.read_version(self._store, version)))

    def _mistake(self, version: int, is_newest: bool) -> str:
        try:
            commit = commits.read_alone(self._store, version).commit
        except ArchiveError as error:
            if is_newest and not isinstance(error, DamagedArchiveError):
                raise  # it is of a newer format, or no archive
            return f"is corrupted: {error}"
        names = {segment.name for segment in commit.segments}
        there = {entry.name for entry in self._store.entries(SEGMENTS) if entry.kind == "folder"}
        if not names & there and self._mender is not None and self._mender.is_another_commit(version):
            return "is that of another archive: none of its segments is here"
        return ""
