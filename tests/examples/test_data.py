"""The committed data: the tutorial's printed numbers, and the scripts that made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import outgrad as og
from tests.support import ROOT
from tests.support.scripts import imported_script

metatensor = pytest.importorskip("metatensor")

DATA = ROOT / "examples" / "data"
NAMES = ("radial-spectrum.mts", "spherical-expansion.mts", "molecules-power-spectrum.mts")
# The tutorial prints eight digits.
PRINTED = {"rtol": 0, "atol": 0.5e-8}

N2_VALUES = [[0.58644107, -0.15682146, 0.03612176]] * 2
N2_SQUARES = [[0.34391313, 0.02459297, 0.00130478]] * 2
N2_GRADIENT_X = np.outer([1, -1, 1, -1], [0.17209336, 0.08442732, -0.09967984])
N2_SQUARE_GRADIENT_X = np.outer([1, -1, 1, -1], [0.20184523, -0.02648003, -0.00720122])


def load(name: str) -> Any:
    return metatensor.load(str(DATA / name))


def gradients(tensor: Any) -> Iterator[tuple[Any, ...]]:
    """Yield each block with the name and the block of each of its gradients."""
    for block in tensor.blocks():
        for parameter, gradient in block.gradients():
            yield block, parameter, gradient


def import_script(name: str) -> ModuleType:
    pytest.importorskip("featomic")
    return imported_script(DATA / f"{name}.py")


def assert_same(actual: Any, expected: Any) -> None:
    metatensor_operations = pytest.importorskip("metatensor.operations")
    metatensor_operations.allclose_raise(actual, expected, rtol=1e-9, atol=1e-12)


def test_the_files_are_small() -> None:
    assert sum((DATA / name).stat().st_size for name in NAMES) < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_values_are_float64_and_finite(name: str) -> None:
    tensor = load(name)
    blocks = [*tensor.blocks(), *(gradient for _, _, gradient in gradients(tensor))]
    assert {block.values.dtype for block in blocks} == {np.dtype("float64")}
    assert all(np.isfinite(block.values).all() for block in blocks)


class TestRadialSpectrum:
    def test_keys(self) -> None:
        keys = load("radial-spectrum.mts").keys
        assert keys.names == ["center_type", "neighbor_type"]
        assert keys.values.tolist() == [[6, 6], [6, 8], [7, 7], [8, 6], [8, 8]]

    def test_labels(self) -> None:
        block = load("radial-spectrum.mts").block(center_type=7, neighbor_type=7)
        gradient = block.gradient("positions")
        assert block.gradients_list() == ["positions"]
        assert block.samples.names == ["system", "atom"]
        assert block.samples.values.tolist() == [[0, 4], [0, 5]]
        assert block.properties.names == ["n"]
        assert block.properties.values.tolist() == [[0], [1], [2]]
        assert gradient.properties == block.properties
        assert gradient.samples.names == ["sample", "system", "atom"]
        assert gradient.samples.values.tolist() == [[0, 0, 4], [0, 0, 5], [1, 0, 4], [1, 0, 5]]
        assert [(labels.names, labels.values.tolist()) for labels in gradient.components] == [
            (["xyz"], [[0], [1], [2]])
        ]

    def test_values(self) -> None:
        values = load("radial-spectrum.mts").block(2).values
        np.testing.assert_allclose(values, N2_VALUES, **PRINTED)
        np.testing.assert_allclose(values**2, N2_SQUARES, **PRINTED)

    def test_gradients(self) -> None:
        block = load("radial-spectrum.mts").block(2)
        gradient = block.gradient("positions")
        np.testing.assert_allclose(gradient.values[:, 0], N2_GRADIENT_X, **PRINTED)
        np.testing.assert_allclose(gradient.values[:, 1:], 0, **PRINTED)
        square = 2 * block.values[gradient.samples["sample"]] * gradient.values[:, 0]
        np.testing.assert_allclose(square, N2_SQUARE_GRADIENT_X, **PRINTED)


class TestSphericalExpansion:
    def test_keys(self) -> None:
        keys = load("spherical-expansion.mts").keys
        assert keys.names == ["o3_lambda", "o3_sigma", "center_type", "neighbor_type"]
        expected = [
            [degree, 1, center, neighbor] for center in (6, 8) for neighbor in (6, 8) for degree in range(3)
        ]
        assert keys.values.tolist() == expected

    def test_labels(self) -> None:
        block = load("spherical-expansion.mts").block(2)
        gradient = block.gradient("positions")
        assert block.values.shape == (1, 5, 5)
        assert block.components[0].names == ["o3_mu"]
        assert block.components[0].values.tolist() == [[-2], [-1], [0], [1], [2]]
        assert gradient.samples.values.tolist() == [[0, 0, 0]]
        assert gradient.values.shape == (1, 3, 5, 5)
        assert [labels.names for labels in gradient.components] == [["xyz"], ["o3_mu"]]
        assert gradient.components[1] == block.components[0]


class TestMoleculesPowerSpectrum:
    def test_it_has_several_systems_and_two_gradients(self) -> None:
        tensor = load("molecules-power-spectrum.mts")
        assert tensor.keys.names == ["center_type", "neighbor_1_type", "neighbor_2_type"]
        assert {parameter for _, parameter, _ in gradients(tensor)} == {"positions", "strain"}
        assert {int(system) for block in tensor.blocks() for system in block.samples["system"]} == set(
            range(5)
        )

    def test_gradient_rows_are_sorted_by_sample(self) -> None:
        for _, _, gradient in gradients(load("molecules-power-spectrum.mts")):
            assert (np.diff(gradient.samples["sample"]) >= 0).all()

    def test_a_translation_changes_nothing(self) -> None:
        for block, parameter, gradient in gradients(load("molecules-power-spectrum.mts")):
            total = np.zeros((len(block.samples), *gradient.values.shape[1:]))
            np.add.at(total, gradient.samples["sample"], gradient.values)
            assert parameter == "strain" or np.abs(total).max() < 1e-12


class TestMakeSmall:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_recipe_gives_the_committed_file(self, name: str) -> None:
        assert_same(import_script("make_small").RECIPES[name](), load(name))

    def test_it_writes_every_file(self, tmp_path: Path) -> None:
        script = import_script("make_small")
        result = CliRunner().invoke(
            script.main, ["--directory", str(tmp_path / "new")], catch_exceptions=False
        )
        assert result.exit_code == 0
        assert {path.name for path in (tmp_path / "new").iterdir()} == set(NAMES)


class TestMakeLarge:
    def test_a_system_depends_on_the_seed_and_its_number_alone(self) -> None:
        script = import_script("make_large")
        choice = script.molecules()
        first, second = (script.make_system(choice, 5 + len(choice), seed=3) for _ in range(2))
        np.testing.assert_array_equal(first.positions, second.positions)
        assert first.symbols.get_chemical_formula() == choice[5].symbols.get_chemical_formula()
        for number, seed in [(5, 3), (5 + len(choice), 4)]:
            assert not np.allclose(first.positions, script.make_system(choice, number, seed).positions)

    def test_pieces_do_not_change_the_data(self) -> None:
        script = import_script("make_large")
        choice = script.molecules()
        systems = [script.make_system(choice, number, seed=3) for number in range(12)]
        whole = script.compute(systems, 0, "float64")
        second = script.compute(systems[5:], 5, "float64")
        assert second.keys == whole.keys
        for key, block in second.items():
            expected = whole.block(key)
            rows = expected.samples["system"] >= 5
            np.testing.assert_array_equal(block.samples.values, expected.samples.values[rows])
            np.testing.assert_allclose(block.values, expected.values[rows], rtol=1e-9, atol=1e-12)

    def test_every_label_of_a_system_is_renumbered(self) -> None:
        script = import_script("make_large")
        systems = [script.make_system(script.molecules(), number, seed=0) for number in range(7, 10)]
        for block, parameter, gradient in gradients(script.compute(systems, 7, "float32")):
            assert gradient.values.dtype == np.float32
            assert set(block.samples["system"]) <= {7, 8, 9}
            if parameter == "positions":
                rows = gradient.samples["sample"]
                np.testing.assert_array_equal(gradient.samples["system"], block.samples["system"][rows])

    def test_the_size_is_reached_and_not_far_exceeded(self) -> None:
        script = import_script("make_large")
        pieces = list(script.make_pieces(20_000_000, systems_per_piece=10, seed=0, dtype="float64"))
        total = sum(script.count_bytes(piece) for piece in pieces)
        assert len(pieces) > 1
        assert 20_000_000 <= total < 35_000_000

    def test_it_writes_one_file_of_all_pieces(self, tmp_path: Path) -> None:
        script = import_script("make_large")
        pytest.importorskip("metatensor.operations")
        path = tmp_path / "soap.mts"
        arguments = [
            "--size",
            "12MB",
            "--output",
            str(path),
            "--systems-per-piece",
            "6",
            "--dtype",
            "float32",
        ]
        result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        tensor = metatensor.load(str(path))
        assert tensor.keys == script.all_keys()
        assert script.count_bytes(tensor) >= 12_000_000
        assert tensor.block(0).samples.names == ["system", "atom"]
        assert len(np.unique(tensor.block(0).samples["system"])) > 6

    def test_it_writes_an_archive_piece_by_piece(self, tmp_path: Path) -> None:
        script = import_script("make_large")
        path = tmp_path / "soap.zarr"
        arguments = ["--size", "8MB", "--output", str(path), "--systems-per-piece", "5"]
        result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        count = int(result.output.splitlines()[-1].split()[0])
        systems = [script.make_system(script.molecules(), number, seed=0) for number in range(count)]
        expected = og.from_metatensor(script.compute(systems, 0, "float64"))
        og.allclose_raise(og.load(path), expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize(
        ("name", "message"), [("soap.npz", "neither .zarr nor .mts"), ("old.zarr", "exists already")]
    )
    def test_a_bad_output_is_refused(self, tmp_path: Path, name: str, message: str) -> None:
        script = import_script("make_large")
        (tmp_path / "old.zarr").mkdir()
        result = CliRunner().invoke(script.main, ["--output", str(tmp_path / name)])
        assert result.exit_code == 2
        assert message in result.output
