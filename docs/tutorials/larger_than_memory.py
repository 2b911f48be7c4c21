"""
Larger than memory
==================

This tutorial converts a metatensor file to an archive, applies two operations, and writes the results to
disk. It uses five molecules and runs in a second. Data larger than memory only need larger chunks.
"""

import tempfile
from pathlib import Path

from distributed import Client

import outgrad as og

DATA = Path("../../examples/data")  # from docs/tutorials, where this script is
FOLDER = Path(tempfile.mkdtemp())

# %%
# From ``.mts`` to an archive
# ---------------------------
#
# The input is a SOAP power spectrum with gradients with respect to positions and strain. Opening it
# reads the labels, but no values.

rho = og.open(DATA / "molecules-power-spectrum.mts")
print(rho)
print(f"{rho.nbytes:,} bytes of values and gradients")

# %%
# An archive is a Zarr group. It holds the same arrays, divided into storage chunks that are compressed,
# have checksums, and can be read and written independently. :func:`outgrad.save` streams the file into
# the archive, so this step needs no more memory than the others. The equivalent on the command line is
# ``outgrad convert molecules-power-spectrum.mts soap.zarr``.

og.save(FOLDER / "soap.zarr", rho)
rho = og.open(FOLDER / "soap.zarr")
rho

# %%
# Chunks
# ------
#
# Only samples are chunked. A chunk holds samples with all their gradient rows, for all gradients, and
# complete systems where possible. The chunk size counts the bytes of values and gradients together. The
# default is 32 MiB, more than this entire example; and since small blocks share a task, a single task
# would read everything. To see several chunks, ask for 8 kB:

rho = rho.chunk(target_bytes="8 kB")
rho.block(0)

# %%
# The chunks are those of the Dask arrays. The gradient is chunked at the same samples as the values:

block = rho.block(0)
print("samples in each chunk:       ", block.values.chunks[0])
print("gradient rows in each chunk: ", block.gradient("positions").values.chunks[0])

# %%
# Operations
# ----------
#
# Operations on lazy maps check their arguments, determine the labels of the result, and build a task
# graph. They do not read values.

h = og.multiply(rho, rho)
total = og.sum_over_samples(h, "atom")

# %%
# The sum over the atoms leaves one sample per system. Gradient rows with the same labels apart from
# ``sample`` are summed: those with respect to the position of the same atom.

print(h.block(0).gradient("positions").samples)
print(total.block(0).gradient("positions").samples)

# %%
# Computing and saving
# --------------------
#
# :func:`outgrad.save_all` computes all outputs together, and shared steps only once. Each task reads its
# chunk, computes values and gradients, writes the result, and frees the memory. The outputs become
# visible when all of them are complete. A job that fails leaves nothing behind, and with
# ``overwrite=True`` the old data stay until the new ones are complete.
#
# Without a client, tasks run on threads of this process. With a client, they run on its workers, which
# must have access to the same files. The client below starts a small cluster in this process:

with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"):
    og.save_all({FOLDER / "squared.zarr": h, FOLDER / "total.mts": total})

print(sorted(path.name for path in FOLDER.iterdir()))

# %%
# In a script, a client with worker processes, such as ``Client(n_workers=2, threads_per_worker=1,
# memory_limit="1 GiB")``, belongs under ``if __name__ == "__main__":``. ``outgrad run`` starts its own
# cluster; :doc:`/run` shows the same computation as a job file.
#
# Checking the result
# -------------------
#
# :func:`outgrad.verify` reads all data, compares them with their checksums, and returns a list of
# problems.

print(og.verify(FOLDER / "squared.zarr"))

# %%
# The results are ordinary maps. The sums are small enough to load:

result = og.load(FOLDER / "total.mts")
print(result.block(0))
print(result.block(0).values[:, 0])

# %%
# The same computation in memory gives the same result:

small = og.load(DATA / "molecules-power-spectrum.mts")
print(og.allclose(og.open(FOLDER / "squared.zarr"), small * small))
print(og.allclose(result, og.sum_over_samples(small * small, "atom")))
