"""
An archive through the years
============================

Sets of structures grow: more of them are computed every month, elements are added, files come from
colleagues, and disks fail. This tutorial follows an archive of descriptors and their gradients through all of
this. It makes its own small data and runs in a few seconds; most steps are also commands.
"""

import shutil
import tempfile
import textwrap
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
import zarr

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap

FOLDER = Path(tempfile.mkdtemp())
ARCHIVE = FOLDER / "descriptors.zarr"


def shown(text: object) -> str:
    """A text in lines that fit on the page, without the temporary folder."""
    text = str(text).replace(f"{FOLDER}/", "")
    return textwrap.fill(text, 88, break_long_words=False, break_on_hyphens=False)


# %%
# The data
# --------
#
# The descriptor of an atom is a density of its neighbors of one element, at six distances. Its gradient
# with respect to positions has a row for the atom and one for each neighbor. Any other descriptor, for
# instance of featomic, would do as well.

ATOMS = {
    "water": ([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    "ammonia": (
        [7, 1, 1, 1],
        [[0, 0, 0], [0.94, 0, -0.38], [-0.47, 0.81, -0.38], [-0.47, -0.81, -0.38]],
    ),
}
DISTANCES = np.linspace(0.8, 2.3, 6)


def describe(molecule: str, count: int, seed: int) -> TensorMap:
    """Descriptors of distorted molecules; ``system`` counts them from 0."""
    types, positions = ATOMS[molecule]
    noise = np.random.default_rng(seed).normal(0, 0.05, (count, len(types), 3))
    found = defaultdict(lambda: ([], [], [], []))
    for system, center in np.ndindex(count, len(types)):
        atoms = positions + noise[system]
        for neighbor_type in sorted({*types[:center], *types[center + 1 :]}):
            neighbors = np.flatnonzero(np.equal(types, neighbor_type))
            neighbors = neighbors[neighbors != center]
            vectors = atoms[neighbors] - atoms[center]
            r = np.linalg.norm(vectors, axis=1, keepdims=True)
            density = np.exp(-(((r - DISTANCES) / 0.3) ** 2))
            slope = (density * (DISTANCES - r) / (0.045 * r))[:, None] * vectors[:, :, None]

            values, samples, slopes, rows = found[types[center], neighbor_type]
            rows += [(len(samples), system, atom) for atom in [center, *neighbors]]
            slopes += [-slope.sum(axis=0), *slope]
            samples.append((system, center))
            values.append(density.sum(axis=0))

    properties = Labels.range("n", len(DISTANCES))
    blocks = []
    for values, samples, slopes, rows in found.values():
        samples = Labels(["system", "atom"], np.array(samples))
        rows = Labels(["sample", "system", "atom"], np.array(rows))
        block = TensorBlock(np.array(values), samples, [], properties)
        xyz = Labels.range("xyz", 3)
        gradient = TensorBlock(np.array(slopes), rows, [xyz], properties)
        block.add_gradient("positions", gradient)
        blocks.append(block)
    return TensorMap(Labels(["center_type", "neighbor_type"], np.array([*found])), blocks)


# %%
# The first set
# -------------
#
# :func:`outgrad.save` writes the archive. ``provenance`` is any JSON that says where the data come from.

og.save(ARCHIVE, describe("water", 30, seed=1), provenance={"job": 71})
print(og.open(ARCHIVE))

# %%
# More every month
# ----------------
#
# :func:`outgrad.append` adds samples to the blocks of their keys. Each set counts its systems from 0, so
# ``shift`` numbers them on. A sample that is there already is refused before anything is computed:

more_water = describe("water", 20, seed=2)
try:
    og.append(ARCHIVE, more_water)
except og.ValidationError as error:
    print(shown(error))

# %%

og.append(ARCHIVE, more_water, shift={"system": 30}, provenance={"job": 83})

# %%
# Keys that the archive does not have yet become new blocks:

ammonia = describe("ammonia", 10, seed=3)
og.append(ARCHIVE, ammonia, shift={"system": 50}, provenance={"job": 97})
print(og.open(ARCHIVE))

# %%
# Several processes may append at once. An append that fails changes nothing.
#
# Looking back
# ------------
#
# Each change is a *version*. :func:`outgrad.history` lists them:

print(*og.history(ARCHIVE), sep="\n")

# %%
# On the command line, with the provenance:
#
# .. code-block:: text
#
#    $ outgrad log descriptors.zarr
#    version  made (UTC)           action  samples      added  segments  by       with           provenance
#          3  2026-11-30 17:55:44  append       70  30.00 kiB         3  root@vm  outgrad 0.1.0  {"job": 97}
#          2  2026-11-30 17:55:44  append      100  35.62 kiB         2  root@vm  outgrad 0.1.0  {"job": 83}
#          1  2026-11-30 17:55:44  save        150  53.44 kiB         1  root@vm  outgrad 0.1.0  {"job": 71}
#
# An older version is opened by its number:

print([len(block) for block in og.open(ARCHIVE, version=1).blocks()])
print([len(block) for block in og.open(ARCHIVE).blocks()])

# %%
# :func:`outgrad.restore` makes an older version the newest again. Nothing is copied and nothing is lost,
# so it can be undone in the same way. On the command line it is ``outgrad restore descriptors.zarr 2``.

og.restore(ARCHIVE, 2)
print(len(og.open(ARCHIVE)), "blocks")
og.restore(ARCHIVE, 3)
print(len(og.open(ARCHIVE)), "blocks")

# %%
# Reading a part
# --------------
#
# :func:`outgrad.open` takes the samples, keys and properties to read. Of the rest nothing is read, neither
# now nor later:

hydrogen, systems = Labels("center_type", [[1]]), Labels("system", [[30], [57]])
part = og.open(ARCHIVE, keys=hydrogen, samples=systems)
print(part)
print(part.block(0).samples)

# %%
# Files stay where they are
# -------------------------
#
# A colleague has a folder of ``.mts`` files, whose systems all count from 0. :func:`outgrad.index` makes an
# archive that refers to them: labels are copied, and values are read where they are.

runs = [FOLDER / f"run-{number}.mts" for number in range(3)]
for number, run in enumerate(runs):
    og.save(run, describe("ammonia", 5, seed=10 + number))

og.index(runs, FOLDER / "runs.zarr", renumber="system")
print(og.open(FOLDER / "runs.zarr").block(0).samples)

# %%
# A file that is changed or removed later is an error that names it. On the command line:
#
# .. code-block:: text
#
#    $ outgrad index run-*.mts --output runs.zarr --renumber system
#    runs.zarr: version 1 refers to 3 file(s), with 105 samples
#
# :func:`outgrad.materialize`, or ``outgrad materialize runs.zarr``, copies the values too. Then the files
# can go:

og.materialize(FOLDER / "runs.zarr")
for run in runs:
    run.unlink()
print(og.verify(FOLDER / "runs.zarr"))

# %%
# Tidying up
# ----------
#
# Each save and each append writes a *segment*. :func:`outgrad.compact` puts small ones together, as a new
# version with the same content:

og.compact(ARCHIVE)
versions = og.history(ARCHIVE)

parts = {}
for each in versions:
    before = parts.get(each.version - 1, [])
    if each.action == "restore":
        parts[each.version] = parts[each.provenance["restored"]]
    elif each.action == "compact":
        parts[each.version] = [sum(before)]
    else:
        parts[each.version] = [*before, each.samples]

figure, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
for version, samples in parts.items():
    colors = ["C0", "C1", "C2"] if len(samples) > 1 or version == 1 else ["C4"]
    left = np.cumsum([0, *samples[:-1]])
    axes.barh(version, samples, left=left, color=colors[: len(samples)])
axes.set_xlabel("samples; each color is a segment")
axes.set_yticks([*parts], [f"{each.version}: {each.action}" for each in versions])
axes.invert_yaxis()

# %%
# The versions share segments, so old ones cost little; only ``compact`` has written the data once more.
# Older versions stay until :func:`outgrad.clean` removes them, with the segments that only they have.
# ``dry_run`` lists what would be removed:

for path in og.clean(ARCHIVE, keep=1, dry_run=True):
    print(shown(path))

# %%

og.clean(ARCHIVE, keep=1)
print(*og.history(ARCHIVE), sep="\n")

# %%
# ``older_than="90d"`` goes by age instead. The commands are:
#
# .. code-block:: text
#
#    $ outgrad compact descriptors.zarr
#    descriptors.zarr: version 6 has 1 segment(s)
#    $ outgrad clean descriptors.zarr --keep 1
#    removed …/descriptors.zarr/commits/0000000001.json
#    …
#    $ outgrad clean descriptors.zarr --keep 1
#    descriptors.zarr: nothing to remove
#
# Colleagues with xarray and pandas
# ---------------------------------
#
# A block converts to a Dataset of xarray, lazily, with labels as coordinates:

data = og.open(ARCHIVE).block(center_type=7, neighbor_type=1).to_xarray()
data

# %%

of_system = data["positions.system"] == 57
data["gradient.positions"].isel({"positions.samples": of_system, "properties": 0}).compute()

# %%
# ``to_datatree`` does this for a map, and labels are tables of pandas:

print(*og.open(ARCHIVE).to_datatree().children, sep="\n")
og.open(ARCHIVE).keys.to_pandas()

# %%
# Colleagues without Outgrad
# --------------------------
#
# An archive is plain Zarr. The attributes of its root say what it is and where values are:

root = zarr.open_group(ARCHIVE, mode="r")
about = root.attrs["outgrad"]
print(about["about"])
print(shown(about["names"]))
for each in about["blocks"]:
    print(each["key"], *each["arrays"], sep="\n    ")

# %%
# A block has an array in each segment in which it has samples: here, after ``compact``, in one.

path = about["blocks"][3]["arrays"][0]
print(root[path][:2])

# %%
# Gradients and labels are beside the values:

group = path.removesuffix("/values")
print(root[group].tree())

# %%
# Arrays have names of dimensions, and those of values have attributes that say where their labels are,
# by paths in the segment, since equal labels are stored once. A few lines list them as ``ncdump -h``
# would:

for name, array in sorted(root[group].members(max_depth=None)):
    if isinstance(array, zarr.Array):
        sizes = zip(array.metadata.dimension_names, array.shape, strict=True)
        print(array.dtype, name, [f"{dimension}={size}" for dimension, size in sizes])
        for attribute, value in array.attrs.items():
            print(textwrap.indent(shown(f"{attribute}: {value}"), "    "))

# %%
# xarray knows these names too: blocks and gradients open as Datasets, and a segment as a tree.

xr.open_zarr(ARCHIVE, group=f"{group}/gradients/positions")

# %%

segment = ARCHIVE / path.partition("/blocks/")[0]
tree = xr.open_datatree(segment, engine="zarr")
print(tree["blocks/3/gradients/positions/values"].dims)

# %%
# A disk flips a bit
# ------------------
#
# Last night's backup is a copy of the files. Then one bit of one chunk changes:

shutil.copytree(ARCHIVE, FOLDER / "backup.zarr")

chunk = next((ARCHIVE / group / "gradients" / "positions" / "values").glob("c.*"))
content = bytearray(chunk.read_bytes())
content[len(content) // 2] ^= 1
chunk.write_bytes(content)
print(shown(chunk))

# %%
# Whoever reads this chunk gets an error instead of wrong numbers:

try:
    og.load(ARCHIVE)
except og.errors.ArchiveError as error:
    print(shown(error))

# %%
# :func:`outgrad.verify` reads everything and lists the damage, with the rows and systems that it concerns:

(damage,) = og.verify(ARCHIVE)
print(shown(damage))

# %%
# ``details`` has the same as attributes; rows end before the last number, systems with it:

print(damage.details.array)
print("rows", damage.details.rows, "systems", damage.details.touches[0].systems)

# %%
# :func:`outgrad.repair` takes the chunk from the copy, if it has the checksum that the archive remembers:

(damage,) = og.repair(ARCHIVE, FOLDER / "backup.zarr")
print(damage.details.mended)
print(og.verify(ARCHIVE))

# %%
# The command ``outgrad verify descriptors.zarr`` prints the damage, and exits with 1 if there is any. With a
# copy it mends the archive:
#
# .. code-block:: text
#
#    $ outgrad verify descriptors.zarr --repair-from backup.zarr
#    blocks/3/gradients/positions/values, storage chunk 0, is corrupted: … (needed for …); mended
#    descriptors.zarr: OK, all checksums match, 1 damage(s) mended
#    $ outgrad verify descriptors.zarr
#    descriptors.zarr: OK, all checksums match
#
# In a bucket
# -----------
#
# The functions and commands above take URLs of object stores too, except those that read ``.mts`` files.
# This page is built without a network, so here the bucket is in the memory of the process:

bucket = "memory://group/descriptors.zarr"
og.save(bucket, og.open(ARCHIVE))
og.append(bucket, describe("ammonia", 10, seed=4), shift={"system": 60})
print(*og.history(bucket), sep="\n")

# %%
# A part of an archive is read with a few requests, for the chunks that it is in:

nitrogen, systems = Labels("center_type", [[7]]), Labels("system", [[59], [60]])
part = og.open(bucket, keys=nitrogen, samples=systems)
print(part.block().values[:, :3].compute())
print(og.verify(bucket))

# %%
# In a real bucket only the URL differs, and credentials are taken from environment variables
# (:doc:`/reference/archives` lists those of S3, Google and Azure):
#
# .. code-block:: text
#
#    $ pip install 'outgrad[cloud]'
#    $ export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_REGION=eu-central-1
#    $ outgrad convert descriptors.zarr s3://group/descriptors.zarr
#    $ outgrad log s3://group/descriptors.zarr
#
# ``save`` and ``convert`` write an archive of the newest version, with segments of its own. A backup, from
# which ``repair`` can take chunks, is a copy of all files, with all versions:
#
# .. code-block:: text
#
#    $ aws s3 sync descriptors.zarr s3://group/backup.zarr
#    $ outgrad verify descriptors.zarr --repair-from s3://group/backup.zarr
