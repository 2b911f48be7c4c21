"""The list of mutations keeps up with the source: what it does not find, it cannot break."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.support import ROOT
from tests.support.scripts import imported_script


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    return imported_script(ROOT / "tools" / "mutations.py")


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
