"""Hypothesis strategies for labels, blocks and maps.

They need the optional package hypothesis (``pip install hypothesis``), which is why no other module imports
this one. Structure is drawn by hypothesis and shrinks; the numbers come from a seed that it draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from outgrad.labels.labels import Labels
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.testing.random_blocks import Order, Parameter, random_block

Draw = st.DrawFn
Parameters = Mapping[str, Parameter]

NAMES = ("system", "atom", "center_type", "neighbor_type", "n", "l")
FLAT: Parameters = {"cell": Parameter(), "positions": Parameter((3,)), "strain": Parameter((3, 3))}
NESTED: Parameters = {
    "cell": Parameter((), {"positions": Parameter((3,))}),
    "positions": Parameter((3,), {"cell": Parameter(), "positions": Parameter((3,))}),
    "strain": Parameter((3, 3)),
}
DTYPES = ("float64", "float32", "complex128", "int64", "int32", "bool")
SPARSITIES = (0.0, 0.3, 1.0)
SORTED: tuple[Order, ...] = ("sorted", "samples")


@st.composite
def labels(
    draw: Draw,
    /,
    names: Sequence[str] | None = None,
    *,
    min_size: int = 0,
    max_size: int = 6,
    low: int = -2,
    high: int = 5,
) -> Labels:
    """Draw labels, not sorted.

    Parameters
    ----------
    names : sequence of str, optional
        Dimensions; by default one to three are drawn.
    min_size, max_size : int
        Number of entries.
    low, high : int
        Range of the values.

    Returns
    -------
    SearchStrategy of Labels
        Labels with unique entries.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5)
    ... @given(labels(["system", "atom"]))
    ... def test_union(labels):
    ...     assert labels.union(labels) == labels
    >>> test_union()
    """
    if names is None:
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    wanted = [names] if isinstance(names, str) else list(names)
    row = st.tuples(*[st.integers(low, high)] * len(wanted))
    rows = draw(st.lists(row, min_size=min_size, max_size=max_size, unique=True))
    return Labels(wanted, np.array(rows, np.int32).reshape(-1, len(wanted)))


@st.composite
def blocks(
    draw: Draw,
    /,
    *,
    sample_names: Sequence[str] = ("system", "atom"),
    component_names: Sequence[str] | None = None,
    parameters: Parameters | None = None,
    nested: bool = False,
    dtype: npt.DTypeLike = "float64",
    max_samples: int = 6,
    order: Order | None = None,
    components: Sequence[Labels] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """Draw a block in memory, which may be empty, with gradients whose rows are sparse.

    Parameters
    ----------
    sample_names : sequence of str
        Dimensions of the samples.
    component_names : sequence of str, optional
        Names of the middle axes; by default none to two.
    parameters : mapping of str to Parameter, optional
        Gradients; by default some of those with components of shape (), (3,) and (3, 3).
    nested : bool
        Whether gradients that are drawn have gradients.
    dtype : dtype
        Of values and gradients.
    max_samples : int
        Largest number of samples.
    order : {"sorted", "samples", "any"}, optional
        Order of the gradient rows, as in :func:`random_block`; by default one of the first two.
    components, properties : Labels, optional
        By default they are drawn.

    Returns
    -------
    SearchStrategy of TensorBlock
        Blocks.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5)
    ... @given(blocks())
    ... def test_doubling(block):
    ...     assert block + block == 2 * block
    >>> test_doubling()
    """
    if component_names is None:
        component_names = ("m1", "m2")[: draw(st.integers(0, 2))]
    if parameters is None:
        parameters = draw(_parameter_sets(nested))
    return random_block(
        np.random.default_rng(draw(st.integers(0, 2**32 - 1))),
        draw(labels(sample_names, max_size=max_samples)),
        draw(_component_lists(component_names)) if components is None else list(components),
        draw(labels(("n",), max_size=4)) if properties is None else properties,
        parameters,
        sparsity=draw(st.sampled_from(SPARSITIES)),
        dtype=dtype,
        order=draw(st.sampled_from(SORTED)) if order is None else order,
    )


@st.composite
def _component_lists(draw: Draw, names: Sequence[str]) -> list[Labels]:
    return [Labels.range(name, draw(st.integers(1, 3))) for name in names]


def _parameter_sets(nested: bool) -> st.SearchStrategy[Parameters]:
    known = NESTED if nested else FLAT
    names = st.lists(st.sampled_from(sorted(known)), unique=True, max_size=3)
    return names.map(lambda chosen: {name: _closed(known[name], chosen) for name in chosen})


def _closed(parameter: Parameter, chosen: Sequence[str]) -> Parameter:
    """Leave gradients by parameters that the values have too, which nonlinear operations need."""
    below = {name: gradient for name, gradient in parameter.gradients.items() if name in chosen}
    return Parameter(parameter.shape, below)


@st.composite
def tensor_maps(
    draw: Draw,
    /,
    *,
    max_blocks: int = 3,
    key_names: Sequence[str] = ("center_type",),
    uniform: bool = False,
    nested: bool = False,
    dtype: npt.DTypeLike | None = "float64",
    **settings: Any,
) -> TensorMap:
    """Draw a map in memory of one or more blocks, any of which may be empty.

    Parameters
    ----------
    max_blocks : int
        Largest number of blocks.
    key_names : sequence of str
        Dimensions of the keys.
    uniform : bool
        Whether all blocks have the same components and properties, so that keys can be moved.
    nested : bool
        Whether gradients may have gradients.
    dtype : dtype, optional
        Of all values and gradients; None draws one.
    **settings
        Further settings of :func:`blocks`.

    Returns
    -------
    SearchStrategy of TensorMap
        Maps.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5)
    ... @given(tensor_maps())
    ... def test_chunks(map):
    ...     assert map.chunk(target_bytes=100).compute() == map
    >>> test_chunks()
    """
    keys = draw(labels(key_names, min_size=1, max_size=max_blocks))
    shared = {
        "dtype": draw(st.sampled_from(DTYPES)) if dtype is None else dtype,
        "parameters": draw(_parameter_sets(nested)),
        "component_names": ("m1", "m2")[: draw(st.integers(0, 2))],
        **settings,
    }
    if uniform:
        shared["components"] = draw(_component_lists(shared["component_names"]))
        shared["properties"] = draw(labels(("n",), max_size=4))
    return TensorMap(keys, [draw(blocks(**shared)) for _ in range(len(keys))])
