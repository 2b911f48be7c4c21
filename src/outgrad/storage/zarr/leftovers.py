"""What may be removed from an archive, and what must be there before it is committed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from outgrad.errors import ArchiveError
from outgrad.storage import files, leases
from outgrad.storage.publishing import attempted
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import COMMITS, SEGMENTS, SegmentSpec, commit_version

_SEGMENT = re.compile(r"[0-9a-f]{32}")
_READINGS = 5
SHOWN_FILES = 5
FLUSHED_AT_ONCE = 16


def is_empty(root: Path) -> bool:
    """Whether a folder holds nothing, or only the beginning of a writer's first file."""
    return root.is_dir() and all(leases.is_partial(path, "zarr.json") for path in root.iterdir())


def _sorted_entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_segment(path: Path) -> bool:
    return _SEGMENT.fullmatch(path.name) is not None and files.is_real_folder(path)


def at_work(root: Path) -> bool:
    """Whether anybody is writing a segment of this archive."""
    return bool(leases.names_at_work(root / SEGMENTS))


def odd_entries(root: Path) -> list[Path]:
    """What no writer puts among the segments and commits: it is never followed or removed."""
    segments = [path for path in _sorted_entries(root / SEGMENTS) if not _is_segment(path)]
    listed = [path for path in _sorted_entries(root / COMMITS) if commit_version(path.name) is None]
    of_zarr_and_systems = ("zarr.json", ".")
    return [path for path in (*segments, *listed) if not path.name.startswith(of_zarr_and_systems)]


def _named_segments(root: Path) -> set[str] | None:
    """The segments of all commits; None if a commit cannot be read, and so what it names is not known."""
    for _ in range(_READINGS):
        with suppress(FileNotFoundError):  # a commit that was replaced after it was listed: list again
            try:
                listed = [commits.read_version(root, version).commit for version in commits.versions(root)]
            except ArchiveError:
                return None
            return {segment.name for commit in listed for segment in commit.segments}
    return None


def abandoned_segments(root: Path) -> list[Path]:
    """Segments that no commit names and nobody is writing.

    A writer removes its lease after its commit is there. So commits are read after the leases: a segment
    that has neither then belongs to no writer.
    """
    segments = [path for path in _sorted_entries(root / SEGMENTS) if _is_segment(path)]
    leased = leases.names_at_work(root / SEGMENTS)
    free = [path for path in segments if path.name not in leased]
    named = _named_segments(root)
    return [] if named is None else [path for path in free if path.name not in named]


def abandoned_files(root: Path) -> list[Path]:
    """Unfinished files of the archive itself whose writers are gone."""
    folders = (root, root / COMMITS, root / SEGMENTS)
    return [path for folder in folders for path in leases.abandoned_partials(folder)]


def older_commits(root: Path, version: int) -> list[Path]:
    return [commits.commit_path(root, older) for older in commits.versions(root) if older < version]


def remove_superseded(root: Path, version: int) -> Iterator[str]:
    """Remove older commits, and then what no commit names; yield what could not be removed, or is odd."""
    for path in (*older_commits(root, version), *abandoned_files(root)):
        yield from attempted("remove", files.remove_file, path)
    for path in abandoned_segments(root):
        yield from attempted("remove", files.remove_folder, path)
    for path in odd_entries(root):
        yield f"{path} is not Outgrad's, and was left alone"


def remove_if_without_segments(root: Path) -> bool:
    """Remove the folders of an archive that has no segment and no commit; return whether they are gone."""
    segments, listed = root / SEGMENTS, root / COMMITS
    if [path.name for path in _sorted_entries(segments)] == ["zarr.json"]:
        files.remove_file(segments / "zarr.json")
    if not (files.remove_folder_if_empty(segments) and files.remove_folder_if_empty(listed)):
        return False
    if [path.name for path in _sorted_entries(root)] == ["zarr.json"] and commits.is_archive(root):
        files.remove_file(root / "zarr.json")
    return not _sorted_entries(root)


def require_whole(root: Path, segment: SegmentSpec) -> None:
    """Check that all files of a segment are there, and remove what tasks that were killed left among them.

    Raises
    ------
    ArchiveError
        If something is missing, which then somebody has removed.
    """
    missing: list[str] = []
    manifest = [] if segment.manifest is None else [segment.manifest.array]
    for array in (*segment.arrays, *manifest):
        folder = root / segment.prefix / array.path
        expected = {array.chunk_key(number).rpartition("/")[2] for number in range(array.chunk_count)}
        try:
            names = {entry.name for entry in os.scandir(folder)}
        except FileNotFoundError:
            names = set()
        for name in names - expected:
            if name.endswith(".partial"):
                files.remove_file(folder / name)
        missing.extend(f"{array.path}/{name}" for name in sorted(expected - names))
    if missing:
        listed = ", ".join(missing[:SHOWN_FILES]) + (", …" if len(missing) > SHOWN_FILES else "")
        raise ArchiveError(
            f"save {root}: {len(missing)} file(s) that were written are gone, somebody has removed them: "
            f"{listed}; nothing was changed: save again"
        )


def flush_segment(segment: Path, root: Path, written: Sequence[Path]) -> None:
    """Flush the files that the owner of a segment wrote, then the names of all files, and the folders above.

    Many at once: a file system writes its journal once for all threads that wait for it.
    """
    folders = [Path(folder) for folder, _, _ in os.walk(segment)]
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
        for paths in (written, [*folders, segment.parent, root, root.parent]):
            list(pool.map(files.flush, paths))


def left_over(path: Path) -> list[Path]:
    """What killed writers have left at a path: an archive, one file, or a folder of files."""
    if not path.is_dir():
        return leases.abandoned_partials(path.parent, path.name)
    if not (is_empty(path) or commits.is_archive(path)):
        return leases.abandoned_partials(path)
    listed = commits.versions(path)
    if not listed and not at_work(path) and path.suffix == ".zarr":
        # Unfinished, and nothing in it but what the writer made: all of it may go.
        ours = {"zarr.json", COMMITS, SEGMENTS}
        others = [entry for entry in _sorted_entries(path) if entry.name not in ours]
        if all(entry.name.startswith(".") for entry in others) and not odd_entries(path):
            return [path]
    older = older_commits(path, listed[-1]) if listed and _named_segments(path) is not None else []
    return [*older, *abandoned_files(path), *abandoned_segments(path)]


def remove_left_over(paths: Sequence[Path]) -> None:
    """Remove files and folders that belong to no writer."""
    for path in paths:
        (files.remove_folder if files.is_real_folder(path) else files.remove_file)(path)
