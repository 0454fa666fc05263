"""``cluster/local.py``: a head and workers on loopback, with a token, and nothing left behind.

One cluster is started by the command line, with GPUs that are only counted. The command that runs
on it connects with another token, counts the nodes, labels text, and then waits to be let go.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import psutil
import pytest

from tests.encoders import write_tagger
from tests.nodes import descendants

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
import json, os, sys, traceback
import ray

def count():
    ray.init(log_to_driver=False)
    try:
        return len(ray.nodes())
    finally:
        ray.shutdown()

def tell(**found):
    print(json.dumps(found), flush=True)

if (stranger := os.fork()) == 0:
    os.environ["RAY_AUTH_TOKEN"] = "0" * 64
    try:
        tell(stranger=count())
    except BaseException:  # after 20 s
        tell(stranger=traceback.format_exc())
    os._exit(0)
from xlt_ray.commands.cli import run_job
from xlt_ray.engine.nodes import look
tell(idle=vars(look(os.environ["RAY_ADDRESS"])), nodes=count())
from xlt_ray.commands.predict import JOB
tell(code=run_job(json.loads(sys.argv[1]), argv=[], job=JOB))
os.waitpid(stranger, 0)
tell(waits=True)
sys.stdin.read()
sys.exit(7)
"""


@dataclass(frozen=True)
class Started:
    """A cluster with a command.

    Attributes:
        process: The process that started them.
        said: What the command found.
        errors: File with what all of them said beside that.
        store: Root of the store of the command's run.
    """

    process: "subprocess.Popen[str]"
    said: dict[str, object]
    errors: Path
    store: Path


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A head, one worker, and a command that waits after it has found what is asked."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "text.txt").write_text("ka lo\nlo ka\n")
    values = {
        "predict": {
            "model": str(write_tagger(folder, ("O", "B-PER", "I-PER"))),
            "files": [str(folder / "text.txt")], "to": str(folder / "labelled"),
        },
        "resources": {"annotators": 1, "annotator_gpus": 1, "train_workers": 0},
        "store": {"root": str(folder / "store")},
    }  # fmt: skip
    flags = ["--workers", "1", "--gpus-per-worker", "2", "--timeline"]
    errors = folder / "errors"
    with errors.open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "cluster/local.py", *flags,
                "--", sys.executable, "-c", COMMAND, json.dumps(values),
            ],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    said, limit = dict[str, object](), Timer(600, process.terminate)
    limit.start()
    assert process.stdout is not None
    try:
        while "waits" not in said:
            line = process.stdout.readline()
            assert line, errors.read_text()  # it has ended
            if line.startswith("{"):
                said |= json.loads(line)
        limit.cancel()
        yield Started(process, said, errors, folder / "store")
    finally:
        limit.cancel()
        process.terminate()
        process.communicate(timeout=60)


def test_head_and_worker_are_up(local: Started) -> None:
    assert local.said["nodes"] == 2
    assert local.said["idle"] == {"workers": 1, "busy": 0, "gpus": 2.0, "gpus_used": 0.0}


def test_nobody_connects_with_another_token(local: Started) -> None:
    assert "AuthenticationError" in str(local.said["stranger"])


def test_every_port_is_on_loopback(local: Started) -> None:
    ours = list(descendants(local.process.pid))
    assert len(ours) > 4
    found = {address for pid in ours for address in listening(pid)}
    assert found
    assert found <= {"0100007F", "00000000000000000000000001000000", LOOPBACK_IN_6}


LOOPBACK_IN_6 = "0000000000000000FFFF00000100007F"
"""127.0.0.1 as the kernel writes it for a socket of IPv6."""


def listening(pid: int) -> Iterator[str]:
    """Local addresses, as the kernel writes them, of a process's listening TCP sockets."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                yield fields[1].partition(":")[0]


def test_a_gpu_on_which_nothing_computes_ends_the_run(local: Started) -> None:
    """The GPUs are only counted: what asked for one does not compute on a CPU instead."""
    told = local.errors.read_text()
    assert local.said["code"] == 3, told
    (line,) = (line for line in told.splitlines() if line.startswith("failed: "))
    assert "DeviceError: a GPU was asked for, and PyTorch says:" in line
    assert list(local.store.glob("artifacts/tokens/*/manifest.json"))
    assert not list(local.store.glob("artifacts/annotation/*/manifest.json"))


def test_a_command_runs_on_the_cluster_and_its_exit_code_is_returned(local: Started) -> None:
    """It runs until it ends by itself, and all that was started ends with it."""
    ours = [psutil.Process(pid) for pid in descendants(local.process.pid)]
    assert local.process.poll() is None
    local.process.communicate(timeout=120)
    told = local.errors.read_text()
    assert local.process.returncode == 7, told
    assert "address:   127.0.0.1:" in told
    assert "head + 1 workers, 0 busy  0 of 2 GPUs in use" in told
    assert psutil.wait_procs(ours, timeout=10)[1] == []
