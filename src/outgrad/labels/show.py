"""How tables of labels are printed, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from outgrad.labels.packing import Table
from outgrad.units import format_bytes

Text = npt.NDArray[np.str_]

STR_ENTRIES = 4
"""Entries that ``str`` shows."""

HTML_ENTRIES = 10
"""Entries that a notebook shows."""

TABLE_STYLE = "text-align: left; border-spacing: 0.8em 0.1em"
CAPTION_STYLE = "text-align: left; white-space: nowrap; padding: 0 0.8em"


def table(names: Sequence[str], values: Table, indent: int = 0, max_rows: int = -1) -> str:
    """Return names and rows of ``values`` (n, d) as text in centred columns.

    Every line but the first is indented: the caller writes what stands before the names, so that
    ``"keys:" + table(names, values, indent=5)`` lines up.

    Parameters
    ----------
    names : sequence of str
        Names of the d columns.
    values : (n, d) array of int32
        The rows.
    indent : int
        Spaces before every row.
    max_rows : int
        Rows to show; of more, the first and the last ones are shown. -1 shows all.

    Returns
    -------
    str
        The lines, without trailing spaces and without a last line break.

    Examples
    --------
    >>> values = np.array([[6, 8], [7, 7]], dtype=np.int32)
    >>> print("keys:" + table(["center_type", "neighbor_type"], values, indent=5))
    keys: center_type  neighbor_type
               6             8
               7             7
    """
    before, after = shown(len(values), max_rows)
    tail = values[len(values) - after :] if before + after < len(values) else None
    return layout(names, values[:before], tail, indent)


def shown(count: int, max_rows: int) -> tuple[int, int]:
    """Return how many of the first and of the last rows are shown; an odd number gives one more first."""
    if max_rows < 0 or count <= max_rows or count <= 2:
        return count, 0
    after = max(max_rows, 2) // 2
    return max(max_rows, 2) - after, after


def layout(names: Sequence[str], head: Table, tail: Table | None, indent: int) -> str:
    """Return the lines of ``head``, and those of ``tail`` below dots if it is not None."""
    values = head if tail is None else np.concatenate([head, tail])
    lines = np.full(len(values) + 1, "", dtype=np.str_)
    total = 0
    for name, column in zip(names, values.T, strict=True):
        cells = np.concatenate([[name], column.astype(np.str_)])
        width = int(np.strings.str_len(cells).max()) + 2
        lines = np.strings.add(lines, _centred(cells, width))
        total += width
    header = str(np.strings.rstrip(lines[0]))
    rows = np.strings.rstrip(np.strings.add(" " * indent, lines[1:])).tolist()
    if tail is not None:
        rows.insert(len(head), " " * indent + _dots(total))
    return "\n".join([header, *rows])


def _centred(cells: Text, width: int) -> Text:
    """Centre each cell; an odd space goes right."""
    before = (width - np.strings.str_len(cells)) // 2
    padded: Text = np.strings.add(np.strings.multiply(" ", before), cells)
    return np.strings.ljust(padded, width)


def _dots(width: int) -> str:
    half = width // 2
    return " " * (half - 3 + 1 if half > 3 else half + 1) + "..."


def labels_text(names: Sequence[str], head: Table, tail: Table | None) -> str:
    """Return ``Labels(``, the table, and ``)``."""
    return "Labels(\n" + ("   " + layout(names, head, tail, indent=3)).rstrip(" ") + "\n)"


def labels_html(names: Sequence[str], count: int, head: Table, tail: Table | None) -> str:
    """Return an HTML table: count, names and bytes above, then the rows of ``head`` and ``tail``."""
    nbytes = 4 * count * len(names)
    caption = f"Labels: {count:,} {'entry' if count == 1 else 'entries'}, {len(names)} dimension"
    caption += f"{'' if len(names) == 1 else 's'}, {format_bytes(nbytes)}"
    rows = [_html_row(row, "td") for row in head.tolist()]
    if tail is not None:
        rows.append(f'<tr><td colspan="{len(names)}" style="text-align: center">…</td></tr>')
        rows.extend(_html_row(row, "td") for row in tail.tolist())
    return _html_table(names, caption, rows)


def entry_html(names: Sequence[str], row: Table) -> str:
    """Return an HTML table of one entry."""
    return _html_table(names, "LabelsEntry", [_html_row(row.tolist(), "td")])


def _html_table(names: Sequence[str], caption: str, rows: Sequence[str]) -> str:
    return (
        f'<table class="outgrad-labels" style="{TABLE_STYLE}">'
        f'<caption style="{CAPTION_STYLE}">{caption}</caption>'
        f"<thead>{_html_row(names, 'th')}</thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _html_row(cells: Sequence[object], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
