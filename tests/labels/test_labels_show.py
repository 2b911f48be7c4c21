"""How labels are printed, to the character: the forms of the tutorial on gradients."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from outgrad.labels import display
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels

THREE_COLUMNS = """\
Labels(
    sample  system  atom
      0       0      4
      0       0      5
      1       0      4
      1       0      5
)"""

TWO_COLUMNS = """\
Labels(
    system  atom
      0      4
      0      5
)"""

XYZ = """\
Labels(
    xyz
     0
     1
     2
)"""

O3_MU_ALL = """\
Labels(
    o3_mu
     -2
     -1
      0
      1
      2
)"""

O3_MU = """\
Labels(
    o3_mu
     -2
     -1
       ...
      1
      2
)"""

WIDE = """\
Labels(
    a  bbbbbbbbbbb
    0       0
    1    1000000
         ...
    6    6000000
    7    7000000
)"""

FOUR_COLUMNS = """\
Labels(
    aa  bbb  cccc  ddddd
    0    0    0      0
    1   10    1      1
            ...
    4   40    4      4
    5   50    5      5
)"""

LONG_VALUES = """\
Labels(
       a
     -999
    1234567
)"""


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (Labels(["sample", "system", "atom"], [[0, 0, 4], [0, 0, 5], [1, 0, 4], [1, 0, 5]]), THREE_COLUMNS),
        (Labels(["system", "atom"], [[0, 4], [0, 5]]), TWO_COLUMNS),
        (Labels.range("xyz", 3), XYZ),
        (Labels("o3_mu", np.arange(-2, 3)[:, None]), O3_MU),
        (Labels(["a", "bbbbbbbbbbb"], [[i, 1000000 * i] for i in range(8)]), WIDE),
        (Labels(["aa", "bbb", "cccc", "ddddd"], [[i, 10 * i, i, i] for i in range(6)]), FOUR_COLUMNS),
        (Labels("a", [[-999], [1234567]]), LONG_VALUES),
        (Labels.empty(["a", "b"]), "Labels(\n    a  b\n)"),
        (Labels([], np.empty((0, 0), int)), "Labels(\n\n)"),
    ],
)
def test_str(labels: Labels, text: str) -> None:
    assert str(labels) == text


def test_repr_shows_all_and_is_used_in_lists() -> None:
    assert repr(Labels("o3_mu", np.arange(-2, 3)[:, None])) == O3_MU_ALL
    assert str([Labels.range("xyz", 3)]) == "[Labels(\n    xyz\n     0\n     1\n     2\n)]"


@pytest.mark.parametrize(
    ("max_entries", "text"),
    [
        (-1, "n\n   0\n   1\n   2\n   3\n   4"),
        (5, "n\n   0\n   1\n   2\n   3\n   4"),
        (3, "n\n   0\n   1\n    ...\n   4"),
        (2, "n\n   0\n    ...\n   4"),
        (0, "n\n   0\n    ...\n   4"),
    ],
)
def test_print(max_entries: int, text: str) -> None:
    assert Labels.range("n", 5).print(max_entries, indent=2) == " " + text
    assert Labels.range("n", 5).print(max_entries) == " " + text.replace("\n  ", "\n")


def test_two_entries_are_never_elided() -> None:
    assert Labels.range("n", 2).print(0) == " n\n 0\n 1"


KEYS = """\
keys: center_type  neighbor_type
           6             6
           6             8"""

FOUR_KEYS = """\
keys: o3_lambda  o3_sigma  center_type  neighbor_type
          0         1           6             6
          1         1           6             6"""


@pytest.mark.parametrize("text", [KEYS, FOUR_KEYS])
def test_table_is_the_keys_of_a_map(text: str) -> None:
    header, *rows = (line.split() for line in text.splitlines())
    values = np.array(rows, dtype=np.int32)
    assert "keys:" + Labels(header[1:], values).print(-1, indent=5) == text


def test_no_line_ends_in_spaces() -> None:
    for count in (0, 1, 9):
        labels = Labels(["a_long_name", "b"], np.arange(2 * count).reshape(count, 2))
        for text in (str(labels), repr(labels), labels.print(3, indent=7)):
            assert all(line == line.rstrip() for line in text.split("\n"))


def plain(html: Any) -> Any:
    """The elements without their styles."""
    return re.sub(r" style='[^']*'", "", html)


def test_html() -> None:
    html = plain(Labels(["system", "atom"], [[0, 4], [0, 5]])._repr_html_())
    assert html == (
        "<div><b>Labels: 2 entries, 2 dimensions, 16 B</b><table><tr><th>system</th><th>atom</th></tr>"
        "<tr><td>0</td><td>4</td></tr><tr><td>0</td><td>5</td></tr></table></div>"
    )


def test_html_of_an_entry() -> None:
    html = plain(LabelsEntry(["system", "atom"], [0, 4])._repr_html_())
    assert "<b>LabelsEntry</b>" in html
    assert "<tr><th>system</th><th>atom</th></tr><tr><td>0</td><td>4</td></tr></table>" in html


def test_html_shows_first_and_last_rows() -> None:
    html = plain(Labels.range("n", 1_000_000)._repr_html_())
    assert "Labels: 1,000,000 entries, 1 dimension, 3.81 MiB" in html
    assert html.count("<tr>") == 1 + 10 + 1
    assert "<td>4</td></tr><tr><td>…</td></tr>" in html
    assert "<tr><td>999999</td></tr></table>" in html
    assert "<tr><td colspan='2'>…</td></tr>" in plain(
        Labels(["a", "b"], np.arange(40).reshape(20, 2))._repr_html_()
    )


def test_html_of_one_and_of_none() -> None:
    assert "Labels: 1 entry, 1 dimension, 4 B" in Labels.single()._repr_html_()
    assert "Labels: 0 entries, 0 dimensions, 0 B" in Labels([], np.empty((0, 0), int))._repr_html_()


def test_html_escapes_names() -> None:
    values = np.zeros((1, 1), dtype=np.int32)
    assert "&lt;script&gt;" in display.labels_html(["<script>"], 1, values, None)
