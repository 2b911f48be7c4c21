"""The list of mutations keeps up with the source: what it does not find, it cannot break."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "tools" / "mutations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutation_changes_one_place(mutations: ModuleType) -> None:
    others = [
        f"{mutation.words}: {count} times"
        for mutation in mutations.MUTATIONS
        if (count := (mutations.SOURCE / mutation.file).read_text("utf-8").count(mutation.before)) != 1
    ]
    assert others == []


def test_every_mutation_has_tests(mutations: ModuleType) -> None:
    named = {test for mutation in mutations.MUTATIONS for test in mutation.tests} | {*mutations.EVERYTHING}
    assert [test for test in sorted(named) if not (ROOT / test).exists()] == []
