"""Make a SOAP power spectrum with gradients, of any size, from real molecules.

The systems are the molecules of ``ase.collections.g2`` with two or more atoms and no other elements than H,
C, N and O (81 of its 162), one after the other and from the start again, each with its atoms displaced at
random. System ``i`` depends on the seed and on ``i`` only: the size of the pieces does not change the data.
featomic computes one piece after the other; only one piece is in memory when the output is an archive.

    python examples/data/make_large.py --size 6GB --output soap.zarr
    python examples/data/make_large.py --size 400MB --output soap.mts    # joined in memory
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import ase
import click
import metatensor
import numpy as np
from ase.collections import g2
from dask.utils import format_bytes, parse_bytes
from featomic import SoapPowerSpectrum
from metatensor import Labels, TensorBlock, TensorMap

import outgrad as og

TYPES = (1, 6, 7, 8)
DISPLACEMENT = 0.05  # Å, standard deviation
HYPERPARAMETERS = {
    "cutoff": {"radius": 4.0, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.3},
    "basis": {"type": "TensorProduct", "max_angular": 4, "radial": {"type": "Gto", "max_radial": 5}},
}
# A guess for the first piece alone; later pieces are measured.
SYSTEM_BYTES = 1_100_000
# Fewer systems are not worth a piece: the end of the output would be many tiny ones.
SMALLEST_PIECE = 8


def all_keys() -> Labels:
    """Return the key of every block that these elements can give, so that all pieces have the same blocks."""
    keys = [(c, a, b) for c in TYPES for a in TYPES for b in TYPES if a <= b]
    return Labels(["center_type", "neighbor_1_type", "neighbor_2_type"], np.array(keys))


def molecules() -> list[ase.Atoms]:
    """Return the molecules of the G2 set with more than one atom and no other elements than `TYPES`."""
    return [atoms for atoms in g2 if len(atoms) > 1 and set(atoms.numbers) <= set(TYPES)]


def make_system(choice: list[ase.Atoms], number: int, seed: int) -> ase.Atoms:
    """Return system `number`: a displaced copy of one of the molecules."""
    atoms: ase.Atoms = choice[number % len(choice)].copy()
    generator = np.random.default_rng([seed, number])
    atoms.positions += generator.normal(scale=DISPLACEMENT, size=atoms.positions.shape)
    return atoms


def renumber(samples: Labels, first: int) -> Labels:
    """Return the samples with `first` added to the number of the system, where they have one."""
    if "system" not in samples.names:
        return samples
    shift = [first if name == "system" else 0 for name in samples.names]
    return Labels(samples.names, samples.values + np.array(shift, dtype=np.int32))


def convert(block: TensorBlock, first: int, dtype: str) -> TensorBlock:
    """Return the block, and its gradients, with systems counted from `first` and values of type `dtype`."""
    values = np.asarray(block.values).astype(dtype, copy=False)
    result = TensorBlock(values, renumber(block.samples, first), block.components, block.properties)
    for parameter, gradient in block.gradients():
        result.add_gradient(parameter, convert(gradient, first, dtype))
    return result


def compute(systems: list[ase.Atoms], first: int, dtype: str) -> TensorMap:
    """Return the power spectrum of the systems, which are numbered from `first`, with its gradients."""
    calculator = SoapPowerSpectrum(**HYPERPARAMETERS)
    result = calculator.compute(systems, gradients=["positions", "strain"], selected_keys=all_keys())
    return TensorMap(result.keys, [convert(block, first, dtype) for block in result.blocks()])


def count_bytes(tensor: TensorMap) -> int:
    """Return the bytes of all values and all gradients."""
    arrays = [block.values for block in tensor.blocks()]
    arrays += [gradient.values for block in tensor.blocks() for _, gradient in block.gradients()]
    return sum(array.nbytes for array in arrays)


def make_pieces(size: int, systems_per_piece: int, seed: int, dtype: str) -> Iterator[TensorMap]:
    """Yield maps of consecutive systems until their values and gradients fill `size` bytes; report each."""
    choice, first, done, start = molecules(), 0, 0, time.perf_counter()
    while done < size:
        system_bytes = done / first if first else SYSTEM_BYTES
        wanted = max(SMALLEST_PIECE, math.ceil((size - done) / system_bytes))
        stop = first + min(wanted, systems_per_piece)
        piece = compute([make_system(choice, i, seed) for i in range(first, stop)], first, dtype)
        yield piece
        first, done = stop, done + count_bytes(piece)
        rate = done / (time.perf_counter() - start)
        click.echo(f"{first} systems, {format_bytes(done)}, {format_bytes(int(rate))}/s")


def write(path: Path, pieces: Iterator[TensorMap]) -> None:
    """Write the pieces to an archive one by one, or joined to one file of metatensor's format."""
    if path.suffix == ".mts":
        metatensor.save(str(path), metatensor.join(list(pieces), axis="samples"))
        return
    with og.ArchiveWriter(path) as writer:
        for piece in pieces:
            writer.append(og.from_metatensor(piece))


@click.command()
@click.option(
    "--size", default="6GB", show_default=True, help="Bytes of values and gradients, as 400MB or 6GB."
)
@click.option("--output", default="soap.zarr", show_default=True, type=click.Path(path_type=Path))
@click.option("--systems-per-piece", default=243, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(["float64", "float32"]))
def main(size: str, output: Path, systems_per_piece: int, seed: int, dtype: str) -> None:
    """Write the SOAP power spectrum of displaced molecules, with positions and strain gradients."""
    if output.suffix not in (".zarr", ".mts"):
        raise click.BadParameter(f"{output} ends in neither .zarr nor .mts", param_hint="--output")
    if output.exists():
        raise click.BadParameter(
            f"{output} exists already: remove it, or choose another", param_hint="--output"
        )
    write(output, make_pieces(parse_bytes(size), systems_per_piece, seed, dtype))


if __name__ == "__main__":
    main()
