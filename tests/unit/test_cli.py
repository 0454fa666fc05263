"""The command line: help, messages, exit codes."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import RayTaskError

from xlt_ray.commands.cli import Job, run_job
from xlt_ray.commands.sweep_config import configure as configure_sweep
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.toy import LANGUAGES
from xlt_ray.methods import METHODS
from xlt_ray.run.check import configure_run
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease

JOB: dict[str, Any] = {
    "benchmark": {"name": "toy", "max_rows": 6},
    "backbone": "toy",
    "method": {"name": "cltp", "rounds": 1},
    "resources": {"num_cpus": 2},
}


def call(capsys: pytest.CaptureFixture[str], store: Path, *flags: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a job."""
    code = run_job(JOB, "A job.", ["--set", f"store.root={store}", *flags])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_every_key_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_job(JOB, "A job.", ["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "A job." in text
    for flag in ("--config FILE", "--set KEY=VALUE", "--dry-run"):
        assert flag in text
    shown = dict(re.findall(r"^  ([a-z_.]+) +(\S+)", text, re.MULTILINE))
    assert shown["method.lambda"] == "4.0"
    assert shown["method.rounds"] == "1"
    assert shown["benchmark.unlabelled_split"] == "dev"
    assert shown["train.batch_size"] == "32"
    assert shown["seed"] == "0"


def test_a_dry_run_prints_the_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = call(capsys, tmp_path, "--dry-run")
    assert (code, err) == (DONE, "")
    for key in ("method.lambda: 4.0", "train.weight_decay: 0.0001", "train.dim_reduce: null"):
        assert f"\n{key}" in out
    for part in ("source train text", "round 1 selection", "final test scores", "to run"):
        assert part in out
    assert out.splitlines()[-1] == "missing: nothing"
    written = json.loads((tmp_path / "runs" / "cltp-toy-s0" / "resolved.json").read_text())
    assert written["method"]["lambda"] == 4.0
    assert written["store"]["root"] == str(tmp_path)


def test_a_dry_run_with_something_missing_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = call(capsys, tmp_path, "--dry-run", "--set", f"backbone={tmp_path}/none")
    assert code == BAD_CONFIG
    assert re.search(r"missing: backbone: '.*/none': no such folder", out)


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("method.name=magic", "method.name: unknown method 'magic'; allowed: bl_direct, "),
        ("benchmark.name=wikiwhat", "benchmark.name: unknown benchmark 'wikiwhat'; allowed: "),
        ("train.dim_reduce=8", "train.dim_reduce: 8, but toy is a token task"),
        (
            'method={"label": "top_k", "top_k": 7}',
            "method.top_k: 7, but has to be below the number of classes, 6 at most",
        ),
        (
            'benchmark.prior={"nolu": [1, 2]}',
            "benchmark.prior: nolu has 2 shares, toy has 7 classes: O, B-PER",
        ),
        ('benchmark.prior={"nolu": "even"}', "benchmark.prior.nolu"),
        ("train.batch_size=none", "train.batch_size: Input should be a valid integer"),
        ("nothing", "--set nothing: expected key=value"),
    ],
)
def test_a_bad_configuration_is_refused_before_anything_happens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, message: str, dry: bool
) -> None:
    code, out, err = call(capsys, tmp_path, *(["--dry-run"] if dry else []), "--set", flag)
    assert code == BAD_CONFIG
    assert err.startswith("error: ")
    assert message in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("benchmark.targets=xx", "no language 'xx' in toy"),
        ("benchmark.root=/nowhere", "toy is generated"),
        (f"benchmark.targets={LANGUAGES[0]}", "benchmark.targets: no language besides the source"),
        ("resources.annotators=99", "resources.annotators: asks for 99 of 1 CPUs"),
        ("resources.annotators=3,2", "must be 0, or 1 <= min <= max"),
        ("store.root=ftp2://x/y", "store.root 'ftp2://x/y'"),
    ],
)
def test_what_does_not_fit_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, message: str
) -> None:
    code, _, err = call(capsys, tmp_path, "--dry-run", "--set", flag)
    assert code == BAD_CONFIG
    assert message in err
    assert "Traceback" not in err


def test_a_missing_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = call(capsys, tmp_path, "--config", str(tmp_path / "none.yaml"))
    assert code == BAD_CONFIG
    assert f"--config {tmp_path}/none.yaml: cannot be read" in err


@pytest.mark.slow
def test_files_and_flags_reach_the_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("method: {rounds: 2}\nrun: {name: mine}\n")
    flags = ["--dry-run", "--config", str(path), "--set", "benchmark.max_rows.train=5"]
    code, out, _ = call(capsys, tmp_path, *flags)
    assert code == DONE
    assert "round 2 selection" in out
    assert (tmp_path / "runs" / "mine" / "resolved.json").exists()
    assert re.search(r"source train text +text +to run +5$", out, re.MULTILINE)


def test_a_run_that_another_driver_holds_can_be_started_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    lease = Lease(store, store.run_folder("cltp-toy-s0"), seconds=3.0)
    lease.acquire()
    try:
        code, _, err = call(capsys, tmp_path)
    finally:
        lease.release()
    assert code == RESUMABLE
    assert "another driver is at work on this run" in err


def wrapped(error: Exception) -> Exception:
    """As Ray raises it in the driver: of the class of its cause."""
    return RayTaskError("function", "Traceback ...\nValueError: torn", error).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("fr/train.txt:3: no such label"), BAD_CONFIG),
        (pa.ArrowInvalid("Parquet magic bytes not found"), RESUMABLE),
        (json.JSONDecodeError("torn", "{", 1), RESUMABLE),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "torn"), RESUMABLE),
        (OSError(28, "No space left on device"), RESUMABLE),
        (wrapped(ValueError("torn")), RESUMABLE),
    ],
)
def test_a_torn_file_is_not_a_wrong_configuration(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    """What it was is told in a line, and with its trace if that is asked for."""

    def fail(config: Any) -> None:
        raise error

    job = Job(configure_run, fail, fail, lambda defaults: [])  # type: ignore[arg-type]
    assert run_job(JOB, argv=[], job=job) == code
    err = capsys.readouterr().err
    assert err.startswith("error: " if code == BAD_CONFIG else "failed: ")
    assert "Traceback" not in err
    monkeypatch.setenv("XLT_DEBUG", "1")
    assert run_job(JOB, argv=[], job=job) == code
    traced = capsys.readouterr().err
    assert "in fail\n" in traced
    assert traced.endswith(err)


def test_an_unknown_benchmark_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"allowed: .*toy, .*wikiann"):
        configure_run({**JOB, "benchmark": {"name": "x"}})


def test_entity_f1_needs_entities() -> None:
    toy_pair = {**JOB, "benchmark": {"name": "toy_pair", "metric": "f1"}}
    with pytest.raises(ConfigError, match=r"benchmark.metric: f1 needs entities, toy_pair has"):
        configure_run(toy_pair)
    assert configure_run(JOB, flags=["benchmark.metric=macro_f1"]).benchmark.metric == "macro_f1"


def test_each_language_may_have_a_part_of_the_train_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first language has the first rows, the second the next ones."""
    options = ["benchmark.targets=nolu,teska", "benchmark.unlabelled_split=train"]
    sizes = ["benchmark.max_rows=null", 'benchmark.toy={"train": 25}', "benchmark.partition=10"]
    flags = [part for option in (*options, *sizes) for part in ("--set", option)]
    code, out, _ = call(capsys, tmp_path, "--dry-run", *flags)
    assert code == DONE
    assert re.search(r"source train text +text +to run +10\n", out)
    assert re.search(r"unlabelled text +text +to run +15\n", out), "10 of nolu, 5 left of teska"


def test_an_upper_bound_is_a_run_and_no_method(tmp_path: Path) -> None:
    bound = {"name": "iwda_oracle"}
    config = configure_run({**JOB, "method": bound, "store": {"root": str(tmp_path)}})
    assert config.run_name == "iwda_oracle-toy-s0"
    assert "iwda_oracle" not in METHODS
    with pytest.raises(ConfigError, match=r"method.name: unknown method 'iwda_oracle'"):
        configure_sweep(tmp_path, {**JOB, "method": bound, "sweep": {"keys": {"rho": [0, 1]}}})
