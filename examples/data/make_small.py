"""Make the small files of this directory: real descriptors with gradients, in metatensor's own format.

`radial-spectrum.mts` and `spherical-expansion.mts` are the data of metatensor's tutorial on gradients;
`molecules-power-spectrum.mts` has two gradients and several systems, for tests.

    python examples/data/make_small.py                      # into this directory
    python examples/data/make_small.py --directory FOLDER

The files of the repository were written once by this script. On another machine values may differ in the
last digits.
"""

from __future__ import annotations

from pathlib import Path

import ase
import click
import metatensor
from ase.collections import g2
from featomic import SoapPowerSpectrum, SoapRadialSpectrum, SphericalExpansion
from metatensor import TensorMap

SMOOTHING = {"type": "ShiftedCosine", "width": 0.5}
MOLECULES = ("H2O", "NH3", "CH4", "CO2", "CH3CH2OH")


def radial_spectrum() -> TensorMap:
    """Return the SOAP radial spectrum of CO, O2 and N2, which lie too far apart to see each other."""
    positions = [(0, 0, 0), (1.2, 0, 0), (0, 6, 0), (1.1, 6, 0), (6, 0, 0), (7.3, 0, 0)]
    calculator = SoapRadialSpectrum(
        cutoff={"radius": 2.5, "smoothing": SMOOTHING},
        density={"type": "Gaussian", "width": 0.2},
        basis={"radial": {"type": "Gto", "max_radial": 2}},
    )
    return calculator.compute(ase.Atoms("COO2N2", positions=positions), gradients=["positions"])


def spherical_expansion() -> TensorMap:
    """Return the spherical expansion of CO2: values with components, and gradients with more of them."""
    positions = [(0, 0, 0), (-0.2, -0.65, 0.94), (0.2, 0.65, -0.94)]
    calculator = SphericalExpansion(
        cutoff={"radius": 3.5, "smoothing": SMOOTHING},
        density={"type": "Gaussian", "width": 0.2},
        basis={"type": "TensorProduct", "max_angular": 2, "radial": {"type": "Gto", "max_radial": 4}},
    )
    return calculator.compute(ase.Atoms("CO2", positions=positions), gradients=["positions"])


def displaced(name: str, seed: int) -> ase.Atoms:
    """Return a molecule of the G2 set without its symmetry, which would make many gradients zero."""
    atoms: ase.Atoms = g2[name].copy()
    atoms.rattle(stdev=0.05, seed=seed)
    return atoms


def molecules_power_spectrum() -> TensorMap:
    """Return the SOAP power spectrum of some molecules, with positions and strain gradients."""
    calculator = SoapPowerSpectrum(
        cutoff={"radius": 3.0, "smoothing": SMOOTHING},
        density={"type": "Gaussian", "width": 0.3},
        basis={"type": "TensorProduct", "max_angular": 1, "radial": {"type": "Gto", "max_radial": 1}},
    )
    systems = [displaced(name, seed) for seed, name in enumerate(MOLECULES)]
    return calculator.compute(systems, gradients=["positions", "strain"])


RECIPES = {
    "radial-spectrum.mts": radial_spectrum,
    "spherical-expansion.mts": spherical_expansion,
    "molecules-power-spectrum.mts": molecules_power_spectrum,
}


@click.command()
@click.option("--directory", default=Path(__file__).parent, type=click.Path(path_type=Path, file_okay=False))
def main(directory: Path) -> None:
    """Write the small example files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        path = directory / name
        metatensor.save(str(path), recipe())
        click.echo(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
