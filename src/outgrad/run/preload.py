"""What a worker does first and last: ``distributed.worker.preload`` in ``local.yaml`` names this module."""

from __future__ import annotations

import logging
from typing import Any


def dask_setup(worker: Any) -> None:
    """Drop warnings about cancelled tasks: an interrupt cancels all of a job before workers are closed."""
    logging.getLogger("distributed.worker.state_machine").addFilter(
        lambda record: "ended with CancelledError" not in str(record.msg)
    )


def dask_teardown(worker: Any) -> None:
    """Silence loggers at teardown: a heartbeat in flight would print a traceback."""
    for name in ("distributed", "distributed.worker", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
