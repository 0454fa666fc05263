"""The command xlt-ray: what it lists, what it removes, what it completes."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.reports import example
from tests.unit.test_report_compare import comparison
from xlt_ray.commands import main as console
from xlt_ray.commands.store_commands import DAY
from xlt_ray.config.schema import StoreConfig
from xlt_ray.run import inventory as shelf
from xlt_ray.store.artifacts import Store

ROWS = {"rows": pa.table({"id": ["1"]})}


def old(path: Path) -> None:
    """Make a folder and what is in it two days old."""
    then = time.time() - 2 * DAY
    for item in (path, *path.rglob("*")):
        os.utime(item, (then, then))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished run, one that stopped, a comparison, and what nobody refers to."""
    found = Store(str(tmp_path / "store"))
    used = commit(found, "model", "used", ROWS)
    left = commit(found, "model", "left", ROWS)
    for name in ("unused", "young"):
        commit(found, "annotation", name, ROWS)
    found.attempt("annotation", "begun").write("part", b"12345")
    for name in ("done", "stopped"):
        folder = tmp_path / "store/runs" / name
        folder.mkdir(parents=True)
        info = {"rows": 1, "source_dev": 0.5}
        entry = {"step": 1, "title": "source", "kind": "model", "fingerprint": used.fingerprint,
                 "seconds": 2.5, "cached": False, "info": info}  # fmt: skip
        (folder / "ledger.jsonl").write_text(json.dumps(entry) + "\n")
        config = {"method": {"name": "cltp"}, "benchmark": {"name": "toy"}}
        (folder / "config.json").write_text(json.dumps(config))
        events = [{"event": "session", "time": 10.0}]
        if name == "done":
            events.append({"event": "done", "time": 20.0})
            report = {**example().to_json(), "config": config}
            (folder / "report.json").write_text(json.dumps(report))
            entry = {"kind": "model", "fingerprint": left.fingerprint, "folder": "x"}
            models = {"final": entry, "by_language": {}, "zero_shot": {"final": entry}}
            (folder / "models.json").write_text(json.dumps(models))
        lines = "".join(json.dumps(event) + "\n" for event in events)
        (folder / "events.jsonl").write_text(lines + "{torn")
    folder = tmp_path / "store/runs/both"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"compare": {}, "benchmark": {"name": "toy"}}))
    (folder / "compare.json").write_text(json.dumps(comparison().to_json()))
    for path in (tmp_path / "store/artifacts").glob("*/*"):
        if path.name != "young":
            old(path)
    return found


def test_runs_are_listed_with_their_state(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = {run.name: run for run in shelf.runs(store)}
    assert {name: run.state for name, run in found.items()} == {
        "done": "done", "stopped": "stopped", "both": "done",
    }  # fmt: skip
    assert (found["done"].method, found["done"].steps) == ("cltp", 1)
    assert found["done"].average == pytest.approx(example().average)
    assert found["both"].kind == "comparison"
    assert shelf.runs(store)[0].name == "done"
    assert console.main(["runs", "--store", store.root]) == 0
    shown = capsys.readouterr().out
    assert "stopped" in shown
    assert "comparison" in shown
    assert console.main(["runs", "done", "--store", store.root]) == 0
    assert "source dev 50.00" in capsys.readouterr().out


def test_what_a_dry_run_left_is_a_plan(store: Store) -> None:
    folder = Path(store.root) / "runs/plan"
    folder.mkdir()
    (folder / "resolved.json").write_text("{}")
    assert {run.name: run.state for run in shelf.runs(store)}["plan"] == "planned"


def test_a_run_at_work_is_told_by_its_lease(store: Store) -> None:
    lease = Path(store.root) / "runs/stopped/lease.json"
    lease.write_text(json.dumps({"renewed": time.time()}))
    assert {run.name: run.state for run in shelf.runs(store)}["stopped"] == "at work"
    lease.write_text(json.dumps({"renewed": time.time() - 100}))
    assert {run.name: run.state for run in shelf.runs(store)}["stopped"] == "stopped"


def test_what_no_run_refers_to_is_listed_and_then_removed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {Path(item.path).name.partition(".")[0] for item in shelf.unused(store, older=DAY)}
    assert names == {"unused", "begun"}
    artifacts = Path(store.root) / "artifacts"
    before = sorted(artifacts.rglob("*"))
    assert console.main(["gc", "--store", store.root]) == 0
    assert "2 folders" in (shown := capsys.readouterr().out)
    assert "--delete removes them" in shown
    assert sorted(artifacts.rglob("*")) == before
    assert console.main(["gc", "--delete", "--store", store.root]) == 0
    assert {path.name for path in artifacts.glob("*/*")} == {"used", "left", "young"}
    assert console.main(["gc", "--days", "0", "--delete", "--store", store.root]) == 0
    assert {path.name for path in artifacts.glob("*/*")} == {"used", "left"}
    assert store.find("model", "used") is not None


def test_a_run_that_was_taken_up_again_keeps_what_it_had_reached(store: Store) -> None:
    """Its ledger has the first step again, and what it names later is in its history alone."""
    events = Path(store.root) / "runs/stopped/events.jsonl"
    step = {"event": "finished", "kind": "annotation", "fingerprint": "unused", "time": 11.0}
    session = {"event": "session", "time": 12.0}
    events.write_text(json.dumps(step) + "\n" + json.dumps(session) + "\n")
    found = [Path(item.path).name for item in shelf.unused(store, older=DAY)]
    assert not [name for name in found if "unused" in name]
    done = {"event": "done", "time": 13.0}
    events.write_text("".join(json.dumps(x) + "\n" for x in (step, session, done)))
    found = [Path(item.path).name for item in shelf.unused(store, older=DAY)]
    assert [name for name in found if "unused" in name]
    assert {run.name: run.state for run in shelf.runs(store)}["stopped"] == "done"


def test_an_old_page_of_a_run_with_other_settings_is_not_made_anew(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(store.root) / "runs/done/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 7}))
    assert console.main(["report", "done", "--store", store.root]) == 2
    assert "was started again with another configuration" in capsys.readouterr().err


def test_pages_are_made_anew(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for name, page in (("done", "report.html"), ("both", "compare.html")):
        assert console.main(["report", name, "--store", store.root]) == 0
        path = Path(capsys.readouterr().out.strip())
        assert path.name == page
        assert path.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["runs", "none"], "error: no run 'none' in "),
        (["report", "none"], "error: no run 'none' in "),
        (
            ["report", "stopped"],
            "error: run 'stopped' is not finished; its steps: xlt-ray",
        ),
    ],
)
def test_what_is_wrong_is_told(
    store: Store, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.main([*words, "--store", store.root]) == 2
    assert capsys.readouterr().err.startswith(reason)


@pytest.mark.parametrize("name", list(console.JOBS))
def test_jobs_take_their_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        console.main([name, "--help"])
    shown = capsys.readouterr().out
    assert "--dry-run" in shown
    assert "store.root" in shown


def test_a_bad_key_of_a_job_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["predict", "--set", "predict.modle=x"]) == 2
    assert "predict.modle: unknown key" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        console.main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert "predict" in script
    if (program := shutil.which(shell)) and shell != "tcsh":
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_keys_are_listed_for_shells(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["keys"]) == 0
    lines = capsys.readouterr().out.split()
    known: set[Any] = {"benchmark.root=", "files.paths=", "method.lambda=", "predict.model=",
                       "export.to=", "sweep.trials=", "compare.seeds="}  # fmt: skip
    assert known <= set(lines)
    assert all(line.endswith("=") for line in lines)


@pytest.mark.slow
def test_a_reader_may_stop_early() -> None:
    """As `xlt-ray keys | head -1` does; there is more than a pipe holds."""
    with subprocess.Popen(
        [sys.executable, "-c",
         "import sys; from xlt_ray.commands import main, store_commands\n"
         "store_commands.keys = lambda flags: [print('x' * 99) for _ in range(9999)] and 0\n"
         "sys.exit(main.main(['keys']))"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_help_needs_no_library() -> None:
    """It is there at once: what carries commands out is imported by them."""
    code = "import sys; from xlt_ray.commands.main import parser; parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pydantic", "pyarrow", "numpy", "torch", "ray", "rich", "yaml"}


def test_the_place_of_a_store_is_that_of_the_configuration() -> None:
    assert StoreConfig().root == console.ROOT
