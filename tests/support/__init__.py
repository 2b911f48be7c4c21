"""What tests of several files need. Nothing here is a test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""

EXAMPLES = sorted((ROOT / "examples" / "data").glob("*.mts"))
"""Real maps, small."""
