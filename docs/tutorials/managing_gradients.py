"""
Managing gradients
==================

A descriptor of an atomic environment changes when the atoms move. Forces and stress need that derivative, so
Outgrad keeps it beside the values, as metatensor does: explicitly, row by row, and only where it is not zero.
This tutorial looks at such gradients, first in memory and then without loading them, and computes with them.

It needs two small files that the repository brings along: descriptors of a few molecules, with gradients
with respect to the positions of the atoms. The same script runs on metatensor's own ``.mts`` and ``.npz``
files, and on archives that Outgrad wrote.
"""

from pathlib import Path

import outgrad as og
from outgrad import TensorBlock, TensorMap

DATA = Path("../../examples/data")  # from docs/tutorials, where this script is

# %%
# Where the gradients are
# -----------------------
#
# A :class:`~outgrad.TensorMap` is a set of blocks, and each block has a key. In the radial spectrum the
# keys are pairs of elements: what surrounds an atom of the type ``center_type``, as far as it is of the
# type ``neighbor_type``. :func:`outgrad.load` brings everything into memory.

radial_spectrum = og.load(DATA / "radial-spectrum.mts")
print(radial_spectrum)

# %%
# Five blocks, not nine: the system holds CO, O\ :sub:`2` and N\ :sub:`2`, too far from each other to be
# neighbours, and pairs that do not occur have no block.
#
# A :class:`~outgrad.TensorBlock` says what its axes mean, and which gradients it has:

block = radial_spectrum.block(center_type=7, neighbor_type=7)
print(block)

# %%
# The gradient is a block too. It has an array, and labels on every axis.

gradient = block.gradient("positions")
print(gradient)

# %%
# What differs most are the samples. The first dimension is always ``sample``: it counts the rows of the
# values, and says which of them is differentiated. The other dimensions say by what.

print(gradient.samples)

# %%
# These four rows belong to the two rows of the values:

print(block.samples)

# %%
# so they are, with :math:`\rho_i` for the spectrum of atom :math:`i` and :math:`\nabla_j` for the
# derivative with respect to the position of atom :math:`j`:
#
# * row 0: :math:`\nabla_4 \rho_4`,
# * row 1: :math:`\nabla_5 \rho_4`,
# * row 2: :math:`\nabla_4 \rho_5`,
# * row 3: :math:`\nabla_5 \rho_5`.
#
# There is no row for :math:`\nabla_0 \rho_4`: atom 0 is far away, this derivative is zero, and zeros
# are not stored. **A row that is missing is zero.** Every operation of Outgrad goes by this rule.
#
# A gradient can have components of its own. A position has three coordinates, so here it has one:

print(gradient.components)

# %%
# The last axis is shared: the properties of a gradient are always those of its values.

print(block.properties == gradient.properties)

# %%
# And these are the numbers. The molecule lies along x, so nothing changes, to first order, along y and
# z.

print(gradient.values)

# %%
# When the values have components already
# ---------------------------------------
#
# A spherical expansion has values with a component, the index :math:`m` of the spherical harmonics:

spherical_expansion = og.load(DATA / "spherical-expansion.mts")
print(spherical_expansion)

# %%

block = spherical_expansion.block(2)
print(block.components)

# %%
# Its gradient has both: its own first, then those of the values.

gradient = block.gradient("positions")
print(gradient)

# %%

print("first set of components:", gradient.components[0])
print("second set of components:", gradient.components[1])

# %%
# So the shapes are always ``(samples, *components, properties)`` for values and ``(rows, *own
# components, *components, properties)`` for a gradient.
#
# Computing with gradients, by hand
# ---------------------------------
#
# Take the square of the radial spectrum, :math:`h = \rho^2`. By the chain rule its gradient is
#
# .. math:: \nabla h = 2 \, \rho \, \nabla \rho .
#
# The two factors on the right have different shapes: :math:`\rho` has a row for each atom, its gradient
# has one for each pair. The column ``sample`` says which row goes with which,

gradient = radial_spectrum.block(2).gradient("positions")
print(gradient.samples["sample"])

# %%
# and indexing with it gives each row of the gradient its row of the values:


def compute_square(block: TensorBlock) -> TensorBlock:
    """Square a block, and carry its gradient along."""
    new_block = TensorBlock(
        values=block.values**2,
        samples=block.samples,
        components=block.components,
        properties=block.properties,
    )

    gradient = block.gradient("positions")
    # None inserts an axis, where the gradient has its component "xyz"
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
# Labels, and with them the sparsity, are the same as before. The numbers are not:

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
# Computing with gradients, by an operation
# -----------------------------------------
#
# All this is what :func:`outgrad.multiply` and :func:`outgrad.pow` do, for any components, any number
# of gradients, and gradients of gradients:

squared_operations = og.multiply(radial_spectrum, radial_spectrum)
print(og.equal(squared_operations, squared))

# %%

print(og.equal(og.pow(radial_spectrum, 2), squared))

# %%
# The same, without loading
# -------------------------
#
# :func:`outgrad.open` reads only what describes the data. Values are then Dask arrays, cut along the
# samples; a gradient is cut where its samples are, so that a chunk of values and the gradient rows that
# belong to it stay together. Printing a block reads no values.

lazy = og.open(DATA / "radial-spectrum.mts")
lazy_block = lazy.block(center_type=7, neighbor_type=7)
print(lazy_block)

# %%
# In a notebook, blocks and maps also show sizes and chunks:

lazy

# %%
# ``compute()`` gives the numbers, of an array or of a whole block or map:

print(lazy_block.gradient("positions").values[:, 0].compute())

# %%
# ``compute_square`` from above, which was written for NumPy arrays, needs no change. What it returns is
# lazy too, as is what an operation returns:

lazy_blocks = [compute_square(block) for block in lazy.blocks()]
lazy_squared = TensorMap(keys=lazy.keys, blocks=lazy_blocks)
print(lazy_squared.block(2).values)

# %%
# Comparing computes, chunk by chunk; the whole map is never in memory at once.

print(og.equal(lazy_squared, og.multiply(lazy, lazy)))
print(og.equal(lazy_squared.compute(), squared))

# %%
# These data fit into memory many times over. :doc:`larger_than_memory` shows what changes when they do
# not: very little.
