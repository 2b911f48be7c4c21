"""What a worker does first: ``distributed.worker.preload`` in ``local.yaml`` names this module.

Importing it imports Outgrad, before the first task needs it.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the client.

    A terminal sends it to every process of the group; workers would die with tracebacks, while the client
    closes them in order.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def dask_teardown(worker: Any) -> None:
    """Say nothing more: a heartbeat that is under way while a worker closes ends in a traceback."""
    for name in ("distributed", "distributed.worker", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
