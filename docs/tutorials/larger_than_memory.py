"""
Larger than memory
==================

From a metatensor file to an archive, through two operations, to results on disk: here on five molecules, so
that it takes a second. Nothing in it changes when the input is larger than memory, except the numbers.
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
# reads the labels, and no values.

rho = og.open(DATA / "molecules-power-spectrum.mts")
print(rho)
print(f"{rho.nbytes:,} bytes of values and gradients")

# %%
# An archive is a Zarr group: the same arrays, compressed, with checksums, and cut into pieces that can
# be read and written independently. :func:`outgrad.save` streams the file into it, so this step needs
# no more memory than the others. ``outgrad convert molecules-power-spectrum.mts soap.zarr`` is the same
# on the command line.

og.save(FOLDER / "soap.zarr", rho)
rho = og.open(FOLDER / "soap.zarr")
rho

# %%
# Chunks
# ------
#
# Only samples are cut. A chunk holds whole samples with all their gradient rows, of all gradients, and
# if it can, whole systems. Its size is given in bytes of values and gradients together; the default is
# 32 MiB, more than all of this example. Several small blocks share one task: here a single task would
# read all of them. To see more than that, ask for chunks of 8 kB:

rho = rho.chunk(target_bytes="8 kB")
rho.block(0)

# %%
# The chunks of the values are seen by Dask, too; the gradient is cut where the samples are:

block = rho.block(0)
print("samples in each chunk:       ", block.values.chunks[0])
print("gradient rows in each chunk: ", block.gradient("positions").values.chunks[0])

# %%
# Operations
# ----------
#
# Operations on lazy maps check their arguments, work out the labels of the result, and describe the
# tasks. No values are read yet.

h = og.multiply(rho, rho)
total = og.sum_over_samples(h, "atom")

# %%
# The sum over the atoms leaves one sample for each system. Gradient rows are summed where they have the
# same labels: those with respect to the position of the same atom.

print(h.block(0).gradient("positions").samples)
print(total.block(0).gradient("positions").samples)

# %%
# Computing and saving
# --------------------
#
# :func:`outgrad.save_all` computes what its outputs have in common once. Each task reads its chunk,
# computes values and gradients, and writes its result; then it forgets all of it. The outputs become
# visible when they are whole: a job that fails leaves nothing behind, and with ``overwrite=True`` what
# was there before stays until then.
#
# Without a client, tasks run on threads of this process. With one, they run where its workers are; on a
# cluster, these must see the same files. This one is small and lives in this process:

with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"):
    og.save_all({FOLDER / "squared.zarr": h, FOLDER / "total.mts": total})

print(sorted(path.name for path in FOLDER.iterdir()))

# %%
# A client with processes, as ``Client(n_workers=2, threads_per_worker=1, memory_limit="1 GiB")``,
# belongs into ``if __name__ == "__main__":`` in a script. ``outgrad run`` starts one by itself: see
# :doc:`/run` for the same computation as a file.
#
# Looking at the result
# ---------------------
#
# :func:`outgrad.verify` reads everything and compares it with its checksums; it returns what is
# damaged.

print(og.verify(FOLDER / "squared.zarr"))

# %%
# The results are ordinary maps. The sums are small and can be loaded:

result = og.load(FOLDER / "total.mts")
print(result.block(0))
print(result.block(0).values[:, 0])

# %%
# The whole computation in memory gives the same:

small = og.load(DATA / "molecules-power-spectrum.mts")
print(og.allclose(og.open(FOLDER / "squared.zarr"), small * small))
print(og.allclose(result, og.sum_over_samples(small * small, "atom")))
