"""`/metrics`, `/healthz` and `/readyz` over HTTP, read-only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from retention.errors import InputError, RetentionError
from retention.scheduling.current import Current
from retention.watching.metrics import exposition
from retention.watching.read import read_status
from retention.watching.status import Status


@contextmanager
def serving(config_path: Path, host: str, port: int) -> Iterator[str]:
    """Serve the status of a project from a thread, and yield the address of its metrics. ``/healthz`` is 200 while the
    process lives; ``/readyz`` and ``/metrics`` are 503 while the control database is away. Raises InputError where it
    cannot listen."""
    current, lock = Current(config_path), threading.Lock()

    def status() -> Status:
        with lock:
            current.refresh()
            engine = current.view()
        return read_status(engine)

    current.refresh()  # now: a mistake that comes before the first question finds the set before it
    try:
        server = _make(host, port, status)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}", hint="name another port") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield f"http://{host}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        current.close()


def _make(host: str, port: int, status: Callable[[], Status]) -> ThreadingHTTPServer:

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the standard library's name
            if self.path == "/healthz":
                self._answer(200, b"alive\n")
                return
            if self.path not in ("/metrics", "/readyz"):
                self._answer(404, b"/metrics, /healthz or /readyz\n")
                return
            try:
                seen = status()
            except RetentionError as error:
                self._answer(503, f"{error.message}\n".encode())
                return
            if self.path == "/readyz":
                self._answer(200, b"ready\n")
            else:
                self._answer(200, exposition(seen), "text/plain; version=1.0.0; charset=utf-8")

        def _answer(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody wants a line for each scrape."""

    return ThreadingHTTPServer((host, port), Handler)
