"""All operations on chunks by name: a task carries the name, not the functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outgrad.kernels.chunk import Chunk
from outgrad.rules import table
from outgrad.rules.apply import apply
from outgrad.rules.functions import FUNCTIONS
from outgrad.rules.moments import REDUCTIONS
from outgrad.rules.rowwise import ROWWISE
from outgrad.rules.term import Composite, Rule

RULES: dict[str, Rule | Composite] = {**table.RULES, **REDUCTIONS, **FUNCTIONS, **ROWWISE}


def run(name: str, chunks: Sequence[Chunk], *constants: Any) -> Chunk:
    """Apply the rule called ``name``."""
    rule = RULES[name]
    if isinstance(rule, Composite):
        return rule.function(chunks, *constants)
    return apply(rule, chunks, *constants)
