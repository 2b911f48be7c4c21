"""Every error class of Outgrad.

A message says what was called, what was found and what to do. All classes derive from
:class:`OutgradError`; each also derives from the built-in exception that a caller would catch.
"""

from __future__ import annotations

from typing import Self

from numpy.linalg import LinAlgError


class OutgradError(Exception):
    """Base of all errors that Outgrad raises on purpose."""


MetatensorError = OutgradError
"""The same class under metatensor's name, so that ported scripts keep their ``except`` lines."""


class ValidationError(OutgradError, ValueError):
    """Labels, blocks or maps that do not follow the rules of the data model."""


class SettingError(OutgradError, ValueError):
    """A setting in Dask's configuration, or in an environment variable, that is not allowed."""


class NotEqualError(OutgradError, ValueError):
    """Two blocks or maps that should agree do not."""


class GradientError(OutgradError, AssertionError):
    """An explicit gradient does not agree with finite differences."""


class LinearSystemError(OutgradError, LinAlgError):
    """Equations without a unique solution, or whose numbers are not finite."""


class UnsortedGradientWarning(UserWarning):
    """Gradient rows are not sorted by ``sample``, so the block cannot have several chunks."""


def printable(text: str) -> str:
    r"""Escape what ends a line or controls a terminal: names of files may hold anything.

    >>> print(printable("two\nlines.zarr"))
    two\nlines.zarr
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class OneLineError(OutgradError):
    """Base of errors that name files: their text is one line."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ArchiveError(OneLineError):
    """Something is wrong with a stored archive or file."""


class PathError(ArchiveError, ValueError):
    """A path or URL that cannot be one: empty, with a variable in it, or of a kind that is not known."""


class PathAccessError(ArchiveError, OSError):
    """A path that the system refuses: a circle of links, too long a name, a file in place of a folder."""


class PathPermissionError(PathAccessError, PermissionError):
    """A path that this user has no permission to read or write."""


class StoreAccessError(PathAccessError):
    """An object store that cannot be reached, does not answer, or refuses what it is asked for."""


class UnknownOutcomeError(StoreAccessError):
    """An object store that did not say whether it has written what makes new data visible."""


class ArchiveExistsError(ArchiveError, FileExistsError):
    """A path that would be written already exists."""


class ArchiveNotFoundError(ArchiveError, FileNotFoundError):
    """A path that should be read does not exist."""


class ArchiveConflictError(ArchiveError):
    """Another writer has finished at the same path in the meantime; its data are kept, and no others."""


class ArchiveWarning(UserWarning):
    """The data are saved, but something after that failed."""


class NotAnArchiveError(ArchiveError, ValueError):
    """A path exists but holds no archive."""


class UnfinishedArchiveError(ArchiveError):
    """An archive that was never committed: its writer was stopped or still runs."""


class NewerFormatError(ArchiveError):
    """An archive whose format version this release does not know."""


class DamagedArchiveError(ArchiveError, OSError):
    """Stored bytes are missing, changed or not where they belong."""


class FileFormatError(ArchiveError, ValueError):
    """An ``.mts``, ``.npz`` or ``.npy`` file that breaks its format or this reader's safety rules."""


class JobError(OneLineError, ValueError):
    """A job file or a cluster specification that cannot be used."""


class MemoryLimitError(OutgradError, MemoryError):
    """A plan whose tasks would exceed the memory of a worker."""

    def __new__(cls, *args: object) -> Self:
        """Make an exception as others are: distributed cannot return what ``MemoryError.__new__`` makes."""
        return Exception.__new__(cls, *args)


class ClusterError(OutgradError, RuntimeError):
    """A cluster that could not be started or reached, or that was lost while a job ran."""
