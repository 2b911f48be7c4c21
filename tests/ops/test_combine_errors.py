"""Errors of joins: what was called, what was found, what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, NotEqualError, TensorMap, ValidationError
from outgrad.testing import Parameter, random_block
from tests.ops.cases_combine import (
    later_systems,
    other_keys,
    other_properties,
    relabelled,
    renamed_properties,
)
from tests.support.operands import KEYS, operand

A, B = operand(0), operand(1)
BLOCK = A.block(0)


def test_types() -> None:
    with pytest.raises(TypeError, match="join: tensors must be a list or a tuple, got TensorMap"):
        og.join(A, "samples")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="join: tensors must be a list or a tuple, got generator"):
        og.join((map for map in (A, B)), "samples")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"join: tensors\[1\] must be a TensorMap, got TensorBlock"):
        og.join([A, BLOCK], "samples")  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"join_blocks: blocks\[0\] must be a TensorBlock, got TensorMap"):
        og.join_blocks([A], "samples")  # type: ignore[list-item]
    with pytest.raises(TypeError, match="join: add_dimension must be a str, got int"):
        og.join([A, B], "samples", add_dimension=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("match", "arguments", "settings"),
    [
        ("join: tensors is empty; provide at least one `TensorMap`", ([], "samples"), {}),
        (r"join: axis must be one of \['samples', 'properties', 'keys'\], got 'rows'", ([A], "rows"), {}),
        (
            r"join: different_keys must be one of \['error', 'intersection', 'union'\], got 'outer'",
            ([A, A], "samples"),
            {"different_keys": "outer"},
        ),
        (
            "join: different_keys='union' applies to samples and properties only; leave it out",
            ([A, A], "keys"),
            {"different_keys": "union"},
        ),
        (
            r"join: the joined samples must be unique, found \(system=0, atom=0\) in tensors\[0\] and "
            r"tensors\[2\]; use add_dimension='…' to distinguish them",
            ([A, later_systems(B), B], "samples"),
            {},
        ),
        (
            r"the joined properties must be unique, found \(n=0, l=0\) in tensors\[0\] and tensors\[1\]",
            ([A, B], "properties"),
            {},
        ),
        (
            r"join: the joined keys must be unique, found \(center_type=6\) in tensors\[0\] and tensors\[1\]",
            ([A, B], "keys"),
            {},
        ),
        (
            r"add_dimension='atom' is already one of the dimensions of the samples, \['system', 'atom'\]",
            ([A, B], "samples"),
            {"add_dimension": "atom"},
        ),
        (
            r"add_dimension='x' is not possible when the tensors have different property names, "
            r"\['n', 'l'\] and \['radial', 'l'\]",
            ([A, renamed_properties(B)], "properties"),
            {"add_dimension": "x"},
        ),
        (
            r"the tensors have different sample names, \['system', 'atom'\] and \['system', 'n'\], and",
            ([A, relabelled(B, lambda m: replace(m, samples=m.samples.rename("atom", "n")))], "samples"),
            {},
        ),
    ],
)
def test_arguments(match: str, arguments: Any, settings: Any) -> None:
    with pytest.raises(ValidationError, match=match):
        og.join(*arguments, **settings)


def test_arguments_of_join_blocks() -> None:
    with pytest.raises(ValidationError, match="join_blocks: blocks is empty; provide at least one `TensorBl"):
        og.join_blocks([], "samples")
    with pytest.raises(ValidationError, match=r"axis must be one of \['samples', 'properties'\], got 'keys'"):
        og.join_blocks([BLOCK], "keys")
    with pytest.raises(ValidationError, match=r"found \(system=0, atom=0\) in blocks\[0\] and blocks\[1\]"):
        og.join_blocks([BLOCK, BLOCK], "samples")
    with pytest.raises(NotEqualError, match=r"'join_blocks' should have the same samples.*blocks\[1\] found"):
        og.join_blocks([BLOCK, later_systems(B).block(0)], "properties")


def test_labels_must_be_the_same() -> None:
    match = r"inputs to 'join' should have the same properties.* in block 0 of tensors\[1\] found"
    with pytest.raises(NotEqualError, match=match):
        og.join([A, other_properties(B)], "samples")
    with pytest.raises(NotEqualError, match=r"'join' should have the same samples.* in block 0 of tensors"):
        og.join([A, later_systems(other_properties(B))], "properties")
    with pytest.raises(NotEqualError, match="inputs to 'join' should have the same keys"):
        og.join([A, other_keys(B)], "samples")
    renamed = TensorMap(KEYS.rename("center_type", "type"), B.blocks())
    for different_keys in ("error", "intersection", "union"):
        with pytest.raises(NotEqualError, match="inputs to 'join' should have the same key"):
            og.join([A, renamed], "samples", different_keys)
    with pytest.raises(NotEqualError, match=r"same key names; found \['center_type'\] and \['type'\]"):
        og.join([A, renamed], "keys")


def test_gradients_must_be_the_same() -> None:
    fewer = og.remove_gradients(later_systems(B), "cell")
    with pytest.raises(NotEqualError, match="should have the same gradient"):
        og.join([A, fewer], "samples")
    with pytest.raises(NotEqualError, match=r"same gradients; found .* and \['positions', 'strain'\]"):
        og.join([A, other_keys(fewer)], "keys")
    with pytest.raises(NotEqualError, match=r"same gradients; found .* and \['positions', 'strain'\]"):
        og.join([A, other_keys(fewer)], "samples", "union")
    renamed = random_block(
        np.random.default_rng(0),
        Labels(["system", "atom"], [[50, 0]]),
        BLOCK.components,
        BLOCK.properties,
        {"cell": Parameter()},
        targets=Labels("target", [[0]]),
        sparsity=1,
    )
    one = og.remove_gradients(BLOCK, ["positions", "strain"])
    with pytest.raises(NotEqualError, match=r"gradient 'cell' of blocks\[1\]"):
        og.join_blocks([one, renamed], "samples")


def test_names_of_a_union_must_be_the_same() -> None:
    apart = TensorMap(Labels("center_type", [[100]]), [og.block_from_array(np.ones((2, 2)))])
    with pytest.raises(ValidationError, match="have different sample names"):
        og.join([A, apart], "samples", "union")
    with pytest.raises(NotEqualError, match="inputs to 'join' should have the same sample names; found"):
        og.join([A, apart], "properties", "union")
    with pytest.raises(NotEqualError, match="inputs to 'join' should have the same sample names; found"):
        og.join([A, apart], "keys")
