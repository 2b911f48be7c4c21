"""What the tests of labels share: a source that counts what is read from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from outgrad.labels.labels import Labels


@dataclass
class CountingSource:
    """Holds a table and remembers which rows were asked for."""

    table: npt.NDArray[np.integer]
    reads: list[tuple[int, int]] = field(default_factory=list)

    def read(self, start: int, stop: int) -> npt.NDArray[np.integer]:
        self.reads.append((start, stop))
        return self.table[start:stop]


@pytest.fixture
def labels() -> Labels:
    return Labels(["system", "atom"], [[0, 4], [0, 5], [1, 4]])


@pytest.fixture
def source(labels: Labels) -> CountingSource:
    return CountingSource(labels.values)


@pytest.fixture
def sourced(labels: Labels, source: CountingSource) -> Labels:
    return Labels.from_source(labels.names, len(labels), labels.digest, source)
