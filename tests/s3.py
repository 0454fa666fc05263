"""An S3-protocol server on loopback, with faults on order.

Run as a program it serves: moto's server, behind a layer that answers some requests with an error,
late, or not to the end. The class `S3` starts it and tells it what to do wrong.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

CONTROL = "/_faults"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What a client has in its environment; the server takes any."""


class S3:
    """The server in a process of its own."""

    def __init__(self, log: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self.port)],
                stdout=output,
                stderr=output,
                env={**os.environ, **CREDENTIALS},
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def options(self) -> str:
        """The part of a URI that leads here."""
        return f"endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"

    def root(self, folder: str = "store") -> str:
        """URI of a folder in a bucket of its own."""
        bucket = f"b{uuid.uuid4().hex}"
        fs, _ = pafs.FileSystem.from_uri(f"s3://{bucket}?{self.options}&allow_bucket_creation=true")
        fs.create_dir(bucket)
        return f"s3://{bucket}/{folder}?{self.options}"

    def break_down(self, **rule: Any) -> None:
        """Do something wrong from now on.

        Args:
            rule: ``method`` and ``path`` (a pattern, searched in the path) of the requests it is
                for, the number of them to ``skip`` and then the ``times`` it holds, and what is
                wrong: ``status`` (an error), ``delay`` (in seconds), or ``cut`` (half of the
                request is read, and the connection closed).
        """
        self._control("POST", rule)

    def mend(self) -> int:
        """Do nothing wrong any more; returns how many requests were hit."""
        return self._control("DELETE", {})["hits"]

    def _control(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}{CONTROL}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        """End the server; what it held is lost."""
        self._process.kill()
        self._process.wait()


class Faults:
    """A WSGI layer that does what the rules say to requests, and passes the others on."""

    def __init__(self, app: Any):
        self.app = app
        self.rules: list[dict[str, Any]] = []
        self.hits = 0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL:
            return self._controlled(environ, start_response)
        rule = self._rule_for(environ)
        if rule is not None and rule.get("cut"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if rule is not None and "status" in rule:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{rule['status']} Fault", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>on order</Message></Error>"]
        if rule is not None:
            time.sleep(rule["delay"])
        return self.app(environ, start_response)

    def _rule_for(self, environ: dict[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            for rule in self.rules:
                if rule.get("method", environ["REQUEST_METHOD"]) != environ["REQUEST_METHOD"]:
                    continue
                if not re.search(rule.get("path", ""), environ["PATH_INFO"]):
                    continue
                rule["seen"] = rule.get("seen", 0) + 1
                skip = rule.get("skip", 0)
                if skip < rule["seen"] <= skip + rule.get("times", 1):
                    self.hits += 1
                    return rule
        return None

    def _controlled(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self.lock:
            if environ["REQUEST_METHOD"] == "DELETE":
                answer, self.hits, self.rules = {"hits": self.hits}, 0, []
            else:
                self.rules.append(body)
                answer = {}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def serve(port: int) -> None:
    """Serve until killed."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    app = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, Faults(app), threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
