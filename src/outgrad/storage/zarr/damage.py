"""What is damaged in an archive: where it is, and which rows of which blocks it takes away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Between = tuple[int, int]
"""Rows, or chunks, [start, stop)."""

SHOWN_TOUCHED = 3


@dataclass(frozen=True)
class DamagedRows:
    """Rows of a block, or of its labels, that are in a damaged chunk.

    Parameters
    ----------
    path : str
        Metatensor's path in the segment: ``blocks/3/gradients/positions/values``.
    rows : (int, int)
        The rows [start, stop): of values, of gradients and of their samples, those of the block in the
        version of the archive; of other labels, those of the table.
    key : dict of str to int
        The key of the block; empty for what belongs to none.
    systems : (int, int) or None
        The first and the last system of rows of values and gradients, in the dimension ``system`` or
        ``structure`` of the samples, or the first one if there is none. None where the samples cannot be
        read.
    """

    path: str
    rows: Between
    key: Mapping[str, int] = field(default_factory=dict)
    systems: Between | None = None

    def __str__(self) -> str:
        key = ", ".join(f"{name}={number}" for name, number in self.key.items())
        systems = "" if self.systems is None else f", {_between_text('system', *self.systems)}"
        start, stop = self.rows
        of_key = f" of {key}" if key else ""
        return f"{self.path}{of_key}, {_between_text('row', start, stop - 1)}{systems}"


@dataclass(frozen=True)
class Damage:
    """One object of an archive that is missing or corrupted, or some neighbouring chunks of it.

    Parameters
    ----------
    array : str
        Path of the Zarr array in its segment, such as ``blocks/3/gradients/positions/values``, or of labels
        that are wrong; of an object that holds no chunks, its path in the archive; empty for a file of
        metatensor, whose lines name a member of it.
    what : str
        What is wrong with it.
    file : str
        The path of the object in the archive; empty where no single one is damaged.
    segment : str
        The segment that it belongs to, if it does.
    version : int
        The newest version that needs it, of those that were looked at.
    chunks : (int, int) or None
        The storage chunks [start, stop), all in one shard.
    rows : (int, int) or None
        The rows [start, stop) of the array that are in these chunks.
    touches : tuple of DamagedRows
        Whose rows these are: several blocks, where small arrays share one.
    mended : bool
        Whether it is whole again.
    """

    array: str
    what: str
    file: str = ""
    segment: str = ""
    version: int = 0
    chunks: Between | None = None
    rows: Between | None = None
    touches: tuple[DamagedRows, ...] = ()
    mended: bool = False

    @property
    def chunk(self) -> int | None:
        """Number of the first storage chunk; None for an object that holds none."""
        return None if self.chunks is None else self.chunks[0]

    @property
    def needed_for(self) -> tuple[str, ...]:
        """Metatensor's paths of what has rows in these chunks."""
        return tuple(each.path for each in self.touches)

    def __str__(self) -> str:
        if self.chunks is None or self.rows is None:
            text = f"{self.array} {self.what}" if self.array else self.what
        else:
            first, stop = self.chunks
            each = " each" if stop - first > 1 else ""
            text = (
                f"{self.array}, {_between_text('storage chunk', first, stop - 1)},{each} {self.what} "
                f"({self._needed_text()}{self.file})"
            )
        return f"{text}; mended" if self.mended else text

    def _needed_text(self) -> str:
        shown = "; ".join(map(str, self.touches[:SHOWN_TOUCHED]))
        more = len(self.touches) - SHOWN_TOUCHED
        return f"needed for {shown}{f'; and {more} more' if more > 0 else ''}; " if shown else ""


def _between_text(noun: str, first: int, last: int) -> str:
    """``row 3``, ``rows 3 to 5``."""
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"


class ArchiveDamage(str):
    """A line that says what is damaged, as :func:`outgrad.verify` returns it; ``details`` has its parts.

    Parameters
    ----------
    details : Damage
        Where it is, and which rows of which blocks it takes away.

    Examples
    --------
    >>> from outgrad.storage.zarr.damage import Damage
    >>> line = ArchiveDamage(Damage("zarr.json", "is missing", file="zarr.json"))
    >>> line
    'zarr.json is missing'
    >>> line.details.file, line.details.mended
    ('zarr.json', False)
    """

    details: Damage

    def __new__(cls, details: Damage) -> ArchiveDamage:
        line = super().__new__(cls, details)
        line.details = details
        return line

    def __getnewargs__(self) -> tuple[Damage]:  # type: ignore[override]
        return (self.details,)
