"""The tutorial on gradients, line by line: every line runs here, and prints what the text prints."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shutil
from typing import Any, NamedTuple

import numpy as np
import pytest

import outgrad
from tests.support import ROOT

DATA = ROOT / "examples" / "data"
TUTORIALS = ROOT / "docs" / "tutorials"
FILES = ("radial-spectrum", "spherical-expansion")
KINDS = {"numpy": ("load", ""), "dask": ("open", ".compute()")}


class Step(NamedTuple):
    """Lines of the text and what they print; ``{load}`` opens a file, ``{now}`` computes lazy values."""

    name: str
    code: str
    printed: str = ""


KEYS = """\
TensorMap with 5 blocks
keys: center_type  neighbor_type
           6             6
           6             8
           7             7
           8             6
           8             8
"""

BLOCK = """\
TensorBlock
    samples (2): ['system', 'atom']
    components (): []
    properties (3): ['n']
    gradients: ['positions']
"""

COMPUTE_SQUARE = """\
def compute_square(block: TensorBlock) -> TensorBlock:
    # compute the new values
    new_values = block.values**2

    # store the new values in a block
    new_block = TensorBlock(
        values=new_values,
        samples=block.samples,
        components=block.components,
        properties=block.properties,
    )

    # compute the new gradient
    gradient = block.gradient("positions")

    # `block.values[gradient.samples["sample"]]` gives us an array with a shape
    # compatible with `gradient.values`; using the right row in the values to compute
    # the a given row of the gradients. ``None`` creates an additional dimension to
    # match the components of the gradients.
    broadcasted_values = block.values[gradient.samples["sample"], None, :]
    new_gradient_values = 2.0 * broadcasted_values * gradient.values

    new_gradient = TensorBlock(
        values=new_gradient_values,
        samples=gradient.samples,
        components=gradient.components,
        properties=gradient.properties,
    )

    # store the gradient in the new block
    new_block.add_gradient("positions", new_gradient)

    return new_block
"""

STEPS = [
    Step("import", "import outgrad\nfrom outgrad import TensorBlock, TensorMap"),
    Step(
        "load",
        'radial_spectrum = outgrad.{load}("radial-spectrum.npz")\nprint(radial_spectrum)',
        KEYS,
    ),
    Step("block", "block = radial_spectrum.block(center_type=7, neighbor_type=7)\nprint(block)", BLOCK),
    Step(
        "gradient",
        'gradient = block.gradient("positions")\nprint(gradient)',
        """\
Gradient TensorBlock ('positions')
    samples (4): ['sample', 'system', 'atom']
    components (3): ['xyz']
    properties (3): ['n']
    gradients: None
""",
    ),
    Step(
        "gradient samples",
        "print(gradient.samples)",
        """\
Labels(
    sample  system  atom
      0       0      4
      0       0      5
      1       0      4
      1       0      5
)
""",
    ),
    Step(
        "samples",
        "print(block.samples)",
        """\
Labels(
    system  atom
      0      4
      0      5
)
""",
    ),
    Step(
        "gradient components",
        "print(gradient.components)",
        """\
[Labels(
    xyz
     0
     1
     2
)]
""",
    ),
    Step("properties", "print(block.properties == gradient.properties)", "True\n"),
    Step(
        "gradient values",
        "print(gradient.values{now})",
        """\
[[[ 0.17209336  0.08442732 -0.09967984]
  [ 0.          0.          0.        ]
  [ 0.          0.          0.        ]]

 [[-0.17209336 -0.08442732  0.09967984]
  [ 0.          0.          0.        ]
  [ 0.          0.          0.        ]]

 [[ 0.17209336  0.08442732 -0.09967984]
  [ 0.          0.          0.        ]
  [ 0.          0.          0.        ]]

 [[-0.17209336 -0.08442732  0.09967984]
  [ 0.          0.          0.        ]
  [ 0.          0.          0.        ]]]
""",
    ),
    Step(
        "spherical expansion",
        'spherical_expansion = outgrad.{load}("spherical-expansion.npz")\nprint(spherical_expansion)',
        """\
TensorMap with 12 blocks
keys: o3_lambda  o3_sigma  center_type  neighbor_type
          0         1           6             6
          1         1           6             6
          2         1           6             6
          0         1           6             8
          1         1           6             8
          2         1           6             8
          0         1           8             6
          1         1           8             6
          2         1           8             6
          0         1           8             8
          1         1           8             8
          2         1           8             8
""",
    ),
    Step(
        "components of the values",
        "block = spherical_expansion.block(2)\nprint(block.components)",
        """\
[Labels(
    o3_mu
     -2
     -1
      0
      1
      2
)]
""",
    ),
    Step(
        "gradient with two components",
        'gradient = block.gradient("positions")\nprint(gradient)',
        """\
Gradient TensorBlock ('positions')
    samples (1): ['sample', 'system', 'atom']
    components (3, 5): ['xyz', 'o3_mu']
    properties (5): ['n']
    gradients: None
""",
    ),
    Step(
        "both components",
        'print("first set of components:", gradient.components[0])\n'
        'print("second set of components:", gradient.components[1])',
        """\
first set of components: Labels(
    xyz
     0
     1
     2
)
second set of components: Labels(
    o3_mu
     -2
     -1
       ...
      1
      2
)
""",
    ),
    Step("compute_square", COMPUTE_SQUARE),
    Step(
        "sample column",
        'gradient = radial_spectrum.block(2).gradient("positions")\nprint(gradient.samples["sample"])',
        "[0 0 1 1]\n",
    ),
    Step(
        "squared",
        "blocks = [compute_square(block) for block in radial_spectrum.blocks()]\n"
        "squared = TensorMap(keys=radial_spectrum.keys, blocks=blocks)\n"
        "print(squared)",
        KEYS,
    ),
    Step(
        "both blocks",
        "rs_block = radial_spectrum.block(2)\n"
        "squared_block = squared.block(2)\n\n"
        'print("radial_spectrum block:", rs_block)\n'
        'print("square block:", squared_block)',
        f"radial_spectrum block: {BLOCK}square block: {BLOCK}",
    ),
    Step(
        "both values",
        'print("radial_spectrum values:", rs_block.values{now})\n'
        'print("square values:", squared_block.values{now})',
        """\
radial_spectrum values: [[ 0.58644107 -0.15682146  0.03612176]
 [ 0.58644107 -0.15682146  0.03612176]]
square values: [[0.34391313 0.02459297 0.00130478]
 [0.34391313 0.02459297 0.00130478]]
""",
    ),
    Step(
        "both gradients",
        'print("radial_spectrum gradient:", rs_block.gradient("positions").values[:, 0]{now})\n'
        'print("square gradient:", squared_block.gradient("positions").values[:, 0]{now})',
        """\
radial_spectrum gradient: [[ 0.17209336  0.08442732 -0.09967984]
 [-0.17209336 -0.08442732  0.09967984]
 [ 0.17209336  0.08442732 -0.09967984]
 [-0.17209336 -0.08442732  0.09967984]]
square gradient: [[ 0.20184523 -0.02648003 -0.00720122]
 [-0.20184523  0.02648003  0.00720122]
 [ 0.20184523 -0.02648003 -0.00720122]
 [-0.20184523  0.02648003  0.00720122]]
""",
    ),
    Step(
        "operations",
        "squared_by_multiply = outgrad.multiply(radial_spectrum, radial_spectrum)\n"
        "squared_by_pow = outgrad.pow(radial_spectrum, 2)",
    ),
    Step(
        "equal",
        "squared_operations = outgrad.multiply(radial_spectrum, radial_spectrum)\n"
        "print(outgrad.equal(squared_operations, squared))",
        "True\n",
    ),
]


class Run(NamedTuple):
    """What every step printed, and the names that are left at the end."""

    printed: dict[str, str]
    names: dict[str, Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The text told once with NumPy and once with Dask arrays, in a folder where its files are."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in FILES:
        shutil.copy(DATA / f"{name}.mts", folder / f"{name}.npz")
    with contextlib.chdir(folder):
        return {kind: run(kind) for kind in KINDS}


def run(kind: str) -> Run:
    load, now = KINDS[kind]
    names: dict[str, Any] = {}
    printed = {}
    for step in STEPS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(step.code.replace("{load}", load).replace("{now}", now), names)
        printed[step.name] = out.getvalue()
    return Run(printed, names)


def numbers(text: str) -> np.ndarray:
    """All numbers with a decimal point in a text."""
    return np.array([float(found) for found in re.findall(r"-?\d+\.\d*", text)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_prints_what_the_text_prints(runs: dict[str, Run], kind: str, step: Step) -> None:
    assert runs[kind].printed[step.name] == step.printed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["gradient values", "both values", "both gradients"])
def test_prints_the_numbers_of_the_text(runs: dict[str, Run], kind: str, name: str) -> None:
    expected = next(numbers(step.printed) for step in STEPS if step.name == name)
    assert len(expected) >= 12
    np.testing.assert_allclose(numbers(runs[kind].printed[name]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("step", "take"),
    [
        ("gradient values", lambda rho, squared: [rho.gradient("positions").values]),
        ("both values", lambda rho, squared: [rho.values, squared.values]),
        (
            "both gradients",
            lambda rho, squared: [block.gradient("positions").values[:, 0] for block in (rho, squared)],
        ),
    ],
)
def test_numbers_agree_to_eight_digits(runs: dict[str, Run], kind: str, step: str, take: Any) -> None:
    names = runs[kind].names
    blocks = [names[name].compute().block(2) for name in ("radial_spectrum", "squared")]
    actual = np.concatenate([array.ravel() for array in take(*blocks)])
    expected = next(numbers(one.printed) for one in STEPS if one.name == step)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.5e-8 * (1 + 1e-6))


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_of_the_kind_that_was_opened(runs: dict[str, Run], kind: str) -> None:
    for name in ("radial_spectrum", "squared", "squared_by_multiply", "squared_by_pow"):
        block = runs[kind].names[name].block(2)
        assert isinstance(block.values, np.ndarray) == (kind == "numpy"), name
        assert isinstance(block.gradient("positions").values, np.ndarray) == (kind == "numpy"), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_both_operations_give_the_square(runs: dict[str, Run], kind: str, other: str) -> None:
    by_hand = runs[other].names["squared"]
    assert outgrad.equal(runs[kind].names["squared_by_multiply"], by_hand)
    assert outgrad.equal(runs[kind].names["squared_by_pow"], by_hand)
    assert not outgrad.equal(runs[kind].names["radial_spectrum"], by_hand)


def test_blocks_can_be_used_again(runs: dict[str, Run]) -> None:
    names = runs["numpy"].names
    again = outgrad.TensorMap(names["squared"].keys, names["blocks"])
    assert outgrad.equal(again, names["squared"])


@pytest.fixture
def beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TUTORIALS)


@pytest.mark.usefixtures("beside_the_scripts")
@pytest.mark.parametrize("script", sorted(path.name for path in TUTORIALS.glob("*.py")))
def test_the_script_runs(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in DATA.iterdir())
    runpy.run_path(str(TUTORIALS / script), run_name="__main__")
    assert capsys.readouterr().out.count("TensorMap with") >= 1
    assert sorted(path.name for path in DATA.iterdir()) == before


@pytest.mark.usefixtures("beside_the_scripts")
def test_the_script_prints_what_the_text_prints(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TUTORIALS / "managing_gradients.py"), run_name="__main__")
    printed = capsys.readouterr().out
    missing = [step.name for step in STEPS if step.printed not in printed]
    assert missing == []
