"""Nodes of a cluster as process trees of this machine, which can be killed like machines."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def descendants(root: int) -> Iterator[int]:
    """Processes below a process, as far as they can be read."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    yield from found - {root}


def command(pid: int) -> str:
    """Command line of a process, or nothing if it is gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def named(root: int, title: str) -> list[int]:
    """Processes below a process whose command line begins with a title."""
    return [pid for pid in descendants(root) if command(pid).startswith(title)]


class Node:
    """``ray start`` in the foreground, in a session of its own."""

    def __init__(self, log: Path, flags: Sequence[str]):
        self._log = log
        ports = [f"--{name}={free_port()}" for name in ("node-manager-port", "object-manager-port")]
        ray = str(Path(sys.executable).with_name("ray"))
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    ray, "start", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats",
                    "--object-store-memory=100000000", *ports, *flags,
                ],
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def processes(self, title: str) -> list[int]:
        """Its processes whose command line begins with a title."""
        return named(self.process.pid, title)

    def kill(self) -> None:
        """Lose the machine: every process at once, without a word."""
        doomed = [self.process.pid, *descendants(self.process.pid)]
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


class Cluster:
    """A head and worker nodes, on ports and in a folder of their own."""

    def __init__(self, *, cpus: int = 1):
        # Ray keeps Unix sockets in there, whose paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="xlt-", dir="/tmp"))
        self.log = self.folder / "nodes.log"
        self.port = free_port()
        self.nodes: list[Node] = []
        self.head = self.start_head(cpus=cpus)

    @property
    def address(self) -> str:
        """What a driver connects to."""
        return f"127.0.0.1:{self.port}"

    def start_head(self, *, cpus: int) -> Node:
        """Start a head, at the first one's address."""
        flags = [
            "--head", f"--port={self.port}", f"--num-cpus={cpus}", "--include-dashboard=false",
            f"--temp-dir={self.folder}", f"--ray-client-server-port={free_port()}",
        ]  # fmt: skip
        self.head = Node(self.log, flags)
        self._wait_until(self._listens)
        return self.head

    def add_node(self, *, cpus: int) -> Node:
        """Start a worker node; it joins in its own time."""
        node = Node(self.log, [f"--address={self.address}", f"--num-cpus={cpus}"])
        self.nodes.append(node)
        return node

    def ids(self) -> dict[str, str]:
        """State of every node by its id, as the head sees it."""
        done = self._ray("list", "nodes", "--address", self.address, "--format", "json")
        found = re.findall(r'"node_id": "([0-9a-f]+)".*?"state": "(\w+)"', done, re.DOTALL)
        return dict(found)

    def wait_for_nodes(self, number: int) -> None:
        """Wait until the head knows so many living nodes."""
        code = (
            "import ray, sys, time\n"
            "ray.init(address=sys.argv[1], log_to_driver=False)\n"
            "while sum(node['Alive'] for node in ray.nodes()) != int(sys.argv[2]):\n"
            "    time.sleep(0.1)\n"
        )
        subprocess.run([sys.executable, "-c", code, self.address, str(number)],
                       check=True, capture_output=True, timeout=120)  # fmt: skip

    def _ray(self, *words: str) -> str:
        program = str(Path(sys.executable).with_name("ray"))
        done = subprocess.run(
            [program, *words], check=True, capture_output=True, text=True, timeout=120
        )
        return done.stdout

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return "Ray runtime started" in self.log.read_text(errors="replace")

    def _wait_until(self, condition: "type[bool] | object") -> None:
        deadline = time.monotonic() + 120
        while not condition():  # type: ignore[operator]
            assert self.head.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill every node and remove their folder."""
        for node in (*self.nodes, self.head):
            if node.process.poll() is None:
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
