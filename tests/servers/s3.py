"""An S3 server for tests, as a process of its own: moto's, which also keeps what it holds, and fails when asked to.

    python tests/servers/s3.py --port 5000 [--state FILE]

With ``--state`` everything is on disk before an answer is sent, so that ``kill -9`` and a new start lose nothing that was
acknowledged. ``PUT /_faults`` takes a JSON list of ``{"method", "match", "times", "do"}``: the next ``times`` requests whose
path and query match are answered otherwise. ``do`` is ``lose`` (done, and the connection dropped without an answer), ``drop``
(dropped, nothing done), ``cut`` (the answer ends in the middle), or an S3 error as in ``503 SlowDown``.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

ACCOUNT = "123456789012"


class Server:
    def __init__(self, state: Path | None) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.state = state
        self.faults: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        if state is not None and state.exists():
            s3_backends[ACCOUNT]["aws"].buckets.update(pickle.loads(state.read_bytes()))

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        where = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        method = environ["REQUEST_METHOD"]
        if environ["PATH_INFO"] == "/_faults":
            self.faults = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start("200 OK", [("Content-Length", "0")])
            return []
        do = self._fault(method, where)
        if do == "drop":
            return self._hang_up(environ)
        if do not in (None, "lose", "cut"):
            status, code = str(do).split()
            body = f"<Error><Code>{code}</Code><Message>as the test asked</Message></Error>".encode()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if method == "HEAD" else [body]
        body = b"".join(self.app(environ, start))
        if method in ("PUT", "POST", "DELETE"):
            self._keep()
        if do == "lose":
            return self._hang_up(environ)
        return [body[: len(body) // 2]] if do == "cut" else [body]

    def _hang_up(self, environ: dict[str, Any]) -> Iterable[bytes]:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    def _fault(self, method: str, where: str) -> str | None:
        with self.lock:
            for fault in self.faults:
                if fault["times"] > 0 and fault["method"] == method and re.search(fault["match"], where):
                    fault["times"] -= 1
                    return str(fault["do"])
        return None

    def _keep(self) -> None:
        if self.state is None:
            return
        with self.lock:
            draft = self.state.with_suffix(".draft")
            draft.write_bytes(pickle.dumps(dict(s3_backends[ACCOUNT]["aws"].buckets)))
            draft.replace(self.state)


class Quiet(WSGIRequestHandler):
    def log(self, *arguments: Any) -> None:
        """Nothing: the tests' own words are enough."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path)
    told = parser.parse_args()
    make_server("127.0.0.1", told.port, Server(told.state), threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
