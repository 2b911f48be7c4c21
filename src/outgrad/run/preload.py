"""What a worker does first and last: ``distributed.worker.preload`` in ``local.yaml`` names this module."""

from __future__ import annotations

import logging
from typing import Any


def dask_teardown(worker: Any) -> None:
    """Silence loggers at teardown: a heartbeat in flight would print a traceback."""
    for name in ("distributed", "distributed.worker", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
