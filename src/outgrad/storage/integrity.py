"""Finding and mending damage of archives and files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from outgrad.errors import ArchiveError, NotAnArchiveError
from outgrad.storage.mts.reader import verify_mts
from outgrad.storage.paths import reaching, shown_path
from outgrad.storage.places import is_file, require_writable, source_path
from outgrad.storage.stores import open_store
from outgrad.storage.zarr.commits import is_archive, read_newest
from outgrad.storage.zarr.damage import ArchiveDamage, Damage
from outgrad.storage.zarr.mend import have_segments_in_common
from outgrad.storage.zarr.verify import verify_archive
from outgrad.storage.zarr.verify_segments import Progress


def verify(
    path: str | PathLike[str], *, all_versions: bool = False, progress: Progress | None = None
) -> list[ArchiveDamage]:
    """Read everything at ``path`` and compare it with its checksums, in bounded memory.

    An archive is read by threads of this machine, or by the workers of a ``distributed.Client`` if there is
    one, which must see the same path.

    Parameters
    ----------
    path : str or Path
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.
    all_versions : bool
        Of an archive, check all versions that :func:`history` lists, and data that several have once. By
        default only the newest is checked.
    progress : callable, optional
        ``progress(nbytes, total)`` is called each time that ``nbytes`` more of ``total`` bytes of an archive
        were checked; both count chunks before compression.

    Returns
    -------
    list of ArchiveDamage
        One line of text for each object that is damaged or missing, or some neighbouring chunks of it; empty
        if all checksums match. ``details`` of each says which chunks, rows, blocks and systems that are.

    Raises
    ------
    ArchiveError
        If it cannot be opened at all.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> from pathlib import Path
    >>> og.save("whole.zarr", og.block_from_array(np.ones((1, 2))))
    >>> og.verify("whole.zarr")
    []
    >>> next(Path("whole.zarr").glob("segments/*/blocks/0/values/c.0.0")).unlink()
    >>> (damage,) = og.verify("whole.zarr")
    >>> damage.details.array, damage.details.rows, damage.details.what
    ('blocks/0/values', (0, 1), 'is missing')
    """
    source = source_path("verify", path)
    with reaching("verify", source):
        if is_file(source):
            return [ArchiveDamage(Damage("", line, file=str(source))) for line in verify_mts(source)]
        found = verify_archive(open_store(source), all_versions=all_versions, progress=progress)
        return [ArchiveDamage(damage) for damage in found]


def repair(
    path: str | PathLike[str],
    source: str | PathLike[str],
    *,
    all_versions: bool = False,
    progress: Progress | None = None,
) -> list[ArchiveDamage]:
    """Mend an archive with what is whole in a copy of it; whatever is not damaged stays as it is.

    Chunks are taken from the copy if they have the checksums in the commit, object by object, each in one
    step: the archive is never worse than before, also if this is interrupted. What describes it to Zarr is
    made again. The copy may be damaged as well, in other places.

    Parameters
    ----------
    path : str or Path
        An archive.
    source : str or Path
        A copy of its files, made for instance by ``cp -r`` or ``rsync``, also at a URL. An archive with equal
        content that was converted or compacted is no copy.
    all_versions : bool
        Whether to mend all versions that are kept, and not the newest alone.
    progress : callable, optional
        As for :func:`verify`.

    Returns
    -------
    list of ArchiveDamage
        All damage that was found; where ``details.mended`` is False, the text says why.

    Raises
    ------
    ArchiveError
        If either of them is not an archive, or if the copy is another archive; nothing was changed.

    Examples
    --------
    >>> import numpy as np, outgrad as og, shutil
    >>> from pathlib import Path
    >>> og.save("mended.zarr", og.block_from_array(np.ones((1, 2))))
    >>> _ = shutil.copytree("mended.zarr", "copy.zarr")
    >>> next(Path("mended.zarr").glob("segments/*/blocks/0/values/c.0.0")).unlink()
    >>> [damage.details.mended for damage in og.repair("mended.zarr", "copy.zarr")]
    [True]
    >>> og.verify("mended.zarr")
    []
    """
    target, copy = source_path("repair", path), source_path("repair", source)
    require_writable("repair", target)
    for each in (target, copy):
        if is_file(each):
            raise NotAnArchiveError(
                f"repair {shown_path(each)}: this is a file, and only archives (.zarr) are repaired; restore "
                "it from a copy"
            )
    with reaching("repair", target):
        if target == copy or (isinstance(target, Path) and isinstance(copy, Path) and target.samefile(copy)):
            raise ArchiveError(
                f"repair {shown_path(target)}: the copy is the archive itself; give another one"
            )
        stores = open_store(target), open_store(copy)
        if not have_segments_in_common(*stores):
            for store in stores:
                if not is_archive(store):
                    read_newest(store)  # says what is there instead
            raise ArchiveError(
                f"repair {shown_path(target)}: {shown_path(copy)} is another archive: it has none of the "
                "segments of this one, as a copy of its files would (one that was converted or compacted has "
                "others); nothing was changed: give a copy, or replace the archive with `outgrad convert "
                "--overwrite`"
            )
        found = verify_archive(stores[0], all_versions=all_versions, copy=stores[1], progress=progress)
    return [ArchiveDamage(damage) for damage in found]
