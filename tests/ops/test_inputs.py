"""Operations leave their operands alone."""

from __future__ import annotations

from typing import Any

import pytest

from helpers import cut_at
from ops.cases import ALL, Case, operands
from ops.test_chunking import ACROSS_SYSTEMS
from ops.test_nested import CLOSED
from outgrad import TensorMap
from outgrad.testing import assert_identical


def bytes_of(map: TensorMap) -> list[bytes]:
    """Values and labels of a map in memory, at every depth."""
    found = [map.keys.values.tobytes()]
    blocks = map._blocks()
    for number, metadata in enumerate(blocks.metadata):
        for path, below in metadata.walk():
            labels = [below.samples, *below.components, below.properties]
            found += [label.values.tobytes() for label in labels]
            found.append(blocks.chunks[number].at(path).values.tobytes())
    return found


@pytest.mark.parametrize(("nested", "chunked"), [(False, False), (True, True)])
@pytest.mark.parametrize("case", ALL)
def test_operands_are_untouched(case: Case, nested: bool, chunked: bool) -> None:
    settings: dict[str, Any] = {"parameters": CLOSED} if nested else {}
    maps = operands(case, order="samples", **settings)
    before = [bytes_of(map) for map in maps]
    case.call(*([cut_at(map, ACROSS_SYSTEMS) for map in maps] if chunked else maps)).compute()
    assert [bytes_of(map) for map in maps] == before
    for map, same in zip(maps, operands(case, order="samples", **settings), strict=True):
        assert_identical(map, same)


@pytest.mark.parametrize("case", ALL)
def test_keys_and_info_are_those_of_the_first(case: Case) -> None:
    maps = operands(case)
    result = case.call(*maps)
    assert case.whole or result.keys == maps[0].keys
    if "first_and_last" not in case.name and case.operation != "slice":
        assert {name: text for name, text in result.info().items() if name not in case.notes} == {
            "source": "seed 0"
        }
        assert all(result.get_info(name) for name in case.notes)
    result.set_info("source", "changed")
    assert maps[0].get_info("source") == "seed 0"
