"""metatensor, for comparisons; what imports this is skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import pytest

import outgrad as og

upstream = pytest.importorskip("metatensor")
pytest.importorskip("metatensor.operations")
interop = pytest.importorskip("outgrad.interop.metatensor")


def agree(ours: og.TensorMap, theirs: Any) -> None:
    assert og.equal_metadata(ours, interop.from_metatensor(theirs))
    assert og.allclose(ours, interop.from_metatensor(theirs), rtol=1e-12, atol=1e-13)


def without_empty_blocks(map: og.TensorMap) -> og.TensorMap:
    """Upstream's reductions refuse or mistreat blocks without samples."""
    return og.TensorMap(og.Labels(map.keys.names, map.keys.values[:2]), map.blocks()[:2])
