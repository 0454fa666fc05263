"""Jobs submitted to a cluster with a token: what is uploaded, exit codes, logs, stop and resume."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.job_submission import JobStatus, JobSubmissionClient

from tests.encoders import write_encoder
from tests.nodes import Cluster
from tests.world import SOURCE, TARGETS, World, write_corpus
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
JOB = "python jobs/cltp_wikiann.py"
SCRIPT = """
import ray
import xlt_ray

run = xlt_ray.self_train(
    method="bl_direct", name="submitted", store={store!r}, backbone={backbone!r},
    source={{"mira": {corpus!r} + "/mira/train.txt"}},
    unlabelled={{"nolu": ["one sentence", "and another"]}},
    test={{"nolu": {corpus!r} + "/nolu/test.txt"}},
    source_epochs=1, source_lr=4e-3, train={{"max_length": 48}},
    resources={{"train_workers": 0, "train_cpus": 1, "annotators": 0}},
)
print("scores:", sorted(run.scores["nolu"]))
place = ray.remote(lambda: __import__("xlt_ray").__file__)
print("places:", xlt_ray.__file__, ray.get(place.remote()))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head of its own, as ``ray start --head`` makes it."""
    made = Cluster(cpus=4, dashboard=True)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> JobSubmissionClient:
    """What asks it to run jobs."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return JobSubmissionClient(f"http://127.0.0.1:{cluster.dashboard}")
        except ConnectionError:
            assert time.monotonic() < deadline, cluster.log.read_text()
            time.sleep(0.5)


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    """The configuration of a small run, that takes a while to train."""
    values = world.values(tmp_path / "store")
    values["method"] |= {"rounds": 1, "one_hot_rounds": 0, "source_epochs": 12}
    del values["resources"]["num_cpus"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(values))))
    return path


def submit(client: JobSubmissionClient, command: str) -> str:
    return client.submit_job(entrypoint=command, runtime_env={"working_dir": str(ROOT)})


def wait(client: JobSubmissionClient, job: str, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not seen():
        assert time.monotonic() < deadline, client.get_job_logs(job)
        time.sleep(0.2)


def info(client: JobSubmissionClient, job: str) -> Any:
    """What is known of a job."""
    return client.get_job_info(job)


def end(client: JobSubmissionClient, job: str) -> tuple[int | None, str]:
    """Exit code and logs of a job that has ended."""
    wait(client, job, lambda: client.get_job_status(job).is_terminal())
    return info(client, job).driver_exit_code, client.get_job_logs(job)


def events(config: Path) -> list[dict]:
    path = config.parent / "store/runs/test/events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_script_and_a_wrong_configuration(
    cluster: Cluster, client: JobSubmissionClient, tmp_path: Path
):
    """Ten lines with the Python door, then a job of the repository, on the cluster.

    By the command line, whose own exit code is 1 for all failures. The package comes with the
    working directory, to the driver and to workers.
    """
    assert (SOURCE, TARGETS[0]) == ("mira", "nolu")
    corpus = write_corpus(tmp_path / "corpus", sizes={"train": 40, "dev": 20, "test": 20})
    names = {
        "store": f"{tmp_path}/store", "corpus": str(corpus),
        "backbone": str(write_encoder(tmp_path / "encoder")),
    }  # fmt: skip
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(**names))
    wrong = f"{JOB} --set method.tau=1 --set store.root={tmp_path}"
    command = f"python {script} && {wrong}"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ray")), "job", "submit",
            "--address", f"http://127.0.0.1:{cluster.dashboard}", "--working-dir", str(ROOT),
            "--submission-id", "both", "--", "sh", "-c", command,
        ],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    logs = client.get_job_logs("both")
    assert info(client, "both").driver_exit_code == 2, logs
    (begun, *told, scores, places, ours) = (
        line for line in logs.splitlines() if "INFO job_manager.py" not in line
    )
    assert begun.startswith("Running entrypoint for job both: ")
    assert scores == "scores: ['f1', 'support', 'zero_shot']", logs
    assert (tmp_path / "store/runs/submitted/report.html").is_file()
    files = places.removeprefix("places: ").split()
    assert len(files) == 2
    assert all("working_dir_files" in file for file in files), files
    assert ours.startswith("error: method.tau: "), ours
    assert not [line for line in told if line.startswith("error")], told
    assert "Traceback" not in done.stdout + done.stderr + logs


@pytest.mark.long
def test_a_run_that_another_driver_has_is_3(client: JobSubmissionClient, config: Path):
    store = Store(str(config.parent / "store"))
    lease = Lease(store, store.run_folder("test"))
    lease.acquire()
    try:
        code, logs = end(client, submit(client, f"{JOB} --config {config}"))
    finally:
        lease.release()
    assert code == 3
    assert f"error: another driver is at work on this run: process {os.getpid()}" in logs
    assert "Traceback" not in logs


@pytest.mark.long
def test_a_job_is_stopped_and_submitted_again(client: JobSubmissionClient, config: Path):
    first = submit(client, f"{JOB} --config {config}")
    wait(client, first, lambda: any(e.get("title") == "source" for e in events(config)))
    client.stop_job(first)
    code, logs = end(client, first)
    assert client.get_job_status(first) == JobStatus.STOPPED, logs
    assert code is None
    assert "interrupted; the same command goes on from here" in logs
    assert "Traceback" not in logs
    assert not (config.parent / "store/runs/test/lease.json").exists()

    code, logs = end(client, submit(client, f"{JOB} --config {config}"))
    assert code == 0, logs
    assert "average of 2 targets" in logs
    assert not {"\r", "\x1b"} & set(logs)
    assert "Traceback" not in logs
    computed = [e["title"] for e in events(config) if e["event"] == "finished" and not e["cached"]]
    assert len(computed) == len(set(computed)), "a finished step was computed again"
    assert (config.parent / "store/runs/test/report.md").exists()


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_without_the_token_nobody_gets_in(
    cluster: Cluster, client: JobSubmissionClient, token: str | None
):
    """To the job server, by HTTP, as ``ray job submit`` asks it."""
    body = json.dumps({"entrypoint": "python --version", "submission_id": "stranger"})
    request = urllib.request.Request(
        f"http://127.0.0.1:{cluster.dashboard}/api/jobs/", body.encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=60)
    raised.value.close()
    assert raised.value.code == (401 if token is None else 403)
    assert "stranger" not in {info.submission_id for info in client.list_jobs() if info}
