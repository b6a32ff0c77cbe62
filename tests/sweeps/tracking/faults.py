"""Real faults between the projection and a real MLflow server: lost answers, errors, slowness, silence."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Fault = Callable[[str, str], str]
"""From method and path: `pass`, `lose` (the answer), `error` (500), `absent` (404), `page`, `slow` or `refuse`."""


def healthy(_method: str, _path: str) -> str:
    return "pass"


class Proxy:
    """Forwards HTTP to a server, with faults.

    Attributes:
        fault: What to do with the next requests.
        requests: Method and path of each one that came in.
    """

    def __init__(self, target: str) -> None:
        self.fault: Fault = healthy
        self.requests: list[tuple[str, str]] = []
        proxy, host = self, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                path = self.path.partition("?")[0]
                proxy.requests.append((self.command, path))
                what = proxy.fault(self.command, path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if what == "slow":
                    time.sleep(0.3)
                if what == "error":
                    self._answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "no"}', "application/json")
                    return
                if what == "absent":
                    self._answer(404, b"Not Found", "text/plain")
                    return
                if what == "page":
                    self._answer(200, b"<!doctype html>", "text/html")
                    return
                if what == "refuse":
                    self.close_connection = True
                    return
                status, content, kind = self._ask(body)
                if what == "lose":
                    self.close_connection = True
                    return
                self._answer(status, content, kind)

            def _ask(self, body: bytes) -> tuple[int, bytes, str]:
                connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=120)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                return answer.status, content, answer.getheader("Content-Type") or "text/plain"

            def _answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """A proxy in front of a server, for as long as the block lasts."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def once(path_end: str, what: str) -> Fault:
    """A fault that strikes the first request whose path ends so, and then no more."""
    struck: list[str] = []

    def fault(_method: str, path: str) -> str:
        if not struck and path.endswith(path_end):
            struck.append(path)
            return what
        return "pass"

    return fault
