"""Settings: what is not allowed is an error that names the setting, the value, and where it may come from."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad import config
from outgrad.errors import OutgradError, SettingError

NAN, INFINITE = float("nan"), 1e400

WRONG: dict[str, list[Any]] = {
    "outgrad.chunk-bytes": [
        0, -1, 0.5, "0", "-5 MiB", "abc", "", "MiB", "5 furlongs", "nan", "inf", "1e400", NAN, INFINITE,
        -INFINITE, None, True, False, [], [1], {}, (), b"1 MiB", 1j, np.ones(2), 2**61, 10**400,
    ],
    "outgrad.threads": ["many", "", 0, -1, 1.5, 2.0, NAN, INFINITE, True, False, [2], {}, np.ones(2)],
    "outgrad.checks": ["false", "no", "", "True", None, 2, -1, 0.0, 1.0, NAN, [], {}, [True], np.ones(2)],
    "outgrad.mts-checks": ["sometimes", "", None, True, 0, ["once"], {}, np.ones(2)],
    "outgrad.durable": ["false", "no", "", None, 2, 0.0, NAN, [], {}, np.ones(2)],
    "outgrad.index-roots": [None, True, 1, 0.5, {}, [1], [None], ["data", 2], np.ones(2)],
}  # fmt: skip
RIGHT: dict[str, list[tuple[Any, Any]]] = {
    "outgrad.chunk-bytes": [(1, 1), ("1 kiB", 1024), (1e6, 10**6), (np.int64(5), 5), ("64MB", 64 * 10**6)],
    "outgrad.threads": [(None, None), (1, 1), (np.int32(3), 3)],
    "outgrad.checks": [(True, True), (False, False), (0, False), (1, True), (np.False_, False)],
    "outgrad.mts-checks": [("once", "once"), ("never", "never")],
    "outgrad.durable": [(True, True), (False, False), (0, False), (np.True_, True)],
    "outgrad.index-roots": [([], ()), ("data", ("data",)), (["a", Path("b")], ("a", "b"))],
}
BY_NAME = {setting.name: setting for setting in config.SETTINGS}
USES: dict[str, Callable[[og.TensorBlock], Any]] = {
    "outgrad.chunk-bytes": lambda block: block.chunk(),
    "outgrad.threads": lambda block: block * 2,
    "outgrad.checks": lambda block: block + og.block_from_array(np.ones((2, 2))),  # other labels objects
    "outgrad.mts-checks": lambda block: config.mts_checks(),
    "outgrad.durable": lambda block: config.durable(),
    "outgrad.index-roots": lambda block: config.index_roots(),
}


def test_every_setting_is_tried() -> None:
    assert BY_NAME.keys() == WRONG.keys() == RIGHT.keys() == USES.keys()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_wrong_settings_are_named(name: str, value: Any) -> None:
    block = og.block_from_array(np.ones((2, 2)))
    variable = "DASK_" + name.replace(".", "__").replace("-", "_").upper()
    with dask.config.set({name: value}), pytest.raises(SettingError) as caught:
        USES[name](block)
    text = str(caught.value)
    assert text.startswith(
        f"the setting {name} is {value!r:.80}; it must be {BY_NAME[name].allowed}; it may "
    )
    assert "dask.config.set" in text
    assert variable in text
    assert isinstance(caught.value, OutgradError)
    assert isinstance(caught.value, ValueError)
    assert len(text) < 500


@pytest.mark.parametrize(
    ("name", "value", "meant"), [(name, *pair) for name in RIGHT for pair in RIGHT[name]]
)
def test_right_settings(name: str, value: Any, meant: Any) -> None:
    with dask.config.set({name: value}):
        assert BY_NAME[name].read() == meant
        USES[name](og.block_from_array(np.ones((2, 2))))


@pytest.mark.parametrize("value", [value for value in WRONG["outgrad.chunk-bytes"] if value is not None])
def test_wrong_arguments_are_named(value: Any, tmp_path: Path) -> None:
    block = og.block_from_array(np.ones((2, 2)))
    og.save(tmp_path / "in.zarr", block)
    for call in (block.chunk, lambda **given: og.open(tmp_path / "in.zarr", **given)):
        with pytest.raises(
            og.ValidationError, match=r"^target_bytes=.*: it must be a positive size"
        ) as caught:
            call(target_bytes=value)
        assert f"{value!r:.80}" in str(caught.value)


def test_a_message_has_the_value_of_the_setting_and_not_of_the_argument() -> None:
    block = og.block_from_array(np.ones((2, 2)))
    with (
        dask.config.set({"outgrad.chunk-bytes": 0}),
        pytest.raises(
            SettingError,
            match=r"^the setting outgrad\.chunk-bytes is 0; it must be a positive size, in bytes or with a "
            r"unit, like '32 MiB'; it may come from dask\.config\.set, from a YAML file in .*, or from the "
            r"environment variable DASK_OUTGRAD__CHUNK_BYTES$",
        ),
    ):
        block.chunk(target_bytes=None)


@pytest.mark.parametrize("value", [None, 5, "64 MiB", [1]])
def test_a_group_that_is_no_mapping(value: Any) -> None:
    with (
        dask.config.set({"outgrad": value}),
        pytest.raises(SettingError, match=r"^the setting outgrad is .*; it must be a mapping"),
    ):
        config.chunk_bytes()


def test_a_configuration_without_the_group_has_the_defaults() -> None:
    with dask.config.set({"outgrad": {}}):
        assert config.chunk_bytes() == 32 * 2**20
        assert config.checks()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DASK_OUTGRAD__CHUNK_BYTES", "abc"),
        ("DASK_OUTGRAD__CHUNK_BYTES", "0"),
        ("DASK_OUTGRAD__THREADS", "many"),
        ("DASK_OUTGRAD__CHECKS", "maybe"),
        ("DASK_OUTGRAD__MTS_CHECKS", "1"),
        ("OUTGRAD_UNSAFE_DISABLE_CHECKS", "flase"),
    ],
)
def test_environment_variables_are_named(variable: str, text: str) -> None:
    script = "import outgrad.config as c\nfor setting in c.SETTINGS: setting.read()"
    environment = {**os.environ, variable: text}
    command = [sys.executable, "-Wignore", "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert "SettingError: the setting outgrad" in last
    assert last.endswith(f"it comes from the environment variable {variable}")


def test_settings_are_read_in_one_place() -> None:
    """Others would have messages of their own, or none."""
    source = Path(og.__file__).parent
    found = [
        path.name
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith("outgrad.")
        if "-" in str(node.value) and " " not in str(node.value)
    ]
    assert set(found) <= {"config.py"}
