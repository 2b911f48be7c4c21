"""Labels to and from pandas (``pip install outgrad[xarray]``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad._foreign import kind_of
from outgrad.errors import ValidationError
from outgrad.labels.checks import as_int32
from outgrad.labels.labels import Labels


def labels_to_pandas(labels: Labels) -> Any:
    """Return labels as a DataFrame: see :meth:`outgrad.Labels.to_pandas`."""
    pandas = _pandas("Labels.to_pandas")
    # Stored labels are read and not kept: the table is what was asked for.
    return pandas.DataFrame(labels.read(0, len(labels)), columns=labels.names, copy=True)


def labels_from_pandas(table: Any) -> Labels:
    """Return the labels of a DataFrame or an index: see :meth:`outgrad.Labels.from_pandas`."""
    call = "Labels.from_pandas"
    pandas = _pandas(call)
    if isinstance(table, pandas.DataFrame):
        columns = [(name, column.to_numpy()) for name, column in table.items()]
        advice = "convert it with frame.astype({{{name!r}: 'int32'}}), or leave it out"
    elif isinstance(table, pandas.Index):
        columns = [(name, table.get_level_values(n).to_numpy()) for n, name in enumerate(table.names)]
        advice = "convert it with .astype('int32')"
    else:
        raise TypeError(f"{call}: a DataFrame or an Index of pandas is needed, got {kind_of(table)}")
    names = [name for name, _ in columns]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise TypeError(
            f"{call}: columns and levels need names that are strings, found {wrong[0]!r} in {names}; "
            "set frame.columns = [...] or index.names = [...]"
        )
    if len(set(names)) < len(names):
        raise ValidationError(f"{call}: names must differ, found {names}; rename one")
    for name, column in columns:
        check_integers(f"{call}: the column {name!r}", column, advice.format(name=name))
    return labels_of_columns(dict(columns), len(table))


def check_integers(what: str, column: npt.NDArray[Any], advice: str) -> None:
    """Refuse a column that is not of integers; of an empty one the dtype says nothing."""
    if column.size and column.dtype.kind not in "iu":
        raise TypeError(f"{what} has dtype {column.dtype}, but labels are integers; {advice}")


def labels_of_columns(columns: Mapping[str, npt.NDArray[Any]], count: int) -> Labels:
    """Make labels of columns, each converted by itself: two kinds of integers would become floats."""
    table = np.empty((count, len(columns)), np.int32)
    for number, (name, column) in enumerate(columns.items()):
        table[:, number] = as_int32((name,), column[:, None])[:, 0]
    return Labels(list(columns), table)


def _pandas(call: str) -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError(
            f"{call}: pandas is not installed; install it with: pip install 'outgrad[xarray]'"
        ) from None
    return pandas
