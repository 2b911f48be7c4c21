"""Whatever is written is read, by us and by metatensor, and whatever metatensor writes is read: odd maps."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import outgrad as og
from outgrad.storage.mts.npy import ELEMENT_TYPES
from outgrad.testing import assert_identical

metatensor = pytest.importorskip("metatensor")

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # such maps are small, and slow to shrink
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
PARAMETER = TEXT.map(lambda text: text.replace("/", "")) | st.sampled_from(
    ["..", "σ", "values", "samples.npy", "gradients", "x" * 3000]
)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
NAMES = st.lists(NAME.filter(lambda name: name not in ("sample",)), min_size=1, max_size=4, unique=True)
INFO = st.dictionaries(TEXT.filter(bool), TEXT | st.just("long " * 5000), max_size=3)
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def tables(draw: Callable[..., Any], names: list[str], rows: int) -> og.Labels:
    """Labels of some rows that differ; the first dimension may be given."""
    values = draw(st.lists(st.tuples(*[INT32] * len(names)), min_size=rows, max_size=rows, unique=True))
    return og.Labels(names, np.array(values, dtype=np.int32).reshape(rows, len(names)))


@st.composite
def arrays(draw: Callable[..., Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    count = int(np.prod(shape))
    raw = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), dtype="u1")
    return (raw % 2 if dtype.kind == "b" else raw % 100).astype(dtype).reshape(shape)


@st.composite
def trees(draw: Callable[..., Any], depth: int = 2) -> dict[Any, Any]:
    """What gradients all blocks of a map have: whether each has a component of its own, and those below."""
    parameters = draw(st.lists(PARAMETER, max_size=2, unique=True)) if depth else []
    return {parameter: (draw(st.booleans()), draw(trees(depth - 1))) for parameter in parameters}


@st.composite
def blocks(
    draw: Callable[..., Any], names: tuple[list[Any], ...], tree: dict[Any, Any], dtype: np.dtype[Any]
) -> og.TensorBlock:
    sample_names, component_names, property_names = names
    samples = draw(tables(sample_names, draw(st.integers(0, 4))))
    components = [draw(tables([name], draw(st.integers(1, 3)))) for name in component_names]
    properties = draw(tables(property_names, draw(st.integers(0, 3))))
    return draw(filled(samples, components, properties, tree, dtype))


@st.composite
def filled(
    draw: Callable[..., Any],
    samples: og.Labels,
    components: list[Any],
    properties: og.Labels,
    tree: dict[Any, Any],
    dtype: np.dtype[Any],
) -> og.TensorBlock:
    shape = (len(samples), *map(len, components), len(properties))
    block = og.TensorBlock(draw(arrays(shape, dtype)), samples, components, properties)
    for parameter, (has_own, deeper) in tree.items():
        count = draw(st.integers(0, 3)) if len(samples) else 0
        row = st.integers(0, max(0, len(samples) - 1))
        rows = draw(st.lists(st.tuples(row, INT32), min_size=count, max_size=count, unique=True))
        below = og.Labels(["sample", "k"], np.array(rows, dtype=np.int32).reshape(count, 2))
        own = [og.Labels([f"own_{len(components)}"], [[3], [-1]])] if has_own else []
        block.add_gradient(parameter, draw(filled(below, own + components, properties, deeper, dtype)))
    return block


@st.composite
def maps(draw: Callable[..., Any]) -> og.TensorMap:
    dtype = np.dtype(draw(st.sampled_from(ELEMENT_TYPES)))
    component_names = draw(st.lists(NAME, max_size=2, unique=True))
    free = NAMES.map(lambda names: [name for name in names if name not in (*component_names, "k")])
    sample_names, property_names = draw(free.filter(bool)), draw(free.filter(bool))
    property_names = [name for name in property_names if name not in sample_names] or ["p_"]
    names, tree = (sample_names, component_names, property_names), draw(trees())
    count = draw(st.integers(0, 3))
    keys = draw(tables(draw(NAMES), count))
    made = og.TensorMap(keys, [draw(blocks(names, tree, dtype)) for _ in range(count)])
    for key, value in draw(INFO).items():
        made.set_info(key, value)
    return made


def foreign(block: og.TensorBlock) -> og.TensorBlock:
    """The same block with values as they come from elsewhere: big-endian, in Fortran order."""
    values = np.asfortranarray(block.values.astype(block.values.dtype.newbyteorder(">")))
    made = og.TensorBlock(values, block.samples, block.components, block.properties)
    for parameter, gradient in block.gradients():
        made.add_gradient(parameter, foreign(gradient))
    return made


def again(path: Path, target: Path, method: int) -> None:
    """Copy the members to another ZIP file."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", method) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))


def from_theirs(path: Path) -> Any:
    return og.from_metatensor(metatensor.load(str(path)))


@SETTINGS
@given(maps(), st.sampled_from(["8 MiB", 64]))
@pytest.mark.filterwarnings("ignore:the rows of gradient")
def test_what_is_written_is_read(tmp_path: Path, made: og.TensorMap, target: int | str) -> None:
    ours, theirs, deflated = (tmp_path / f"{name}.mts" for name in ("ours", "theirs", "deflated"))
    odd = og.TensorMap(made.keys, [foreign(block) for block in made.blocks()])
    for key, value in made.info().items():
        odd.set_info(key, value)
    og.save(ours, odd, overwrite=True)
    assert_identical(og.load(ours), made)
    assert_identical(og.open(ours, target_bytes=target).compute(), made)
    assert og.verify(ours) == []
    assert_identical(og.io.load_buffer(og.io.save_buffer(made)), made)
    stream = io.BytesIO()
    og.save(stream, made)
    assert_identical(og.load(io.BytesIO(stream.getvalue())), made)
    again(ours, deflated, zipfile.ZIP_DEFLATED)
    assert_identical(og.load(deflated), made)
    read = metatensor.load(str(ours))
    assert same_content(og.from_metatensor(read), made)
    metatensor.save(str(theirs), read)
    assert same_content(og.load(theirs), made)
    assert og.verify(theirs) == []


def same_content(a: og.TensorMap, b: og.TensorMap) -> bool:
    """Compare what differs in the order of gradients, of which metatensor keeps none."""
    if a.info() != b.info() or a.keys != b.keys:
        return False
    return all(same_block(x, y) for x, y in zip(a.blocks(), b.blocks(), strict=True))


def same_block(a: og.TensorBlock, b: og.TensorBlock) -> bool:
    if set(a.gradients_list()) != set(b.gradients_list()) or a.dtype != b.dtype:
        return False
    if (a.samples, a.components, a.properties) != (b.samples, b.components, b.properties):
        return False
    return np.array_equal(a.values, b.values) and all(
        same_block(a.gradient(name), b.gradient(name)) for name in a.gradients_list()
    )


@SETTINGS
@given(st.data(), st.integers(0, 5))
def test_labels_that_are_written_are_read(tmp_path: Path, data: st.DataObject, rows: int) -> None:
    made = data.draw(tables(data.draw(NAMES), rows))
    path = tmp_path / "labels.mts"
    og.save(path, made, overwrite=True)
    assert og.load_labels(path) == made
    assert og.from_metatensor(metatensor.load_labels(str(path))) == made
    metatensor.save(str(path), metatensor.load_labels(str(path)))
    assert og.load_labels(path) == made
    assert og.verify(path) == []
