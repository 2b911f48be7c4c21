"""Saving, opening and cleaning archives and files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from os import PathLike
from typing import Any, BinaryIO

from outgrad._foreign import kind_of
from outgrad.config import chunk_bytes
from outgrad.errors import PathError, ValidationError
from outgrad.labels.labels import Labels
from outgrad.ops.keys import fill_number
from outgrad.ops.select import EntrySelection
from outgrad.ops.shift import shifted_samples
from outgrad.storage.buffers import write_stream
from outgrad.storage.lazily import Choice, lazily
from outgrad.storage.mts.reader import open_mts
from outgrad.storage.paths import find_location, is_stream, reaching, shown_path
from outgrad.storage.places import is_file, is_special, require_apart, require_writable, source_path
from outgrad.storage.save_plan import Savable, execute, plan_save, require_data
from outgrad.storage.stores import open_store
from outgrad.storage.urls import StoreUrl
from outgrad.storage.zarr.appendable import Addition, require_appendable
from outgrad.storage.zarr.cleaning import clean_up
from outgrad.storage.zarr.commits import read_newest
from outgrad.storage.zarr.format import DEFAULT_COMPRESSOR
from outgrad.storage.zarr.leftovers import KeptVersions, left_over
from outgrad.storage.zarr.reader import open_archive
from outgrad.storage.zarr.updates import Append
from outgrad.tensor.map import TensorMap
from outgrad.units import seconds


def save(
    file: str | PathLike[str] | BinaryIO,
    data: Savable,
    use_numpy: bool = False,
    *,
    overwrite: bool = False,
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
    durable: bool | None = None,
) -> None:
    """Write a map, a block or labels; lazy data are computed chunk by chunk on the way.

    With a ``distributed.Client`` the tasks run on its workers, which must see the same path. The result
    appears when it is complete: if anything fails, what was at the path before is still there.

    Parameters
    ----------
    file : str, Path or binary file
        ``.zarr`` for an archive, on a disk or at a URL such as ``s3://bucket/name.zarr``; ``.mts`` or
        ``.npz`` for metatensor's own file. To a path without a suffix ``.mts`` is added, with a warning.
        ``~`` is expanded, a URL ``file:///…`` understood, and links are followed. A
        file that is open for writing receives the bytes of an ``.mts`` file.
    data : TensorMap, TensorBlock or Labels
        What to write.
    use_numpy : bool
        Has no effect; metatensor has two writers.
    overwrite : bool
        Replace what is at the path; it stays readable until the new data are complete.
    compressor : {"lz4", "zstd", "none"}
        How the chunks of an archive are compressed.
    provenance : dict, optional
        How the data were made: any JSON object, kept in the archive.
    durable : bool, optional
        Whether everything is flushed to the disk before it becomes visible and what it replaces is removed,
        so that it outlives a power cut. The default is the configuration ``outgrad.durable``, which is True.

    Raises
    ------
    ArchiveExistsError
        If the path exists and ``overwrite`` is not set.
    ArchiveError
        If the suffix names no format, or the path is a directory that is not an archive.
    PathError
        If it is neither a path on this machine nor a URL of an object store.
    MemoryLimitError
        If the workers of a ``distributed.Client`` do not have enough memory; nothing was started.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.save("ones.zarr", block)
    >>> og.open("ones.zarr").values.compute()
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    require_data("save", data)
    if is_stream(file, "write"):
        write_stream(file, data)  # type: ignore[arg-type]
        return
    text = str(file)
    is_folder = text.endswith("/") or (text.startswith("~") and "/" not in text)
    path = find_location("save", file)
    # As metatensor does; another suffix is that of another format.
    if not path.suffix and not isinstance(path, StoreUrl):
        if is_folder or path.name in ("", "..") or is_special(path):
            raise PathError(
                f"save {shown_path(path)}: this names a folder or a device; give the name of an archive "
                "(.zarr) or of a file (.mts) in it, or an open file"
            )
        path = path.with_name(f"{path.name}.mts")
        warnings.warn(
            f"adding '.mts' extension, the file will be saved at '{path}'", UserWarning, stacklevel=2
        )
    settings: dict[str, Any] = {"compressor": compressor, "provenance": provenance, "durable": durable}
    execute([plan_save(path, data, overwrite=overwrite, **settings)])


def save_all(
    outputs: Mapping[str | PathLike[str], Savable], *, overwrite: bool = False, durable: bool | None = None
) -> None:
    """Write several maps, blocks or labels in one computation: what they have in common is computed once.

    They become visible when all of them are complete and on the disk, one directly after the other; if one
    cannot be published, those before are taken back. Only if the process or the machine dies in between, some
    are new and some are as before.

    Parameters
    ----------
    outputs : mapping of path to TensorMap, TensorBlock or Labels
        What to write to each path; see :func:`save`.
    overwrite : bool
        Replace what is at these paths.
    durable : bool, optional
        As for :func:`save`.

    Raises
    ------
    ArchiveExistsError
        If a path exists and ``overwrite`` is not set; nothing is written.
    PathError
        If two paths are the same, however they are spelled, or one lies in another; nothing is written.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.save_all({"two.zarr": block * 2, "three.mts": block * 3})
    """
    if not isinstance(outputs, Mapping):
        raise TypeError(f"save_all: outputs must be a mapping of paths to data, got {kind_of(outputs)}")
    for data in outputs.values():
        require_data("save_all", data)
    stores = [plan_save(path, data, overwrite=overwrite, durable=durable) for path, data in outputs.items()]
    require_apart("save_all", [store.path for store in stores])
    execute(stores)


def append(
    path: str | PathLike[str],
    tensor: TensorMap,
    *,
    shift: Mapping[str, int] | None = None,
    fill_value: complex | float | None = None,
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
    durable: bool | None = None,
) -> None:
    """Add the samples of a map to an archive, which becomes a new version; lazy data are computed on the way.

    The samples are added to the blocks of their keys, and keys that are not there yet become blocks. What
    earlier versions consist of is not touched: who has one open goes on reading it. If there is no archive at
    the path, one is made. Several writers may append at once; each is added to what the others have added in
    the meantime.

    Parameters
    ----------
    path : str or Path
        An archive; its name must end in ``.zarr``.
    tensor : TensorMap
        A map with the dtype, the gradients, and the names of keys, samples, components and properties of the
        archive, and the same components and properties in the blocks of each key.
    shift : dict of str to int, optional
        Numbers to add to dimensions of the samples, as in :func:`shift_dimension`.
    fill_value : number, optional
        What takes the place of properties that the archive, or the map, does not have in a block, in
        gradients too, as in :func:`keys_to_samples`. The properties of a block are then the union of those of
        all its parts, in the order in which they were added. Without it they must be the same.
    compressor : {"lz4", "zstd", "none"}
        How the chunks are compressed.
    provenance : dict, optional
        How the data were made: any JSON object, which :func:`history` shows.
    durable : bool, optional
        As for :func:`save`.

    Raises
    ------
    ValidationError
        If the map does not fit to the archive, or one of its samples is there already; the message says
        which. Nothing is computed then.
    ArchiveConflictError
        If another writer has replaced the archive in the meantime. The data are kept, and :func:`commit` adds
        them if they fit to what is there.
    ArchiveError
        If it is not an archive, or one of a newer format.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> for system in range(2):
    ...     block = og.block_from_array(np.full((1, 3), float(system)), sample_names=["system"])
    ...     og.append("growing.zarr", og.TensorMap(og.Labels.single(), [block]), shift={"system": system})
    >>> og.open("growing.zarr").block().values.compute()
    array([[0., 0., 0.],
           [1., 1., 1.]])
    >>> len(og.history("growing.zarr"))
    2
    """
    if not isinstance(tensor, TensorMap):
        raise TypeError(f"append: tensor must be a TensorMap, got {kind_of(tensor)}")
    shifted = shifted_samples("append", tensor, shift)
    fill = (
        None
        if fill_value is None or not len(tensor)
        else fill_number("append", fill_value, tensor._blocks().dtype(0))
    )

    def update(keys: Labels, metadata: Any, dtypes: Any, info: Mapping[str, str]) -> Append:
        addition = Addition(keys, metadata, dtypes, info, fill)
        return Append(partial(require_appendable, addition=addition), fill)

    settings: dict[str, Any] = {"compressor": compressor, "provenance": provenance, "durable": durable}
    execute([plan_save(path, shifted, update=update, call="append", **settings)])


def open(
    path: str | PathLike[str],
    *,
    keys: EntrySelection | None = None,
    samples: EntrySelection | None = None,
    properties: EntrySelection | None = None,
    target_bytes: int | str | None = None,
    version: int | None = None,
) -> Any:
    """Open a map, a block or labels lazily, or some of it: only what describes it is read.

    What is not chosen is not read, neither now nor later: of an archive, samples are found by an index of
    systems, and only the chunks of labels and values are read in which chosen rows are. The same holds for
    :func:`outgrad.slice`, directly after opening.

    Parameters
    ----------
    path : str or Path
        A ``.zarr`` archive, also at a URL such as ``s3://bucket/name.zarr``, or a ``.mts`` or ``.npz`` file.
    keys, samples, properties : Labels, LabelsEntry, or 1-D list or array of int or bool, optional
        Which blocks, and which samples and properties of each, as in :func:`outgrad.slice`: Labels with some
        or all dimensions, positions, or a mask. The default is all.
    target_bytes : int or str, optional
        Bytes of values and gradients a task holds, such as ``"64 MiB"``; the default is the configuration
        ``outgrad.chunk-bytes``. Stored chunks of about 8 MiB are merged up to this size; ``chunk`` makes
        smaller ones.
    version : int, optional
        A version of the archive that :func:`history` lists; the default is the newest.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        What was saved, with Dask arrays as values.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at ``path``, or no such version.
    ArchiveError
        If it is not an archive, or one that is unfinished, corrupted, or of a newer format version.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("keys.mts", og.Labels.range("n", 3))
    >>> og.open("keys.mts")["n"]
    array([0, 1, 2], dtype=int32)
    >>> og.save("tens.zarr", og.block_from_array(10.0 * np.arange(5)[:, None], ["system"]))
    >>> og.open("tens.zarr", samples=og.Labels("system", [[3]])).values.compute()
    array([[30.]])
    """
    source = source_path("open", path)
    with reaching("open", source):
        opened = open_mts(source) if is_file(source) else open_archive(open_store(source), version)
    return lazily(opened, chunk_bytes(target_bytes), Choice(keys, samples, properties))


def clean(
    path: str | PathLike[str],
    *,
    dry_run: bool = False,
    keep: int | None = None,
    older_than: str | float | timedelta | None = None,
) -> list[str]:
    """Remove what killed writers have left behind, and old versions; what anybody may be writing stays.

    A save removes such leftovers at its own path, so this is for paths to which nobody saves again. Whether a
    writer still runs is known on its own machine; what a writer on another machine has left is removed after
    a week.

    Parameters
    ----------
    path : str or Path
        An archive, also an unfinished one; the name of an ``.mts`` file, which need not exist; or a folder,
        for the unfinished files in it.
    dry_run : bool
        Only list.
    keep : int, optional
        Of an archive, remove all versions but the newest ``keep``, and the data that only they have. By
        default all versions stay.
    older_than : str, float or timedelta, optional
        Of an archive, remove versions that are older: ``"30d"``, ``"12h"``, or seconds; never the newest.
        With ``keep``, the newest ones of this number stay all the same.

    Returns
    -------
    list of str
        The paths that were removed.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at the path, and no leftover of it.
    PathError
        If it is neither a path on this machine nor a URL of an object store.
    ValidationError
        If ``keep`` is less than 1, or ``older_than`` is not a time.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("ones.mts", og.block_from_array(np.ones((2, 3))))
    >>> og.clean("ones.mts")
    []
    """
    if keep is not None and keep < 1:
        raise ValidationError(f"clean: keep={keep}: the newest version always stays; pass 1 or more")
    try:
        kept = KeptVersions(keep, None if older_than is None else seconds(older_than))
    except ValueError:
        raise ValidationError(
            f"clean: older_than={older_than!r:.80}: it must be a time, such as '30d' or '12h'"
        ) from None
    location = find_location("clean", path)
    require_writable("clean", location)
    with reaching("clean", location):
        leftovers = (left_over if dry_run else clean_up)(location, kept)
        if not leftovers and isinstance(location, StoreUrl):
            read_newest(open_store(location))  # says what is there if it is no archive
        elif not leftovers:
            source_path("clean", path)
    return [str(leftover) for leftover in leftovers]
