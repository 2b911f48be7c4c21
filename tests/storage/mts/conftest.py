"""Files and what is read from them, for the tests of ``.mts`` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from outgrad.storage.mts.reader import OpenedMts, open_mts
from tests.support.mts_files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def same() -> Callable[[OpenedMts, dict[str, np.ndarray]], None]:
    """Compare what was opened with the arrays that were written."""

    def compare(opened: OpenedMts, expected: dict[str, np.ndarray]) -> None:
        found = Files(Path()).arrays(opened)
        for name, array in expected.items():
            if name in found:
                array = array.view("<i4").reshape(found[name].shape) if array.dtype.names else array
                assert found[name].dtype == array.dtype.newbyteorder("="), name
                np.testing.assert_array_equal(found[name], array, err_msg=name)
        values = {name for name in expected if name.endswith("values")}
        assert values == {name for name in found if name.endswith("values")}

    return compare


@pytest.fixture
def reopen(files: Files) -> Callable[..., OpenedMts]:
    """Open, copy through the writer, open the copy."""
    return lambda path, **options: open_mts(files.copy(open_mts(path), **options))
