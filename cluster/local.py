"""A Ray cluster of several nodes on one machine, to try out what a run does on many.

    python cluster/local.py --workers 2 --gpus-per-worker 1
    python cluster/local.py --autoscale --max-workers 2 -- python jobs/quickstart.py

The head and each worker node are processes of their own. Every port listens on loopback, the
cluster asks for a token, and it keeps to a temporary folder and ports of its own, so that several
can run beside each other. GPUs are counted, not checked: a node may claim any number of them.
"""

import argparse
import importlib.util
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HOST = "127.0.0.1"
MARK = "XLT_LOCAL_CLUSTER"
"""Variable by which a cluster knows its processes, whoever started them for it."""
HEAD_ID = "f" * 51 + "00000"
"""What Ray's provider of nodes on one machine calls the head."""


@dataclass(frozen=True)
class Shape:
    """Size of a local cluster.

    Attributes:
        workers: Nodes beside the head; with autoscaling the least number of them.
        worker_cpus: CPUs that one of them counts.
        worker_gpus: GPUs that one of them counts.
        head_cpus: CPUs that the head counts; it has no GPUs.
        max_workers: Most workers that the autoscaler may start; None: no autoscaling.
        idle_minutes: Time after which an idle worker is taken away.
        object_store: Bytes of each node's object store.
    """

    workers: int = 2
    worker_cpus: int = 1
    worker_gpus: int = 0
    head_cpus: int = 1
    max_workers: int | None = None
    idle_minutes: float = 0.1
    object_store: int = 150_000_000

    def __post_init__(self) -> None:
        if self.max_workers is not None and self.max_workers < self.workers:
            raise ValueError(f"max_workers {self.max_workers}: below workers, {self.workers}")

    def autoscaling(self, address: str) -> dict[str, Any]:
        """The autoscaler's configuration: worker nodes are processes that its provider starts."""
        worker = {"CPU": self.worker_cpus, "object_store_memory": self.object_store}
        if self.worker_gpus:
            worker["GPU"] = self.worker_gpus
        provider = {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address,  # launches hang without it on any port but 6379
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        }
        return {
            "cluster_name": "local",
            "max_workers": self.max_workers,
            "idle_timeout_minutes": self.idle_minutes,
            "upscaling_speed": 100.0,
            "provider": provider,
            "auth": {},
            "head_node_type": "ray.head.default",
            "available_node_types": {
                "ray.head.default": {
                    "resources": {"CPU": self.head_cpus},
                    "node_config": {},
                    "min_workers": 0,
                    "max_workers": 0,
                },
                "worker": {
                    "resources": worker,
                    "node_config": {},
                    "min_workers": self.workers,
                    "max_workers": self.max_workers,
                },
            },
            "file_mounts": {},
            **{key: [] for key in _LISTS},
        }


_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's nodes and drivers take loopback for their address, as they do on those systems."""
_NODE = "--node"
_LISTS = (
    "cluster_synced_files",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


class LocalCluster:
    """A cluster of processes; a context manager that stops exactly what it started.

    The token is that of RAY_AUTH_TOKEN. Where there is none, one is made and set in this process's
    environment, since Ray reads it from there.

    Attributes:
        address: ``host:port`` of the head.
        dashboard: URL of the dashboard and the job API, or None without ``ray[default]``.
        env: Variables by which another process finds the cluster and may use it.
        workers: The processes of the worker nodes, those of an autoscaler not among them.
    """

    def __init__(self, shape: Shape | None = None):
        self.shape = shape or Shape()
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        gcs, dashboard, client, metrics = free_ports(4)
        self.address = f"{HOST}:{gcs}"
        self.dashboard = f"http://{HOST}:{dashboard}" if _is_there("aiohttp") else None
        self.env = {
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"],
            **_LOOPBACK,
        }
        if self.dashboard:
            self.env["RAY_API_SERVER_ADDRESS"] = self.dashboard
        self.workers: list[subprocess.Popen[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._head_flags = [
            f"--object-store-memory={self.shape.object_store}",
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            f"--port={gcs}",
            "--num-gpus=0",
            f"--num-cpus={self.shape.head_cpus}",
            f"--dashboard-host={HOST}",
            f"--dashboard-port={dashboard}",
        ]
        if _is_there("grpc"):
            self._head_flags.append(f"--ray-client-server-port={client}")
        self._mark = secrets.token_hex(16)
        # Ray keeps Unix sockets in there, whose paths may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="xlt-", dir="/tmp"))
        self._process_env = {
            **os.environ,
            MARK: self._mark,
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AUTOSCALER_METRIC_PORT": str(metrics),
            **_LOOPBACK,
        }
        if self.shape.max_workers is not None:
            self._process_env |= {
                "RAY_enable_autoscaler_v2": "1",
                "RAY_FAKE_CLUSTER": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            }
        self._process_env.pop("RAY_ADDRESS", None)

    def __enter__(self) -> "LocalCluster":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, patience: float = 120.0) -> None:
        """Start the head and the workers, and wait until all of them are up.

        Raises:
            RuntimeError: they are not, after ``patience`` seconds or because one ended.
        """
        flags = [*self._head_flags, f"--temp-dir={self._folder}"]
        if self.shape.max_workers is not None:
            path = self._folder / "autoscaling.yaml"
            path.write_text(yaml.safe_dump(self.shape.autoscaling(self.address)))
            flags.append(f"--autoscaling-config={path}")
        try:
            self._run("-m", "ray.scripts.scripts", "start", "--head", "--block", *flags)
            self._wait_for(0, patience)
            if self.shape.max_workers is None:
                for _ in range(self.shape.workers):
                    self.add_worker()
            self._wait_for(self.shape.workers, patience)
        except BaseException:
            self.stop()
            raise

    def add_worker(self) -> None:
        """Start one more worker node, without waiting for it."""
        shape = self.shape
        size = {
            "num_cpus": shape.worker_cpus,
            "num_gpus": shape.worker_gpus,
            "object_store_memory": shape.object_store,
        }
        self.workers.append(self._run(__file__, _NODE, self.address, json.dumps(size)))

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "start.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._process_env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def _wait_for(self, workers: int, patience: float) -> None:
        from ray.exceptions import RayError  # Ray reads the token when it is first needed

        from xlt_ray.engine.nodes import look

        end = time.monotonic() + patience
        while True:
            with suppress(RayError):
                if look(self.address).workers >= workers:
                    return
            ended = [process.args for process in self._started if process.poll() is not None]
            if ended or time.monotonic() > end:
                log = (self._folder / "start.log").read_text(errors="replace")
                reason = f"ended: {ended[0]}" if ended else f"not up after {patience:g} s"
                raise RuntimeError(f"local cluster: {reason}\n{log[-2000:]}")
            time.sleep(0.2)

    def stop(self, patience: float = 10.0) -> None:
        """End every process of the cluster, first with SIGTERM, and remove its folder."""
        ours = self.processes()
        for process in reversed(self._started):
            with suppress(ProcessLookupError):
                process.terminate()
        end = time.monotonic() + patience
        while ours := {item for item in ours | self.processes() if item.is_running()}:
            if time.monotonic() > end:
                for item in ours:
                    with suppress(ProcessLookupError):
                        os.kill(item.pid, signal.SIGKILL)
            time.sleep(0.1)
            for process in self._started:
                process.poll()
        for process in self._started:  # that ended since
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def processes(self) -> set["Process"]:
        """Running processes that have been started for this cluster, by whomever.

        A process is known by its parents, or by the cluster's mark in its environment, which holds
        when its parent has died. Ray's workers overwrite theirs; they end with their node.
        """
        roots = {process.pid for process in self._started}
        mark, found = f"{MARK}={self._mark}".encode(), running()
        ours = {item for item in found if item.pid in roots or mark in item.environment()}
        while more := {item for item in found - ours if item.parent in {our.pid for our in ours}}:
            ours |= more
        return ours


@dataclass(frozen=True)
class Process:
    """A process of this machine; its start tells it from a later one of the same number."""

    pid: int
    parent: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The running process of that number, if there is one."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else cls(pid, int(fields[1]), int(fields[19]))

    def is_running(self) -> bool:
        """Whether it has not ended."""
        now = Process.of(self.pid)
        return now is not None and now.started == self.started

    def environment(self) -> list[bytes]:
        """The variables that it was started with, as far as it has left them alone."""
        with suppress(OSError):  # it has ended, or is somebody else's
            return Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        return []


def running() -> set[Process]:
    """All processes of this machine."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {found for pid in pids if (found := Process.of(pid))}


def serve_node(address: str, size: Mapping[str, Any]) -> None:
    """Be a worker node until SIGTERM.

    ``ray start`` would do, but refuses to start one that listens on loopback.

    Args:
        address: ``host:port`` of the head.
        size: Arguments of Ray's ``RayParams``.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(
        gcs_address=address,
        redis_address=address,
        min_worker_port=0,
        max_worker_port=0,
        dashboard_agent_listen_port=0,
        **size,
    )
    node = Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
    with suppress(KeyboardInterrupt):
        while not node.dead_processes():
            time.sleep(0.5)
    node.kill_all_processes(check_alive=False, allow_graceful=True)


def free_ports(number: int) -> list[int]:
    """Different ports of loopback that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for item in sockets:
            item.bind((HOST, 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The flags, and as ``command`` what comes after ``--``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, metavar="N",
                        help="worker nodes; with --autoscale the least number (2; 0)")  # fmt: skip
    parser.add_argument("--cpus-per-worker", type=int, default=Shape.worker_cpus, metavar="N")
    parser.add_argument("--gpus-per-worker", type=int, default=Shape.worker_gpus, metavar="N")
    parser.add_argument("--head-cpus", type=int, default=Shape.head_cpus, metavar="N")
    parser.add_argument("--autoscale", action="store_true",
                        help="add and remove worker nodes on demand")  # fmt: skip
    parser.add_argument("--max-workers", type=int, default=2, metavar="N",
                        help="most worker nodes with --autoscale (2)")  # fmt: skip
    parser.add_argument("--idle-minutes", type=float, default=Shape.idle_minutes, metavar="M",
                        help="an idle worker is removed after this, with --autoscale")  # fmt: skip
    parser.add_argument("--timeline", action="store_true",
                        help="print a line whenever nodes come, go or are used")  # fmt: skip
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND",
                        help="run this on the cluster, then stop it")  # fmt: skip
    flags = parser.parse_args(argv)
    if flags.command[:1] == ["--"]:
        del flags.command[0]
    return flags


def shape_of(flags: argparse.Namespace) -> Shape:
    """The cluster that the flags ask for."""
    least = 0 if flags.autoscale else 2
    return Shape(
        workers=least if flags.workers is None else flags.workers,
        worker_cpus=flags.cpus_per_worker,
        worker_gpus=flags.gpus_per_worker,
        head_cpus=flags.head_cpus,
        max_workers=flags.max_workers if flags.autoscale else None,
        idle_minutes=flags.idle_minutes,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Start a cluster and run a command on it, or wait for Ctrl-C.

    Returns:
        The exit code of the command; 0 without one.
    """
    flags = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    with LocalCluster(shape_of(flags)) as cluster:
        print(f"address:   {cluster.address}", file=sys.stderr)
        print(f"dashboard: {cluster.dashboard or 'needs ray[default]'}", file=sys.stderr)
        with ExitStack() as stack:
            if flags.timeline:
                from xlt_ray.engine.nodes import Timeline

                stack.enter_context(Timeline(cluster.address, tell=_tell))
            return _use(flags.command, cluster.env)


def _use(command: Sequence[str], env: Mapping[str, str]) -> int:
    if command:
        return subprocess.run(command, env={**os.environ, **env}, check=False).returncode
    for name, value in env.items():
        print(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    print("running until Ctrl-C", file=sys.stderr)
    with suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _tell(change: object) -> None:
    print(change, file=sys.stderr, flush=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if sys.argv[1:2] == [_NODE]:
        signal.signal(signal.SIGTERM, _interrupt)
        serve_node(sys.argv[2], json.loads(sys.argv[3]))
    else:
        sys.exit(main())
