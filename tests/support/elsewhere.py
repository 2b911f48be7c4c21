"""Programs in other processes, as a second client or the worker that resumes a job would run them."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support import ROOT


def printed_with_hash_seeds(program: str) -> set[str]:
    """What ``program`` prints in two processes whose texts have other hashes: one text if all is the same."""
    return {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
