"""S3 on loopback, by moto, as a process: ``python -m tests.support.s3_program``."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import S3Backend
from werkzeug.serving import make_server

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def one_change_at_a_time(application: Application) -> Application:
    """As S3 seems to; two threads of moto could both find that no object is there, and both create it."""
    lock = threading.Lock()

    def served(environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environment, start_response)
        with lock:
            return application(environment, start_response)

    return served


def main() -> None:
    """Serve until the end. With ``slow``, there is a while between moto's checks and its changes."""
    if sys.argv[1:] == ["slow"]:
        put_object = S3Backend.put_object

        def slowly(*arguments: Any, **options: Any) -> Any:
            time.sleep(0.01)
            return put_object(*arguments, **options)

        S3Backend.put_object = slowly  # type: ignore[method-assign]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = one_change_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    os.environ["MOTO_PORT"] = str(server.port)  # moto sends requests to itself in places
    print(f"listens on http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
