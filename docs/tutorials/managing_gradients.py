"""
Managing gradients
==================

A descriptor of an atomic environment changes when the atoms move. Forces and stresses need this derivative,
so Outgrad stores it together with the values, as metatensor does: explicitly, row by row, and only where it
is not zero. This tutorial inspects such gradients, first in memory and then out of core, and computes with
them.

It uses two small files from the repository, with descriptors of a few molecules and their gradients with
respect to the positions of the atoms. The script works with metatensor's ``.mts`` and ``.npz`` files as well
as with Outgrad's archives.
"""

from pathlib import Path

import outgrad as og
from outgrad import TensorBlock, TensorMap

DATA = Path("../../examples/data")  # from docs/tutorials, where this script is

# %%
# How gradients are stored
# ------------------------
#
# A :class:`~outgrad.TensorMap` is a set of blocks, each with a key. In the radial spectrum, a key is a
# pair of elements: the block describes how the neighbors of type ``neighbor_type`` surround the atoms of
# type ``center_type``. :func:`outgrad.load` reads everything into memory.

radial_spectrum = og.load(DATA / "radial-spectrum.mts")
print(radial_spectrum)

# %%
# There are five blocks instead of nine: the system contains CO, O\ :sub:`2` and N\ :sub:`2` molecules,
# too far apart to be neighbors, and pairs that do not occur have no block.
#
# A :class:`~outgrad.TensorBlock` shows the meaning of its axes and the gradients it has:

block = radial_spectrum.block(center_type=7, neighbor_type=7)
print(block)

# %%
# The gradient is a block too, with an array and labels on every axis:

gradient = block.gradient("positions")
print(gradient)

# %%
# The samples differ most from those of the values. The first dimension is always ``sample``, the row of
# the values that is differentiated. The other dimensions identify what it is differentiated with respect
# to, here an atom.

print(gradient.samples)

# %%
# These four rows belong to the two rows of the values:

print(block.samples)

# %%
# With :math:`\rho_i` for the spectrum of atom :math:`i` and :math:`\nabla_j` for the derivative with
# respect to the position of atom :math:`j`, the rows of the gradient are:
#
# * row 0: :math:`\nabla_4 \rho_4`,
# * row 1: :math:`\nabla_5 \rho_4`,
# * row 2: :math:`\nabla_4 \rho_5`,
# * row 3: :math:`\nabla_5 \rho_5`.
#
# There is no row for :math:`\nabla_0 \rho_4`: atom 0 is far away, so this derivative is zero, and zeros
# are not stored. **A missing row is zero.** Every operation of Outgrad follows this rule.
#
# A gradient can have additional components. Here there is one, for the three coordinates of a position:

print(gradient.components)

# %%
# The last axis is the same: the properties of a gradient are always those of its values.

print(block.properties == gradient.properties)

# %%
# These are the numbers. The molecule lies along x, so the derivatives along y and z are zero:

print(gradient.values)

# %%
# Values with components
# ----------------------
#
# The values of a spherical expansion have a component, the index :math:`m` of the spherical harmonics:

spherical_expansion = og.load(DATA / "spherical-expansion.mts")
print(spherical_expansion)

# %%

block = spherical_expansion.block(2)
print(block.components)

# %%
# Its gradient has two: first its own component, then that of the values.

gradient = block.gradient("positions")
print(gradient)

# %%

print("first set of components:", gradient.components[0])
print("second set of components:", gradient.components[1])

# %%
# In general, the shape of the values is ``(samples, *components, properties)`` and that of a gradient is
# ``(rows, *own components, *components, properties)``.
#
# Computing with gradients by hand
# --------------------------------
#
# Take the square of the radial spectrum, :math:`h = \rho^2`. By the chain rule, its gradient is
#
# .. math:: \nabla h = 2 \, \rho \, \nabla \rho .
#
# The two factors on the right have different shapes: :math:`\rho` has one row per atom, its gradient one
# row per pair. The column ``sample`` relates them:

gradient = radial_spectrum.block(2).gradient("positions")
print(gradient.samples["sample"])

# %%
# Indexing the values with this column yields one row of values for each row of the gradient:


def compute_square(block: TensorBlock) -> TensorBlock:
    """Square a block and its gradient."""
    new_block = TensorBlock(
        values=block.values**2,
        samples=block.samples,
        components=block.components,
        properties=block.properties,
    )

    gradient = block.gradient("positions")
    # None inserts an axis for the component "xyz" of the gradient
    broadcasted_values = block.values[gradient.samples["sample"], None, :]
    new_gradient = TensorBlock(
        values=2.0 * broadcasted_values * gradient.values,
        samples=gradient.samples,
        components=gradient.components,
        properties=gradient.properties,
    )

    new_block.add_gradient("positions", new_gradient)
    return new_block


blocks = [compute_square(block) for block in radial_spectrum.blocks()]
squared = TensorMap(keys=radial_spectrum.keys, blocks=blocks)
print(squared)

# %%
# The labels, and with them the sparsity, are the same as before. The numbers differ:

rs_block = radial_spectrum.block(2)
squared_block = squared.block(2)

print("radial_spectrum block:", rs_block)
print("square block:", squared_block)

# %%

print("radial_spectrum values:", rs_block.values)
print("square values:", squared_block.values)

# %%

print("radial_spectrum gradient:", rs_block.gradient("positions").values[:, 0])
print("square gradient:", squared_block.gradient("positions").values[:, 0])

# %%
# Computing with gradients using operations
# -----------------------------------------
#
# :func:`outgrad.multiply` and :func:`outgrad.pow` do all of this, for any components, any number of
# gradients, and gradients of gradients:

squared_operations = og.multiply(radial_spectrum, radial_spectrum)
print(og.equal(squared_operations, squared))

# %%

print(og.equal(og.pow(radial_spectrum, 2), squared))

# %%
# Computing out of core
# ---------------------
#
# :func:`outgrad.open` only reads the description of the data. Values are then Dask arrays, chunked along
# the samples. Gradients are chunked at the same samples, so each chunk of values stays together with its
# gradient rows. Printing a block reads no values.

lazy = og.open(DATA / "radial-spectrum.mts")
lazy_block = lazy.block(center_type=7, neighbor_type=7)
print(lazy_block)

# %%
# In a notebook, blocks and maps also show sizes and chunks:

lazy

# %%
# ``compute()`` returns the numbers of an array, a block or a map:

print(lazy_block.gradient("positions").values[:, 0].compute())

# %%
# The function ``compute_square`` from above, written for NumPy arrays, needs no changes. Like the result
# of an operation, its result is lazy too:

lazy_blocks = [compute_square(block) for block in lazy.blocks()]
lazy_squared = TensorMap(keys=lazy.keys, blocks=lazy_blocks)
print(lazy_squared.block(2).values)

# %%
# A comparison computes chunk by chunk; the complete map is never in memory at once.

print(og.equal(lazy_squared, og.multiply(lazy, lazy)))
print(og.equal(lazy_squared.compute(), squared))

# %%
# These data easily fit in memory. :doc:`larger_than_memory` shows how little changes if they do not.
