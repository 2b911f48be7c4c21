"""How labels are printed: as text in centred columns, and in the HTML tables of all of Outgrad."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Protocol

import numpy as np

from outgrad.labels.types import Table
from outgrad.units import format_bytes

STR_ENTRIES = 4
"""Entries that ``str`` shows."""

HTML_ENTRIES = 10
"""Entries that a notebook shows."""

CELL_STYLE = "text-align:left;vertical-align:top;white-space:nowrap;padding:0.2em 0.8em 0.2em 0"
"""Of every cell: notebooks have rules for cells, which win over the style of a table."""


# ---- text ----
def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "block"), counted(3, "block"), counted(0, "entry")
    ('1 block', '3 blocks', '0 entries')
    """
    if count != 1:
        noun = noun.removesuffix("y") + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun}"


class _HasNames(Protocol):
    @property
    def names(self) -> list[str]: ...

    def __len__(self) -> int: ...


def described(labels: _HasNames) -> str:
    """Return what messages say of labels: ``['system', 'atom'] with 3 entries``."""
    return f"{labels.names} with {counted(len(labels), 'entry')}"


def row_text(names: Iterable[str], row: Table) -> str:
    """Return ``(system=0, atom=3)``."""
    pairs = zip(names, row.tolist(), strict=True)
    return "(" + ", ".join(f"{name}={value}" for name, value in pairs) + ")"


def head_and_tail(count: int, max_rows: int) -> tuple[int, int]:
    """Return how many of the first and of the last rows are shown; an odd number gives one more first."""
    if max_rows < 0 or count <= max_rows or count <= 2:
        return count, 0
    tail = max(max_rows, 2) // 2
    return max(max_rows, 2) - tail, tail


def table_text(names: Sequence[str], head: Table, tail: Table | None, indent: int) -> str:
    """Return the lines of ``head``, and those of ``tail`` below dots if it is not None.

    Every line but the first is indented: the caller writes what comes before the names, so that
    ``"keys:" + table_text(names, head, None, indent=5)`` lines up.
    """
    values = head if tail is None else np.concatenate([head, tail])
    lines = np.full(len(values) + 1, "", dtype=np.str_)
    line_width = 0
    for name, column in zip(names, values.T, strict=True):
        cells = np.concatenate([[name], column.astype(np.str_)])
        lengths = np.strings.str_len(cells)
        width = int(lengths.max()) + 2
        # Cells are centred; an odd space goes to their right.
        padded = np.strings.add(np.strings.multiply(" ", (width - lengths) // 2), cells)
        lines = np.strings.add(lines, np.strings.ljust(padded, width))
        line_width += width
    header = str(np.strings.rstrip(lines[0]))
    rows = np.strings.rstrip(np.strings.add(" " * indent, lines[1:])).tolist()
    if tail is not None:
        # The dots are where metatensor prints them, which in narrow tables is to the right of the middle.
        half = line_width // 2
        rows.insert(len(head), " " * (indent + (half - 2 if half > 3 else half + 1)) + "...")
    return "\n".join([header, *rows])


def labels_text(names: Sequence[str], head: Table, tail: Table | None) -> str:
    """Return ``Labels(``, the table, and ``)``."""
    return "Labels(\n" + ("   " + table_text(names, head, tail, indent=3)).rstrip(" ") + "\n)"


# ---- HTML ----
def html_table(title: str, notes: Sequence[str], rows: Iterable[str]) -> str:
    """Return a title, lines of notes, and a table of rows that :func:`html_row` made."""
    lines = "<br>".join(map(escape, notes))
    return (
        f"<div><b>{escape(title)}</b>{f'<p>{lines}</p>' if lines else ''}<table>{''.join(rows)}</table></div>"
    )


def html_row(cells: Sequence[object], headers: int = 0, span: int = 1) -> str:
    """Return a row whose first cells are headers, and each of whose cells spans so many columns."""
    columns = "" if span == 1 else f" colspan='{span}'"
    row = ""
    for number, cell in enumerate(cells):
        tag = "th" if number < headers else "td"
        text = escape(str(cell)).replace("\n", "<br>")
        row += f"<{tag}{columns} style='{CELL_STYLE}'>{text}</{tag}>"
    return f"<tr>{row}</tr>"


def labels_html(names: Sequence[str], count: int, head: Table, tail: Table | None) -> str:
    """Return an HTML table: count, names and bytes above, then the rows of ``head`` and ``tail``."""
    entries = f"{count:,} {'entry' if count == 1 else 'entries'}"
    size = format_bytes(4 * count * len(names))
    rows = [html_row(names, headers=len(names)), *map(html_row, head.tolist())]
    if tail is not None:
        rows += [html_row(["…"], span=len(names)), *map(html_row, tail.tolist())]
    return html_table(f"Labels: {entries}, {counted(len(names), 'dimension')}, {size}", [], rows)


def entry_html(names: Sequence[str], row: Table) -> str:
    """Return an HTML table of one entry."""
    return html_table("LabelsEntry", [], [html_row(names, headers=len(names)), html_row(row.tolist())])
