"""Commands that look at a store whose JSON files are not what a run writes.

Each ends with what it found or with a line about what it could not read, and never with a trace.
"""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.faults import mutated, spoilt
from tests.reports import example
from tests.unit.test_report_compare import comparison
from xlt_ray.commands import main as console
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE
from xlt_ray.store.artifacts import Store

pytestmark = pytest.mark.slow

FILES = (
    "artifacts/model/used/manifest.json",
    "runs/done/config.json",
    "runs/done/report.json",
    "runs/done/ledger.jsonl",
    "runs/done/events.jsonl",
    "runs/done/lease.json",
    "runs/done/models.json",
    "runs/both/config.json",
    "runs/both/compare.json",
    "runs/both/sweep.json",
)
COMMANDS = (["runs"], ["runs", "done"], ["report", "done"], ["report", "both"],
            ["gc"], ["gc", "--days", "0"])  # fmt: skip
CASES = 18
LONGEST, MOST_LINES = 1000, 3
"""Of what is told about a file that cannot be read."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished run, a comparison and a model."""
    found = Store(str(tmp_path / "store"))
    used = commit(found, "model", "used", {"rows": pa.table({"id": ["1"]})})
    config = {"method": {"name": "cltp"}, "benchmark": {"name": "toy"}}
    entry = {"step": 1, "title": "source", "kind": "model", "fingerprint": used.fingerprint,
             "seconds": 2.5, "cached": False, "inputs": [],
             "info": {"rows": 1, "source_dev": 0.5}}  # fmt: skip
    events = [{"event": "session", "time": 10.0}, {"event": "done", "time": 20.0}]
    model = {"kind": "model", "fingerprint": used.fingerprint, "folder": "artifacts/model/used"}
    contents = {
        "done/config.json": [config],
        "done/report.json": [{**example().to_json(), "config": config}],
        "done/ledger.jsonl": [entry, {**entry, "step": 2}],
        "done/events.jsonl": events,
        "done/lease.json": [{"owner": "x", "host": "y", "pid": 1, "seconds": 30.0, "renewed": 1.0}],
        "done/models.json": [{"config": config, "knows_targets": False, "final": model,
                              "by_language": {}, "zero_shot": {"final": model,
                                                               "by_language": {}}}],
        "both/config.json": [{"compare": {}, "benchmark": {"name": "toy"}}],
        "both/compare.json": [comparison().to_json()],
        "both/sweep.json": [{"name": "both", "keys": [], "scopes": [], "seconds": 1.0,
                             "config": {}}],
    }  # fmt: skip
    for name, values in contents.items():
        path = tmp_path / "store/runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_faults(store: Store, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are wrong, and JSON of which one part is another one."""
    path, rng = Path(store.base, name), random.Random(name)
    whole = path.read_bytes()
    values = [json.loads(line) for line in whole.splitlines()] if name.endswith("l") else None
    for number in range(CASES):
        if number % 2:
            data = mutated(whole, rng)
        elif values is None:
            data = json.dumps(spoilt(json.loads(whole), rng)).encode()
        else:
            lines = (json.dumps(spoilt(value, rng)) for value in values)
            data = "\n".join(lines).encode()
        path.write_bytes(data)
        for words in COMMANDS:
            try:
                code = console.main([*words, "--store", store.root])
            except Exception as error:
                raise AssertionError(f"{name}, case {number}: {words}, {data[:300]!r}") from error
            told = capsys.readouterr().err.splitlines()
            assert code in (DONE, BAD_CONFIG), (number, words)
            assert len(told) <= MOST_LINES, (number, words, told)
            assert max(map(len, told), default=0) < LONGEST, (number, words)
            assert code == DONE or told, (number, words)
    path.write_bytes(whole)
    assert [console.main([*words, "--store", store.root]) for words in COMMANDS] == [0] * 6


def test_a_file_that_is_a_folder(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(store.base, "runs/done/report.json")
    path.unlink()
    path.mkdir()
    for words in COMMANDS:
        code = console.main([*words, "--store", store.root])
        assert code in (
            DONE,
            BAD_CONFIG,
            RESUMABLE,
        )  # the last: the system said no
        assert len(capsys.readouterr().err.splitlines()) <= MOST_LINES
