"""What labels are, whatever is done with them: names, a table in memory or in a source, a digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

import numpy as np

from outgrad.errors import ValidationError
from outgrad.labels.check import as_int32, check_shape, normalize_names
from outgrad.labels.packing import Table
from outgrad.labels.tables import RowIndex, table_digest


class Source(Protocol):
    """Where the values of labels are kept; it must pickle small, since labels travel with it."""

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop) as an (n, d) array of int32."""
        ...


FIRST_ROWS = 64
"""Rows that are compared before all are."""


class StoredLabels:
    """Names and an immutable table, read from its source on first use.

    The class holds no rules of what a table may contain: see :class:`outgrad.labels.Labels`.
    """

    __slots__ = ("__weakref__", "_count", "_digest", "_index", "_names", "_source", "_values")
    # Comparing with an array is a comparison of two different things, not of their elements.
    __array_ufunc__ = None

    _names: tuple[str, ...]
    _count: int
    _values: Table | None
    _digest: str | None
    _source: Source | None
    _index: RowIndex | None

    def _fill(
        self,
        names: tuple[str, ...],
        count: int,
        values: Table | None = None,
        digest: str | None = None,
        source: Source | None = None,
    ) -> None:
        self._names, self._count = names, count
        self._values, self._digest, self._source = values, digest, source
        self._index = None

    @classmethod
    def _make(cls, names: tuple[str, ...], values: Table, digest: str | None = None) -> Self:
        """Make labels of values that are known to be valid and are not used elsewhere."""
        values.flags.writeable = False
        labels = object.__new__(cls)
        labels._fill(names, len(values), values, digest)
        return labels

    @classmethod
    def from_source(cls, names: str | Iterable[str], count: int, digest: str, source: Source) -> Self:
        """Describe labels whose values stay where they are until they are used.

        Names, length, shape, digest and comparison need no read.

        Parameters
        ----------
        names : str or iterable of str
            Names of the d dimensions.
        count : int
            Number of entries n.
        digest : str
            The 32 hex characters of :attr:`digest` for these names and values.
        source : object
            Has ``read(start, stop)``, which returns rows as an array of int32, and can be pickled.

        Returns
        -------
        Labels
            The labels; nothing was read.

        Raises
        ------
        ValidationError
            If the digest or the count cannot be one.

        Examples
        --------
        >>> from outgrad import Labels
        >>> kept = Labels.range("atom", 3)
        >>> labels = Labels.from_source("atom", 3, kept.digest, source=kept)
        >>> labels == kept, labels.is_loaded
        (True, False)
        >>> labels["atom"], labels.is_loaded
        (array([0, 1, 2], dtype=int32), True)
        """
        if len(digest) != 32 or not set(digest) <= set("0123456789abcdef"):
            raise ValidationError(f"Labels.from_source needs a digest of 32 hex characters, found {digest!r}")
        if count < 0:
            raise ValidationError(f"Labels.from_source needs the number of entries, found {count=}")
        checked = normalize_names(names)
        check_shape(checked, count)
        labels = object.__new__(cls)
        labels._fill(checked, int(count), digest=digest, source=source)
        return labels

    @property
    def names(self) -> list[str]:
        """Names of the dimensions, as a new list."""
        return list(self._names)

    @property
    def values(self) -> Table:
        """The (n, d) int32 table, read-only; read from the source if it was not yet."""
        values = self._values
        if values is None:
            values = self._values = self._read(0, self._count)
        return values

    @property
    def shape(self) -> tuple[int, int]:
        """Number of entries and number of dimensions; needs no read."""
        return self._count, len(self._names)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; needs no read."""
        return 4 * self._count * len(self._names)

    @property
    def is_loaded(self) -> bool:
        """Whether the values are in memory."""
        return self._values is not None

    @property
    def is_stored(self) -> bool:
        """Whether the values can be read from a source, so that the labels pickle small."""
        return self._source is not None

    @property
    def digest(self) -> str:
        """32 hex characters that are equal for equal labels: BLAKE2b of names, shape and values."""
        if self._digest is None:
            self._digest = table_digest(self._names, self.values)
        return self._digest

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def read(self, start: int, stop: int) -> Table:
        """Return some rows, and keep nothing: only these are read if the values are not in memory.

        Parameters
        ----------
        start, stop : int
            The rows [start, stop), counted from 0.

        Returns
        -------
        (stop - start, d) array of int32
            The rows, read-only.

        Raises
        ------
        IndexError
            If there are no such rows.

        Examples
        --------
        >>> from outgrad import Labels
        >>> Labels.range("atom", 5).read(1, 3)
        array([[1], [2]], dtype=int32)
        """
        if not 0 <= start <= stop <= self._count:
            raise IndexError(f"rows [{start}, {stop}) were asked of labels with {self._count} entries")
        if self._values is not None:
            return self._values[start:stop]
        return self._read(start, stop)

    def slices(self, starts: Sequence[int], stops: Sequence[int]) -> list[Self]:
        """Return the rows [start, stop) of every pair as labels: many at once, which read all values.

        Parameters
        ----------
        starts, stops : sequence of int
            The rows of each; they are not checked.

        Returns
        -------
        list of Labels
            They share the values.

        Examples
        --------
        >>> from outgrad import Labels
        >>> [labels.values.tolist() for labels in Labels.range("atom", 3).slices([0, 1], [1, 3])]
        [[[0]], [[1], [2]]]
        """
        kind, names, values = type(self), self._names, self.values
        found = []
        for start, stop in zip(starts, stops, strict=True):
            labels = object.__new__(kind)
            labels._fill(names, stop - start, values[start:stop])
            found.append(labels)
        return found

    def _read(self, start: int, stop: int) -> Table:
        assert self._source is not None, "labels have values or a source"
        found = np.asarray(self._source.read(start, stop))
        if found.shape != (stop - start, len(self._names)):
            raise ValidationError(
                f"the source of labels {list(self._names)} was asked for rows [{start}, {stop}) and returned "
                f"shape {found.shape} instead of {(stop - start, len(self._names))}; the source is damaged"
            )
        rows = as_int32(self._names, found).view()
        rows.flags.writeable = False
        return rows

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredLabels):
            return NotImplemented
        if self is other:
            return True
        if self._names != other._names or self._count != other._count:
            return False
        if self._values is not None and self._values is other._values:
            return True
        if self._digest is not None and other._digest is not None:
            return self._digest == other._digest
        if self._values is not None and other._values is not None:
            # One pass over the values is cheaper than hashing either, and mostly the first rows tell.
            own, others = self._values, other._values
            return np.array_equal(own[:FIRST_ROWS], others[:FIRST_ROWS]) and np.array_equal(own, others)
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = self._values if self._source is None else None
        return _rebuild, (type(self), self._names, self._count, values, self._digest, self._source)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "outgrad.Labels", self.digest


def _rebuild(
    kind: type[StoredLabels],
    names: tuple[str, ...],
    count: int,
    values: Table | None,
    digest: str | None,
    source: Source | None,
) -> StoredLabels:
    """Make labels from their pickled state, without checking it again."""
    labels = object.__new__(kind)
    if values is not None:
        values.flags.writeable = False
    labels._fill(names, count, values, digest, source)
    return labels
