"""The methods with which labels, blocks and maps are saved and loaded."""

from __future__ import annotations

from os import PathLike
from typing import BinaryIO, ClassVar, Self

from outgrad.late import late


class Saving:
    """``save``, ``save_buffer``, ``load`` and ``load_buffer``, which call the functions of these names."""

    __slots__ = ()

    _kind: ClassVar[str]
    """What a file of this class contains: ``map``, ``block`` or ``labels``."""

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
        late("storage.api", "save")(file, self, use_numpy, overwrite=overwrite)

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
        buffer: memoryview = late("storage.buffers", "save_buffer")(self, use_numpy)
        return buffer

    @classmethod
    def load(cls, file: str | PathLike[str] | BinaryIO, use_numpy: bool = False) -> Self:
        """Read an object of this class from a file into memory: see :func:`outgrad.load`.

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
            If the file contains something else; the message says what reads it.
        """
        return late("storage.loading", f"load_{cls._kind}")(file)  # type: ignore[no-any-return]

    @classmethod
    def load_buffer(cls, buffer: bytes | bytearray | memoryview, use_numpy: bool = False) -> Self:
        """Read an object of this class from the bytes of an ``.mts`` file.

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
            If the bytes contain something else; the message says what reads it.
        """
        return late("storage.buffers", f"load_{cls._kind}_buffer")(buffer)  # type: ignore[no-any-return]
