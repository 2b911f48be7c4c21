"""Print forms: those of the tutorial, to the character; and HTML with sizes and chunks."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, random_block
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, operand

RADIAL_KEYS = Labels(["center_type", "neighbor_type"], [[6, 6], [6, 8], [7, 7], [8, 6], [8, 8]])
SPHERICAL_KEYS = Labels(
    ["o3_lambda", "o3_sigma", "center_type", "neighbor_type"],
    [[o3_lambda, 1, *types] for types in ([6, 6], [6, 8], [8, 6], [8, 8]) for o3_lambda in range(3)],
)

RADIAL_MAP = """\
TensorMap with 5 blocks
keys: center_type  neighbor_type
           6             6
           6             8
           7             7
           8             6
           8             8"""

SPHERICAL_MAP = """\
TensorMap with 12 blocks
keys: o3_lambda  o3_sigma  center_type  neighbor_type
          0         1           6             6
          1         1           6             6
          2         1           6             6
          0         1           6             8
          1         1           6             8
          2         1           6             8
          0         1           8             6
          1         1           8             6
          2         1           8             6
          0         1           8             8
          1         1           8             8
          2         1           8             8"""

RADIAL_BLOCK = """\
TensorBlock
    samples (2): ['system', 'atom']
    components (): []
    properties (3): ['n']
    gradients: ['positions']"""

RADIAL_GRADIENT = """\
Gradient TensorBlock ('positions')
    samples (4): ['sample', 'system', 'atom']
    components (3): ['xyz']
    properties (3): ['n']
    gradients: None"""

SPHERICAL_GRADIENT = """\
Gradient TensorBlock ('positions')
    samples (1): ['sample', 'system', 'atom']
    components (3, 5): ['xyz', 'o3_mu']
    properties (5): ['n']
    gradients: None"""

RADIAL_SAMPLES = """\
Labels(
    sample  system  atom
      0       0      4
      0       0      5
      1       0      4
      1       0      5
)"""

XYZ = """\
[Labels(
    xyz
     0
     1
     2
)]"""

MU = """\
Labels(
    o3_mu
     -2
     -1
       ...
      1
      2
)"""


def radial_block() -> TensorBlock:
    properties = Labels.range("n", 3)
    block = TensorBlock(np.ones((2, 3)), Labels(["system", "atom"], [[0, 4], [0, 5]]), [], properties)
    rows = Labels(["sample", "system", "atom"], [[0, 0, 4], [0, 0, 5], [1, 0, 4], [1, 0, 5]])
    xyz = Labels.range("xyz", 3)
    block.add_gradient("positions", TensorBlock(np.ones((4, 3, 3)), rows, [xyz], properties))
    return block


def spherical_block() -> TensorBlock:
    properties, mu = Labels.range("n", 5), Labels("o3_mu", np.arange(-2, 3)[:, None])
    block = TensorBlock(np.ones((1, 5, 5)), Labels(["system", "atom"], [[0, 0]]), [mu], properties)
    rows = Labels(["sample", "system", "atom"], [[0, 0, 0]])
    xyz = Labels.range("xyz", 3)
    block.add_gradient("positions", TensorBlock(np.ones((1, 3, 5, 5)), rows, [xyz, mu], properties))
    return block


def shown(tensor: Any) -> str:
    """What ``print`` and the prompt show; lazy data are shown alike, and without computing."""
    lazy = tensor.chunk(1)
    with nothing_computed():
        assert str(lazy) == str(tensor)
    assert repr(tensor) == str(tensor)
    return str(tensor)


def test_maps_of_the_tutorial() -> None:
    assert shown(TensorMap(RADIAL_KEYS, [radial_block()] * 5)) == RADIAL_MAP
    assert shown(TensorMap(SPHERICAL_KEYS, [spherical_block()] * 12)) == SPHERICAL_MAP


def test_blocks_of_the_tutorial() -> None:
    assert shown(radial_block()) == RADIAL_BLOCK
    assert shown(TensorMap(RADIAL_KEYS, [radial_block()] * 5).block(center_type=7)) == RADIAL_BLOCK
    assert str(radial_block().gradient("positions")) == RADIAL_GRADIENT
    assert str(radial_block().chunk(1).gradient("positions")) == RADIAL_GRADIENT
    assert str(spherical_block().gradient("positions")) == SPHERICAL_GRADIENT


def test_labels_of_the_tutorial() -> None:
    gradient = radial_block().gradient("positions")
    assert str(gradient.samples) == RADIAL_SAMPLES
    assert str(gradient.components) == XYZ
    assert str(spherical_block().components[0]) == MU
    assert str(gradient.samples["sample"]) == "[0 0 1 1]"


def test_squares_print_like_their_operand() -> None:
    map = TensorMap(RADIAL_KEYS, [radial_block()] * 5)
    assert str(map * map) == RADIAL_MAP
    assert str((map * map).block(2)) == RADIAL_BLOCK


def test_one_block_and_none() -> None:
    block = og.block_from_array(np.ones((1, 1)))
    assert str(TensorMap(Labels.single(), [block])) == "TensorMap with 1 block\nkeys: _\n      0"
    assert str(TensorMap(Labels.empty("key"), [])) == "TensorMap with 0 blocks\nkeys: key"


def test_many_keys_are_elided() -> None:
    map = TensorMap(Labels.range("key", 100), [og.block_from_array(np.ones((1, 1)))] * 100)
    lines = str(map).splitlines()
    assert lines[0] == "TensorMap with 100 blocks"
    assert len(lines) == 2 + 20 + 1
    assert lines[12].strip() == "..."
    assert lines[-1].strip() == "99"
    assert len(map.print().splitlines()) == 102
    assert [line.strip() for line in map.print(4).splitlines()[2:]] == ["0", "1", "...", "98", "99"]


def test_gradients_of_gradients_show_their_path() -> None:
    parameters = {"x": Parameter((3,), {"cell": Parameter()})}
    n = Labels.range("n", 2)
    block = random_block(np.random.default_rng(0), Labels.range("s", 2), [], n, parameters, sparsity=1)
    assert str(block.gradient("x")).splitlines()[0] == "Gradient TensorBlock ('x')"
    assert "gradients: ['cell']" in str(block.gradient("x"))
    assert str(block.gradient("x").gradient("cell")).splitlines()[0] == "Gradient TensorBlock ('x/cell')"


# ---- HTML ----
class Text(HTMLParser):
    """The cells of the tables, and whether all elements are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(html)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.cells)


@pytest.mark.parametrize("chunked", [False, True])
def test_html_of_a_block(chunked: bool) -> None:
    block = radial_block().chunk(200) if chunked else radial_block()
    with nothing_computed():
        text = Text(block._repr_html_()).text
    assert "TensorBlock" in text
    assert "2 × system, atom" in text
    assert "(2, 3) float64" in text
    assert "336 B" in text  # (2 · 3 + 4 · 3 · 3) · 8
    assert "positions" in text
    assert "(4, 3, 3)" in text
    assert ("2 chunks" in text) == chunked
    assert ("NumPy" in text) != chunked


def test_html_of_a_gradient() -> None:
    text = Text(spherical_block().gradient("positions")._repr_html_()).text
    assert re.search(r"Gradient TensorBlock \('positions'\)", text)
    assert "5 × o3_mu" in text
    assert "600 B" in text


@pytest.mark.parametrize("chunked", [False, True])
def test_html_of_a_map(chunked: bool) -> None:
    map = operand(0, sparsity=1.0)
    map.set_info("author", "<A & B>")
    shown = cut_at(map, ACROSS_SYSTEMS) if chunked else map
    with nothing_computed():
        html = shown._repr_html_()
    text = Text(html).text
    assert "TensorMap with 3 blocks" in text
    assert "center_type" in text
    assert "(7, 3, 4)" in text
    assert "<A & B>" in text
    assert "<A & B>" not in html
    assert ("chunks" in text and "1 to 3" in text and "Dask" in text) == chunked
    assert ("NumPy" in text) != chunked


def test_html_of_many_blocks_is_short() -> None:
    map = TensorMap(Labels.range("key", 1000), [og.block_from_array(np.ones((1, 1)))] * 1000)
    html = map._repr_html_()
    assert "980 more blocks" in Text(html).text
    assert len(html) < 20_000
    assert Text(TensorMap(Labels.empty("key"), [])._repr_html_()).text.startswith("TensorMap with 0 blocks")


def test_names_are_escaped() -> None:
    block = radial_block()
    block.add_gradient("<b>", block.gradient("positions"))
    assert "<b>" not in block._repr_html_().replace("<b>TensorBlock</b>", "")
    assert "&lt;b&gt;" in block.gradient("<b>")._repr_html_()
