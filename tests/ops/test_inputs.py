"""Operations leave their operands alone."""

from __future__ import annotations

import pytest

from outgrad import TensorMap
from outgrad.testing import assert_identical
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS, CLOSED


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


@pytest.mark.parametrize("case", ALL)
def test_operands_are_untouched(case: Case) -> None:
    maps = operands(case, order="samples", parameters=CLOSED)
    before = [bytes_of(map) for map in maps]
    for given in (maps, [cut_at(map, ACROSS_SYSTEMS) for map in maps]):
        case.call(*given).compute()
        assert [bytes_of(map) for map in maps] == before
    for map, same in zip(maps, operands(case, order="samples", parameters=CLOSED), strict=True):
        assert_identical(map, same)


@pytest.mark.parametrize("case", ALL)
def test_keys_and_info_are_those_of_the_first(case: Case) -> None:
    maps = operands(case)
    result = case.call(*maps)
    assert case.whole or result.keys == maps[0].keys
    added = {name: result.get_info(name) for name in case.exceptions.adds_info}
    assert all(added.values())
    assert result.info() == {"source": "seed 0"} | added
    result.set_info("source", "changed")
    assert maps[0].get_info("source") == "seed 0"
