"""An archive that processes write at once: data that show where they belong, and what must be there."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveConflictError, ArchiveError, ValidationError
from outgrad.storage.zarr import revision

WEIGHTS = {"append": 12, "write": 4, "compact": 4, "clean": 3, "restore": 1.5, "save": 0.7, "commit": 2}
"""How often a writer does what."""
ATOMS = 2
SHARED = 5
"""Systems that all writers try to append: one of them can."""

Content = list[list[int]]
"""Sorted pairs of a key and a system."""


@dataclass
class Done:
    """One call of a writer, or what a reader has found."""

    call: str
    told: str = ""
    pairs: Content = field(default_factory=list)
    published: list[list[Any]] = field(default_factory=list)
    """Versions that became visible, each with the name of its last segment."""
    restored: int = 0
    kept: str = ""
    """The segment that was refused and kept."""


# ---- data with a signature ----
def made(pairs: Content) -> og.TensorMap:
    """Values are made of key and system; so are the labels of gradient rows."""
    blocks = []
    keys = sorted({key for key, _ in pairs})
    for key in keys:
        systems = np.array([system for k, system in pairs if k == key])
        rows = np.column_stack([np.repeat(systems, ATOMS), np.tile(np.arange(ATOMS), len(systems))])
        columns = og.Labels.range("n", 2)
        values = np.repeat(signature(key, rows[:, 0])[:, None], 2, axis=1)
        block = og.TensorBlock(values, og.Labels(["system", "atom"], rows), [], columns)
        below = np.column_stack([np.arange(len(rows)), rows[:, 0]])
        gradient = og.TensorBlock(-values, og.Labels(["sample", "of"], below), [], columns)
        block.add_gradient("cell", gradient)
        blocks.append(block)
    return og.TensorMap(og.Labels("key", np.array(keys)[:, None]), blocks)


def signature(key: int, systems: Any) -> Any:
    return np.asarray(systems) * 8.0 + key


def content_of(map: og.TensorMap) -> Content:
    """The keys and systems of a map in memory, each row of which must be what its labels say, once."""
    pairs: Content = []
    for (key,), block in zip(map.keys.values.tolist(), map.blocks(), strict=True):
        rows = block.samples.values
        assert len(np.unique(rows, axis=0)) == len(rows), "a row is there twice"
        expected = np.repeat(signature(key, rows[:, 0])[:, None], 2, axis=1)
        np.testing.assert_array_equal(block.values, expected)
        gradient = block.gradient("cell")
        np.testing.assert_array_equal(gradient.samples["sample"], np.arange(len(rows)))
        np.testing.assert_array_equal(gradient.samples["of"], rows[:, 0])
        np.testing.assert_array_equal(gradient.values, -expected)
        systems, counts = np.unique(rows[:, 0], return_counts=True)
        assert set(counts.tolist()) <= {ATOMS}, "a part of what was appended is there"
        pairs += [[key, system] for system in systems.tolist()]
    return sorted(pairs)


# ---- what processes do ----
class Writer:
    """A process that does one thing after the other, and notes what it was told."""

    keep = 2
    """Versions that stay when it cleans."""

    def __init__(self, path: Path, number: int, seconds: float = 0.0) -> None:
        self.path, self.number = path, number
        self.chance = random.Random(number)
        self.until = time.monotonic() + seconds
        self.next_system = 1000 * (number + 1)
        self.published: list[list[Any]] = []

    def run(self) -> list[Done]:
        notes = []
        while time.monotonic() < self.until:
            (name,) = self.chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
            notes.append(self.call(name))
            time.sleep(self.chance.uniform(0, 0.01))
        return notes

    def call(self, name: str) -> Done:
        """Do one thing."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(revision, "REPEATED_BYTES", 6000)
            patch.setattr(revision.Revision, "publish", self.noting(revision.Revision.publish))
            done: Done = getattr(self, name)()
        return done

    def noting(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        def publish(revised: Any) -> None:
            original(revised)
            self.published.append([revised.version, revised.content.segments[-1].name])

        return publish

    def told(self, note: Done, function: Callable[..., Any], *arguments: Any, **options: Any) -> Done:
        self.published = []
        try:
            function(*arguments, **options)
            note.told = "done"
        except ArchiveConflictError as error:
            note.told = "lost"
            note.kept = kept_in(error)
        except (ValidationError, ArchiveError) as error:
            note.told = known(error)
            note.kept = kept_in(error)
        note.published = self.published
        return note

    def some(self) -> Content:
        if self.chance.random() < 0.15:
            return [[0, self.chance.randrange(SHARED)]]
        count = self.chance.randint(1, 3)
        self.next_system += count
        keys = self.chance.choice([[0], [0, 1], [self.chance.randrange(2, 9)]])
        return [[key, self.next_system - n] for key in keys for n in range(1, count + 1)]

    def append(self) -> Done:
        note = Done("append", pairs=self.some())
        return self.told(note, og.append, self.path, made(note.pairs))

    def write(self) -> Done:
        """Several maps as one version; each is there already, or all are appended."""
        pieces = [self.some() for _ in range(self.chance.randint(1, 3))]
        note = Done("write")

        def write() -> None:
            with og.ArchiveWriter(self.path, append=True) as writer:
                for each in pieces:
                    with suppress(ValidationError):
                        writer.append(made(each))
                        note.pairs += each
                if not note.pairs:
                    note.pairs = self.some()
                    writer.append(made(note.pairs))

        return self.told(note, write)

    def compact(self) -> Done:
        return self.told(Done("compact"), og.compact, self.path)

    def clean(self) -> Done:
        return self.told(Done("clean"), og.clean, self.path, keep=self.keep)

    def restore(self) -> Done:
        version = self.chance.choice([each.version for each in og.history(self.path)])
        return self.told(Done("restore", restored=version), og.restore, self.path, version)

    def save(self) -> Done:
        note = Done("save", pairs=self.some())
        return self.told(note, og.save, self.path, made(note.pairs), overwrite=True)

    def commit(self) -> Done:
        return self.told(Done("commit"), og.commit, self.path)


def known(error: Exception) -> str:
    """What is wrong, in a few words: other errors than these are failures."""
    texts = "there already|there is no version|removed since it was opened|overwritten since it was opened"
    found = re.search(texts, str(error))
    if found is None:
        raise error
    return found[0]


def kept_in(error: BaseException) -> str:
    found = re.search("segments/([0-9a-f]{32})", " ".join(getattr(error, "__notes__", [])))
    return found[1] if found else ""


# ---- what must be there ----
def expected_contents(start: dict[int, Content], notes: list[Done]) -> tuple[dict[int, Content], set[int]]:
    """What each version holds, by what its writers were told, after those of ``start``; and the versions that
    were taken back."""
    by_segment = {note.kept: note.pairs for note in notes if note.kept}
    by_version: dict[int, tuple[Done, str]] = {}
    withdrawn: set[int] = set()
    for note in notes:
        for version, segment in note.published:
            assert version not in by_version, f"two versions {version}: {note} and {by_version[version]}"
            by_version[version] = (note, segment)
        if note.told == "done" and note.call in ("append", "write", "restore", "save"):
            assert len(note.published) == 1, note
    contents = dict(start)
    for version in range(max(start) + 1, max(by_version, default=1) + 1):
        if version not in by_version:
            withdrawn.add(version)
            contents[version] = contents[version - 1]
            continue
        note, segment = by_version[version]
        before, pairs = contents[version - 1], note.pairs
        if note.call == "restore":
            contents[version] = contents[note.restored]
        elif note.call == "save":
            contents[version] = sorted(pairs)
        else:
            pairs = by_segment[segment] if note.call == "commit" else pairs
            assert not [pair for pair in pairs if pair in before], f"appended twice: {note}"
            contents[version] = sorted([*before, *pairs])
    return contents, withdrawn
