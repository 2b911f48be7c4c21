"""How labels, blocks and maps write and read themselves; the functions stand above, and register here."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, BinaryIO, Self

REGISTERED: dict[tuple[type, str], Callable[..., Any]] = {}
"""(class, method) → function; filled by ``outgrad.storage``."""


class Saving:
    """``save``, ``save_buffer``, ``load`` and ``load_buffer`` by the functions of the same meaning."""

    __slots__ = ()

    def save(
        self, file: str | PathLike[str] | BinaryIO, use_numpy: bool = False, *, overwrite: bool = False
    ) -> None:
        """Write to a file: see :func:`outgrad.save`.

        Parameters
        ----------
        file : str, Path or binary file
            A ``.zarr`` or ``.mts`` path, or a file that is open for writing.
        use_numpy : bool
            Has no effect; metatensor has two writers.
        overwrite : bool
            Replace what is at the path.

        Raises
        ------
        ArchiveExistsError
            If the path exists and ``overwrite`` is not set.

        Examples
        --------
        >>> import outgrad as og
        >>> og.Labels.range("n", 3).save("names.mts")
        >>> len(og.Labels.load("names.mts"))
        3
        """
        registered(type(self), "save")(file, self, use_numpy, overwrite=overwrite)

    def save_buffer(self, use_numpy: bool = False) -> memoryview:
        """Return the bytes of an ``.mts`` file: see :func:`outgrad.io.save_buffer`.

        Parameters
        ----------
        use_numpy : bool
            Has no effect.

        Returns
        -------
        memoryview
            The bytes.

        Examples
        --------
        >>> import outgrad as og
        >>> buffer = og.Labels.range("n", 3).save_buffer()
        >>> len(og.Labels.load_buffer(buffer))
        3
        """
        found: memoryview = registered(type(self), "save_buffer")(self, use_numpy)
        return found

    @classmethod
    def load(cls, file: str | PathLike[str] | BinaryIO, use_numpy: bool = False) -> Self:
        """Read one of this class from a file, into memory: see :func:`outgrad.load`.

        Parameters
        ----------
        file : str, Path or binary file
            What :meth:`save` wrote.
        use_numpy : bool
            Has no effect.

        Returns
        -------
        Self
            What was saved.

        Raises
        ------
        ArchiveError
            If there is something else in the file; the message says what reads it.
        """
        return registered(cls, "load")(file)  # type: ignore[no-any-return]

    @classmethod
    def load_buffer(cls, buffer: bytes | bytearray | memoryview, use_numpy: bool = False) -> Self:
        """Read one of this class from the bytes of an ``.mts`` file.

        Parameters
        ----------
        buffer : bytes, bytearray or memoryview
            What :meth:`save_buffer` returned.
        use_numpy : bool
            Has no effect.

        Returns
        -------
        Self
            What was saved.

        Raises
        ------
        ArchiveError
            If there is something else in the bytes; the message says what reads it.
        """
        return registered(cls, "load_buffer")(buffer)  # type: ignore[no-any-return]


def registered(kind: type, name: str) -> Callable[..., Any]:
    """Return the function that stands for the method ``name`` of ``kind``."""
    return next(REGISTERED[base, name] for base in kind.__mro__ if (base, name) in REGISTERED)
