"""What a push asks the hub for: a server on loopback that speaks as much of its protocol."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import sys
from pathlib import Path
from xlt_ray.config.errors import ConfigError
from xlt_ray.commands.push import push
try:
    print(push(Path(sys.argv[1]), "owner/name", **({"public": True} if sys.argv[2:] else {})))
except ConfigError as error:
    print(error)
"""


class Hub:
    """A hub with one repository, or none; keeps what it was asked for.

    Attributes:
        private: Whether the repository is private; None: there is none.
        asked: Methods and paths in order.
        made: What a repository was made with.
        files: Contents by path that were committed.
    """

    def __init__(self, private: bool | None):
        self.private, self.asked = private, list[str]()
        self.made, self.files = dict[str, Any](), set[str]()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, content: Any, code: int = 200, **headers: str) -> None:
                data = json.dumps(content).encode()
                self.send_response(code)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                hub.asked.append(f"GET {self.path}")
                if hub.private is None:
                    self.answer({}, 404, X_Error_Code="RepoNotFound")
                else:
                    self.answer({"id": "owner/name", "private": hub.private, "sha": "a" * 40})

            def do_POST(self) -> None:
                hub.asked.append(f"POST {self.path.partition('?')[0]}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/api/repos/create":
                    url = {"url": f"http://{self.headers['Host']}/owner/name"}
                    if hub.private is not None:
                        self.answer(url, 409)
                        return
                    hub.made = json.loads(body)
                    hub.private = hub.made["visibility"] == "private"
                    self.answer(url)
                elif "/preupload/" in self.path:
                    files = json.loads(body)["files"]
                    self.answer({"files": [{"path": x["path"], "uploadMode": "regular",
                                            "shouldIgnore": False} for x in files]})  # fmt: skip
                elif "/commit/" in self.path:
                    rows = [json.loads(line) for line in body.splitlines()]
                    hub.files = {x["value"]["path"] for x in rows if x["key"] == "file"}
                    where = f"http://{self.headers['Host']}/owner/name/commit/x"
                    self.answer({"commitUrl": where, "commitOid": "b" * 40, "success": True})
                else:
                    self.answer({})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> "Hub":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def pushed(self, folder: Path, *more: str) -> str:
        """What a push of a folder to it says."""
        env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}",
               "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), *more],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text("{}")
    return place


@pytest.mark.slow
def test_a_public_repository_is_not_pushed_to(folder: Path) -> None:
    with Hub(private=False) as hub:
        said = hub.pushed(folder)
    assert "export.push: owner/name is there already, and public" in said
    assert "export.public=true" in said
    assert not [line for line in hub.asked if "/commit/" in line or "/preupload/" in line]


@pytest.mark.slow
def test_unless_that_is_wanted(folder: Path) -> None:
    with Hub(private=False) as hub:
        assert hub.pushed(folder, "public").endswith("/owner/name/commit/x")
    assert hub.files == {"config.json"}


@pytest.mark.slow
def test_a_private_one_is(folder: Path) -> None:
    with Hub(private=True) as hub:
        assert hub.pushed(folder).endswith("/owner/name/commit/x")
    assert hub.files == {"config.json"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["public"]])
def test_a_new_one_is_made_private_unless_it_may_be_public(folder: Path, more: list[str]) -> None:
    with Hub(private=None) as hub:
        assert hub.pushed(folder, *more).endswith("/owner/name/commit/x")
    assert hub.made["name"] == "name"
    assert hub.made["visibility"] == ("public" if more else "private")
    assert hub.files == {"config.json"}
