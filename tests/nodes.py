"""Nodes of a cluster as process trees of this machine, which can be killed like machines."""

import json
import os
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

    def __init__(self, log: Path, flags: Sequence[str], *, path: str | None = None):
        """Start a node.

        Args:
            log: Where its output goes.
            flags: More flags of ``ray start``.
            path: Its ``PYTHONPATH``.
        """
        named_ports = ("node-manager-port", "object-manager-port", "dashboard-agent-listen-port")
        ports = [f"--{name}={free_port()}" for name in named_ports]
        programs = Path(sys.executable).parent
        environment = {name: x for name, x in os.environ.items() if name not in NOT_FOR_NODES}
        environment["PATH"] = os.pathsep.join([str(programs), os.environ["PATH"]])
        environment["XDG_CACHE_HOME"] = str(log.parent / "cache")
        if path is not None:
            environment["PYTHONPATH"] = path
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    str(programs / "ray"), "start", "--block", "--node-ip-address=127.0.0.1",
                    "--disable-usage-stats", "--object-store-memory=100000000", *ports, *flags,
                ],
                stdout=output, stderr=output, start_new_session=True, env=environment,
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


NOT_FOR_NODES = {"PYTHONPATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
"""Variables of the tests' own, local Ray; the second lets no other node join."""

NODES = """
import json, sys, time
import ray

ray.init(address=sys.argv[1], log_to_driver=False)
while len(alive := [node for node in ray.nodes() if node["Alive"]]) != int(sys.argv[2]):
    time.sleep(0.1)
names = {name: node["NodeID"] for node in alive for name in node["Resources"]}
print(json.dumps(names))
"""


class Cluster:
    """A head and worker nodes, on ports and in a folder of their own."""

    def __init__(self, *, cpus: int = 1, dashboard: bool = False):
        """Start the head.

        Args:
            cpus: Logical CPUs of the head.
            dashboard: Whether it takes jobs, on loopback; these bring the package along.
        """
        # Ray keeps Unix sockets in there, whose paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="xlt-", dir="/tmp"))
        self.log = self.folder / "nodes.log"
        self.port = free_port()
        self.dashboard = free_port() if dashboard else None
        self._path = None if dashboard else os.environ["PYTHONPATH"]
        self.nodes: list[Node] = []
        self.head = self.start_head(cpus=cpus)

    @property
    def address(self) -> str:
        """What a driver connects to."""
        return f"127.0.0.1:{self.port}"

    def start_head(self, *, cpus: int) -> Node:
        """Start a head, at the first one's address."""
        flags = [
            "--head", f"--port={self.port}", f"--num-cpus={cpus}", f"--temp-dir={self.folder}",
            f"--ray-client-server-port={free_port()}",
        ]  # fmt: skip
        if self.dashboard is None:
            flags += ["--include-dashboard=false"]
        else:
            flags += ["--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}"]
        self.head = Node(self.log, flags, path=self._path)
        self._wait_until_it_listens()
        return self.head

    def add_node(self, name: str, *, cpus: int) -> Node:
        """Start a worker node; it joins in its own time."""
        resources = json.dumps({name: 1})
        flags = [f"--address={self.address}", f"--num-cpus={cpus}", f"--resources={resources}"]
        node = Node(self.log, flags, path=self._path)
        self.nodes.append(node)
        return node

    def wait_for_nodes(self, number: int) -> dict[str, str]:
        """Wait until the head knows so many living nodes; returns their ids by name."""
        done = subprocess.run(
            [sys.executable, "-c", NODES, self.address, str(number)],
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1])

    def drain(self, node_id: str, *, seconds: int) -> None:
        """Announce that a node will be taken away, as the cloud does for spot machines."""
        self._ray(
            "drain-node", "--address", self.address, "--node-id", node_id,
            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
            "--deadline-remaining-seconds", str(seconds),
        )  # fmt: skip

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
        return True

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 120
        while not self._listens():
            assert self.head.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill every node and remove their folder."""
        for node in (*self.nodes, self.head):
            if node.process.poll() is None:
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
