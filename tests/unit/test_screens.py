"""Looks at a store with files that are not what they should be: a line that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.test_main import store
from xlt_ray.commands import main as console
from xlt_ray.run import inventory as shelf
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

__all__ = ["store"]

Shown = pytest.CaptureFixture[str]
ODD = [b"[1, 2]", b"3", b"null", b'"text"', b"{torn", b"\xff\xfe", b"[" * 100_000]
FILES = ["config.json", "report.json", "models.json", "lease.json"]
LINES = ["ledger.jsonl", "events.jsonl"]


def lines_of(shown: Shown) -> list[str]:
    """What was said of an error: one line."""
    said = shown.readouterr().err.splitlines()
    assert not [line for line in said if "Traceback" in line]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES + LINES)
@pytest.mark.parametrize("content", ODD, ids=lambda x: repr(x[:6]))
def test_a_run_that_cannot_be_read_is_listed_as_such(
    store: Store, name: str, content: bytes, capsys: Shown
) -> None:
    path = Path(store.root) / "runs/done" / name
    path.write_bytes(content + b"\n")
    assert console.main(["runs", "--store", store.root]) == 0
    shown = capsys.readouterr()
    states = {run.name: run.state for run in shelf.runs(store)}
    assert states["stopped"] == "stopped"
    if name != "models.json":  # which a list does not need
        assert states["done"] == "unreadable"
        assert "unreadable" in shown.out
        assert str(path) in shown.out.replace("\n", "")


WRONG = {
    "ledger.jsonl": [{"step": 1}, {"step": "x", "title": "a", "kind": "b", "fingerprint": "c",
                                   "seconds": 1, "cached": True, "info": {}},
                     {"step": 1, "title": "a", "kind": "b", "fingerprint": 5,
                      "seconds": 1, "cached": True, "info": {}},
                     {"step": 1, "title": "a", "kind": "b", "fingerprint": "c",
                      "seconds": 1, "cached": True, "info": {"source_dev": "high"}}],
    "events.jsonl": [{"time": 1.0}, {"event": "done"}, {"event": "done", "time": "now"},
                     {"event": "done", "time": 1e300}, {"event": 4, "time": 1.0},
                     {"event": "finished", "time": 1.0, "kind": ["x"], "fingerprint": "y"},
                     {"event": "session", "time": 1.0, "resources": {"annotators": 2}}],
    "lease.json": [{"renewed": "yesterday"}, {"pid": "x"}],
    "config.json": [{"method": 3}, {"method": {"name": ["x"]}}, {"benchmark": []}],
    "report.json": [{"average": "high", "config": {}}, {"average": 0.5}],
}  # fmt: skip
CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), CASES)
def test_so_is_one_with_values_of_another_kind(
    store: Store, name: str, value: Any, capsys: Shown
) -> None:
    path = Path(store.root) / "runs/done" / name
    path.write_text(json.dumps(value) + "\n")
    assert console.main(["runs", "--store", store.root]) == 0
    assert {run.name: run.state for run in shelf.runs(store)}["done"] == "unreadable"
    if name in LINES:
        capsys.readouterr()
        code = console.main(["runs", "done", "--store", store.root])
        assert code == (2 if name == "ledger.jsonl" else 0)
        assert code == 0 or str(path) in lines_of(capsys)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [*((name, x.decode("latin-1")) for name in LINES for x in ODD),
     *((name, x.decode("latin-1")) for name in ("report.json", "config.json") for x in ODD[:6]),
     *((name, json.dumps(value)) for name, value in CASES if name in LINES),
     ("report.json", '{"average": 0.5}')],
)  # fmt: skip
def test_a_page_of_such_a_run_is_not_made(
    store: Store, name: str, content: str, capsys: Shown
) -> None:
    path = Path(store.root) / "runs/done" / name
    path.write_text(content + "\n", encoding="latin-1")
    assert console.main(["report", "done", "--store", store.root]) == 2
    (line,) = lines_of(capsys)
    assert line.startswith("error: ")
    assert str(path) in line


def test_nor_one_of_a_report_whose_parts_do_not_fit(store: Store, capsys: Shown) -> None:
    path = Path(store.root) / "runs/done/report.json"
    report = json.loads(path.read_text())
    config = Path(store.root) / "runs/done/config.json"
    for key, value in {"final": {"de": {}}, "rounds": [3], "targets": None, "steps": [{}],
                       "extra": 1}.items():  # fmt: skip
        path.write_text(json.dumps({**report, key: value}))
        assert json.loads(config.read_text()) == report["config"]
        assert console.main(["report", "done", "--store", store.root]) == 2
        (line,) = lines_of(capsys)
        assert str(path) in line
    compare = Path(store.root) / "runs/both/compare.json"
    for content in ("[]", '{"rows": 3}', '{"name": "x", "rows": [], "published": []}'):
        compare.write_text(content)
        assert console.main(["report", "both", "--store", store.root]) == 2
        (line,) = lines_of(capsys)
        assert str(compare) in line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ledger.jsonl", "events.jsonl", "models.json"])
@pytest.mark.parametrize("run", ["done", "stopped"])
@pytest.mark.parametrize("content", [*ODD, b'{"kind": "model"}', b"folder"],
                         ids=lambda x: repr(x[:6]))  # fmt: skip
def test_nothing_is_removed_that_an_unreadable_file_may_refer_to(
    store: Store, name: str, run: str, content: bytes, capsys: Shown
) -> None:
    path = Path(store.root) / "runs" / run / name
    if content == b"folder":
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_bytes(content + b"\n")
    before = sorted((Path(store.root) / "artifacts").rglob("*"))
    for more in ([], ["--delete"], ["--delete", "--days", "0"]):
        assert console.main(["gc", *more, "--store", store.root]) in (2, 3)
        (line,) = lines_of(capsys)
        assert str(path) in line
        assert "nothing is removed" in line
    assert sorted((Path(store.root) / "artifacts").rglob("*")) == before


def test_a_ledger_that_ends_in_the_middle_of_a_line_may_refer_to_anything(
    store: Store, capsys: Shown
) -> None:
    path = Path(store.root) / "runs/done/ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "annotation", "finger')
    assert console.main(["gc", "--delete", "--store", store.root]) == 2
    assert "nothing is removed" in lines_of(capsys)[0]
    assert console.main(["runs", "done", "--store", store.root]) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["kind", "fingerprint", "event", "time", "name", "method",
                                       "benchmark", "final", "info", "config", "step", "title",
                                       "seconds", "cached", "average", "zero_shot", "x"]),
                      inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([*FILES, *LINES, "compare.json", "sweep.json"]), VALUES)
def test_no_value_ends_in_a_trace(store: Store, name: str, value: Any) -> None:
    path = Path(store.root) / "runs/stopped" / name
    before = path.read_bytes() if path.exists() else None
    path.write_text(json.dumps(value) + "\n")
    try:
        for words in (["runs"], ["runs", "stopped"], ["report", "stopped"], ["gc"]):
            assert console.main([*words, "--store", store.root]) in (0, 2)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def test_names_are_shown_as_they_are(store: Store, capsys: Shown) -> None:
    path = Path(store.root) / "runs/done/config.json"
    path.write_text(json.dumps({"method": {"name": "[/x]"}, "benchmark": {"name": "[bold]b"}}))
    assert console.main(["runs", "--store", store.root]) == 0
    shown = capsys.readouterr().out
    assert "[/x]" in shown
    assert "[bold]b" in shown


@pytest.mark.parametrize("words", [["runs"], ["runs", "x"], ["report", "x"], ["gc"],
                                   ["gc", "--delete"]])  # fmt: skip
@pytest.mark.parametrize("exists", [False, True])
def test_a_look_makes_no_store(
    tmp_path: Path, words: list[str], exists: bool, capsys: Shown
) -> None:
    typo = tmp_path / "typo"
    if exists:
        typo.mkdir()
    assert console.main([*words, "--store", str(typo)]) == 2
    (line,) = lines_of(capsys)
    assert line == f"error: no store at {typo}"
    assert typo.exists() == exists
    assert not exists or not list(typo.iterdir())


def test_a_look_makes_no_folder_in_one(store: Store) -> None:
    before = sorted(Path(store.root).rglob("*"))
    for words in (["runs"], ["runs", "none"], ["report", "none"], ["gc"]):
        console.main([*words, "--store", store.root])
    assert sorted(Path(store.root).rglob("*")) == before


@pytest.mark.parametrize(
    ("job", "keys"),
    [("predict", {"predict.model": "run", "predict.files": "a.txt", "predict.to": "b"}),
     ("export", {"export.run": "run", "export.to": "b"})],
)  # fmt: skip
def test_jobs_that_use_a_run_make_no_store_either(
    tmp_path: Path, job: str, keys: dict[str, str], capsys: Shown
) -> None:
    typo = tmp_path / "typo"
    sets = [x for key, value in {**keys, "store.root": str(typo)}.items()
            for x in ("--set", f"{key}={value}")]  # fmt: skip
    assert console.main([job, *sets]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert not typo.exists()


@pytest.mark.parametrize("content", [*ODD, b'{"seconds": "x"}', b'{"pid": -1, "seconds": -5}'],
                         ids=lambda x: repr(x[:6]))  # fmt: skip
def test_an_odd_lease_is_watched_and_taken_over(tmp_path: Path, content: bytes) -> None:
    store = Store(str(tmp_path))
    folder = RunFolder(store, "run")
    Path(folder.path, "lease.json").write_bytes(content)
    lease = Lease(store, folder.path, seconds=0.4)
    lease.acquire()
    lease.check()
    lease.release()
