"""Which files an archive consists of, by what its commits say."""

from __future__ import annotations

from pathlib import Path

from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import documents


def needed_files(path: Path) -> set[str]:
    """What all versions of an archive need: commits, lists, and the files of segments."""
    store = LocalStore(path)
    needed = set()
    for version in commits.versions(store):
        commit = commits.read_version(store, version).commit
        needed.add(commits.commit_key(version))
        needed |= {commits.list_key(each.name) for each in commit.lists}
        needed |= {key for key, _ in documents(commit)}
        for segment in commit.segments:
            assert segment.manifest is not None
            for array in (*segment.arrays, segment.manifest.array):
                needed |= {
                    f"{segment.prefix}{array.shard_key(number)}" for number in range(array.shard_count)
                }
    return needed


def misplaced_files(path: Path) -> list[str]:
    """Files that no version needs, files that are missing, and folders without files."""
    found = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    needed = needed_files(path)
    empty = [
        f"empty {each.relative_to(path)}"
        for each in path.rglob("*")
        if each.is_dir() and not any(each.iterdir())
    ]
    return [
        *(f"extra {each}" for each in sorted(found - needed)),
        *(f"missing {each}" for each in sorted(needed - found)),
        *empty,
    ]
