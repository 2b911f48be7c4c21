"""Files that unpack to more than there is: refused before memory is taken; read in pieces they do no harm."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import MemoryLimitError
from outgrad.storage import memory


@pytest.fixture(scope="module")
def unpacking(tmp_path_factory: Any) -> Path:
    """A file of 300 kB whose values take 256 MiB: honestly, and all zeros."""
    path = tmp_path_factory.mktemp("unpacking") / "zeros.npz"
    rows, columns = 1 << 15, 1 << 10
    tables = {
        "keys": np.zeros(1, [("k", "<i4")]),
        "blocks/0/samples": np.arange(rows, dtype="<i4").view([("s", "<i4")]),
        "blocks/0/properties": np.arange(columns, dtype="<i4").view([("p", "<i4")]),
    }
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("blocks/0/values.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(16):
                member.write(bytes(1 << 24))
        for name, table in tables.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, table)
    return path


@pytest.mark.parametrize("free", [0, 1 << 27, (1 << 28) - 1])
def test_what_does_not_fit_is_refused(unpacking: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: free)
    with pytest.raises(
        MemoryLimitError, match=r"load: .*zeros.npz' takes 256.00 MiB of memory, and .* are free"
    ):
        og.load(unpacking)
    with pytest.raises(
        MemoryLimitError, match=r"load_buffer: what the buffer holds takes 256.00 MiB of memory"
    ):
        og.io.load_buffer(unpacking.read_bytes())


CHILD = """
import resource, sys
import dask, psutil
import outgrad as og

limit = psutil.Process().memory_info().vms + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for read in (og.load, lambda path: og.io.load_buffer(open(path, "rb").read())):
    try:
        read(sys.argv[1])
        print("loaded")
    except og.errors.MemoryLimitError as error:
        print("refused")
assert og.verify(sys.argv[1]) == []
with dask.config.set({"scheduler": "synchronous", "outgrad.chunk-bytes": "8 MiB"}):
    print(og.sum_over_samples(og.open(sys.argv[1]), "s").block().values.compute().sum())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_small_process_reads_it_in_pieces(unpacking: Path) -> None:
    """In a process that may take 200 MiB more."""
    command = [sys.executable, "-c", CHILD, str(unpacking)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    *said, grown_kib = found.stdout.split()
    assert said == ["refused", "refused", "0.0"]
    assert int(grown_kib) < 100_000
