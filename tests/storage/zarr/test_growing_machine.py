"""Any sequence of what may be done with an archive that grows, compared with lists of maps in memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import dask
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import outgrad as og
from outgrad.errors import ArchiveConflictError, ValidationError
from outgrad.testing.asserts import assert_identical
from outgrad.testing.random_blocks import Parameter
from tests.support.archive_files import misplaced_files
from tests.support.pieces import joined, piece


class Made(NamedTuple):
    """A map, by what it is made of."""

    seed: int
    keys: tuple[int, ...]
    systems: int

    def map(self) -> og.TensorMap:
        options: Any = {"gradients": {"positions": Parameter((3,))}}
        return piece(self.seed, keys=self.keys, systems=self.systems, **options)

    def overlaps(self, other: Made) -> bool:
        is_filled = self.systems > 0 and other.systems > 0
        return is_filled and self.seed == other.seed and bool(set(self.keys) & set(other.keys))


class Version(NamedTuple):
    action: str
    maps: tuple[Made, ...]
    segments: int


class Kept(NamedTuple):
    """Maps of a writer that is not closed yet, or was refused, and what it began with."""

    maps: tuple[Made, ...]
    since: int


KEYS = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True).map(tuple)
SYSTEMS = st.integers(0, 2)


class GrowingArchive(RuleBasedStateMachine):
    """What is there is a dict of versions; the newest is the last."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="outgrad-"))
        self.path = self.folder / "a.zarr"
        self.versions: dict[int, Version] = {}
        self.since = 0
        self.seeds = 0
        self.writer: og.ArchiveWriter | None = None
        self.written = Kept((), 0)
        self.refused: tuple[Made, ...] = ()

    @property
    def newest(self) -> Version:
        return self.versions[max(self.versions)]

    def add(self, action: str, maps: tuple[Made, ...], segments: int) -> None:
        number = max(self.versions, default=0) + 1
        self.versions[number] = Version(action, maps, segments)
        if action in ("save", "restore") or number == 1:
            self.since = number

    def new(self, keys: tuple[int, ...], systems: int) -> Made:
        self.seeds += 1
        return Made(self.seeds, keys, systems)

    def is_there(self, maps: tuple[Made, ...]) -> bool:
        there = self.newest.maps if self.versions else ()
        return any(each.overlaps(other) for each in maps for other in there)

    # ---- one call ----
    @initialize(keys=KEYS, systems=SYSTEMS, is_saved=st.booleans())
    def create(self, keys: tuple[int, ...], systems: int, is_saved: bool) -> None:
        made = self.new(keys, systems)
        if is_saved:
            og.save(self.path, made.map())
        else:
            og.append(self.path, made.map())
        self.add("save", (made,), 1)

    @rule(keys=KEYS, systems=SYSTEMS, is_lazy=st.booleans())
    def append(self, keys: tuple[int, ...], systems: int, is_lazy: bool) -> None:
        made = self.new(keys, systems)
        og.append(self.path, made.map().chunk(200) if is_lazy else made.map())
        self.add("append", (*self.newest.maps, made), self.newest.segments + 1)

    @rule(number=st.integers(0, 100), keys=KEYS)
    def append_what_may_be_there(self, number: int, keys: tuple[int, ...]) -> None:
        made = Made(number % self.seeds + 1, keys, 2)
        if self.is_there((made,)):
            with pytest.raises(ValidationError, match="is there already"):
                og.append(self.path, made.map())
        else:
            og.append(self.path, made.map())
            self.add("append", (*self.newest.maps, made), self.newest.segments + 1)

    @rule(keys=KEYS)
    def append_what_does_not_fit(self, keys: tuple[int, ...]) -> None:
        with pytest.raises(ValidationError, match="convert the map with"):
            og.append(self.path, self.new(keys, 1).map().to(dtype="float32"))

    @rule()
    def compact(self) -> None:
        og.compact(self.path)
        if self.newest.segments > 1:
            self.add("compact", self.newest.maps, 1)

    @rule(number=st.integers(0, 100))
    def restore(self, number: int) -> None:
        chosen = sorted(self.versions)[number % len(self.versions)]
        old = self.versions[chosen]
        og.restore(self.path, chosen)
        self.add("restore", old.maps, old.segments)

    @rule(keep=st.integers(1, 4))
    def clean(self, keep: int) -> None:
        og.clean(self.path, keep=keep)
        self.versions = dict(sorted(self.versions.items())[-keep:])

    @rule(keys=KEYS, systems=SYSTEMS)
    def save_over(self, keys: tuple[int, ...], systems: int) -> None:
        made = self.new(keys, systems)
        og.save(self.path, made.map(), overwrite=True)
        self.add("save", (made,), 1)
        self.versions = dict(sorted(self.versions.items())[-1:])

    # ---- a writer that is at work while other things are done ----
    @precondition(lambda self: self.writer is None and not self.refused)
    @rule()
    def begin(self) -> None:
        self.writer, self.written = og.ArchiveWriter(self.path, append=True), Kept((), self.since)

    @precondition(lambda self: self.writer is not None)
    @rule(keys=KEYS, systems=SYSTEMS)
    def write(self, keys: tuple[int, ...], systems: int) -> None:
        assert self.writer is not None
        made = self.new(keys, systems)
        self.writer.append(made.map())
        self.written = self.written._replace(maps=(*self.written.maps, made))

    @precondition(lambda self: self.writer is not None and self.written.maps)
    @rule()
    def append_what_is_being_written(self) -> None:
        """So the writer is refused in the end."""
        made = self.written.maps[-1]
        if not self.is_there((made,)):
            og.append(self.path, made.map())
            self.add("append", (*self.newest.maps, made), self.newest.segments + 1)

    @precondition(lambda self: self.writer is not None and self.written.maps)
    @rule()
    def close(self) -> None:
        assert self.writer is not None
        maps, since = self.written
        if since != self.since:
            with pytest.raises(
                ArchiveConflictError, match="has replaced the archive since this append began"
            ):
                self.writer.close()
            self.refused = maps
        elif self.is_there(maps):
            with pytest.raises(ValidationError, match="is there already"):
                self.writer.close()
            self.refused = maps
        else:
            self.writer.close()
            self.add("append", (*self.newest.maps, *maps), self.newest.segments + 1)
        self.writer = None

    @precondition(lambda self: self.writer is not None)
    @rule()
    def give_up(self) -> None:
        assert self.writer is not None
        self.writer.abort()
        self.writer = None

    @rule()
    def commit(self) -> None:
        if self.is_there(self.refused):
            with pytest.raises(ValidationError, match="is there already"):
                og.commit(self.path)
            return
        assert og.commit(self.path) == bool(self.refused)
        if self.refused:
            self.add("append", (*self.newest.maps, *self.refused), self.newest.segments + 1)
            self.refused = ()

    # ---- what must be true ----
    @rule(number=st.integers(0, 100), target_bytes=st.sampled_from([100, 10**6]))
    def read(self, number: int, target_bytes: int) -> None:
        version = sorted(self.versions)[number % len(self.versions)]
        expected = joined([each.map() for each in self.versions[version].maps])
        assert_identical(og.open(self.path, version=version, target_bytes=target_bytes).compute(), expected)

    @invariant()
    def versions_are_those(self) -> None:
        if self.versions:
            found = {each.version: (each.segments,) for each in og.history(self.path)}
            assert found == {number: (each.segments,) for number, each in self.versions.items()}

    def teardown(self) -> None:
        try:
            if self.writer is not None:
                self.writer.abort()
            if self.versions:
                for version in self.versions:
                    self.read(sorted(self.versions).index(version), 10**6)
                assert og.verify(self.path) == []
                og.clean(self.path)
                kept = {note.parent.name for note in self.path.glob("segments/*/refused.json")}
                assert len(kept) == bool(self.refused)
                odd = [each for each in misplaced_files(self.path) if not any(name in each for name in kept)]
                assert odd == []
        finally:
            shutil.rmtree(self.folder)


def test_any_sequence(pytestconfig: pytest.Config) -> None:
    examples = 400 if pytestconfig.getoption("--long-faults") else 30
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    options = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=checks
    )
    with dask.config.set(scheduler="synchronous"):  # shrinking takes minutes
        run_state_machine_as_test(GrowingArchive, settings=options)  # type: ignore[no-untyped-call]
