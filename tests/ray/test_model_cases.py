"""Odd things that people do with a model: each is done rightly, or refused by its name.

`python -m tests.ray.test_model_cases CASES ENCODER` prints a table, with the cases of files.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.csv as pa_csv
import pytest

import xlt_ray
from tests.unit.test_cases import CASES
from xlt_ray.commands import main as console

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.shared]

ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    "method.source_epochs=1", "method.source_lr=1e-3", "resources.annotators=0",
    "resources.train_workers=0", "resources.train_cpus=1", "files.dev_share=0.2",
]  # fmt: skip
Check = Callable[["Trained", Path], str]
"""Sees to a case, given trained models and its folder; says what came of it."""


class Done(NamedTuple):
    """A command that has ended: its exit code, what it printed, and its peak memory in KiB."""

    returncode: int
    stdout: str
    stderr: str
    peak: int


class Trained:
    """Runs on the files that every case starts from."""

    def __init__(self, cases: Path, encoder: Path, folder: Path):
        self.cases, self.encoder, self.folder = cases, encoder, folder
        assert self.run("tagger", "method.name=bl_direct").returncode == 0

    def run(self, name: str, *keys: str) -> Done:
        """A run on labelled English and raw text."""
        baseline = self.cases / "baseline"
        return self.command(
            "run", f"run.name={name}", f"backbone={self.encoder}", *SHORT, *keys,
            f"files.paths.en.train={baseline}/train.conll",
            f"files.paths.xx.unlabelled={baseline}/raw.txt",
        )  # fmt: skip

    def command(self, name: str, *keys: str) -> Done:
        """A command, with keys."""
        out, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            code = console.main(self.words(name, *keys))
        return Done(code, out.getvalue(), told.getvalue(), 0)

    def process(self, name: str, *keys: str) -> Done:
        """The same in a process of its own, whose memory is looked at."""
        words = [sys.executable, "-m", "xlt_ray.commands.main", *self.words(name, *keys)]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
            process = subprocess.Popen(words, stdout=out, stderr=told, text=True, cwd=ROOT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            for stream in (out, told):
                stream.seek(0)
            return Done(process.returncode, out.read(), told.read(), usage.ru_maxrss)

    def words(self, name: str, *keys: str) -> list[str]:
        """A command of the shell."""
        every = (f"store.root={self.folder}/store", *keys)
        return [name, *(word for key in every for word in ("--set", key))]

    def predict(self, file: Path, to: str, *keys: str, alone: bool = False) -> Done:
        """Predictions of a file by the tagger."""
        call = self.process if alone else self.command
        return call(
            "predict", "predict.model=tagger", f"predict.files={file}",
            f"predict.to={self.folder}/{to}", "resources.annotators=0", *keys,
        )  # fmt: skip


def _diverges(trained: Trained, folder: Path) -> str:
    done = trained.run("diverged", "method.name=bl_direct", "method.source_lr=1e30")
    assert done.returncode == 2, done.stdout
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert re.search(r"diverged: .* of step \d+, at a learning rate of [\d.]+e\+29", line)
    return f"refused: {line}"


def _no_stock_model(trained: Trained, folder: Path) -> str:
    done = trained.run("spans", "method.name=maral", "method.epochs=1", "method.warmup=1",
                       "method.k=5", "method.q=4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    to = trained.folder / "exported"
    done = trained.command("export", "export.run=spans", "export.language=xx", f"export.to={to}")
    assert done.returncode == 0, done.stderr
    (line,) = [x for x in done.stdout.splitlines() if "no stock model" in x]
    assert "pipeline_tag" not in (to / "README.md").read_text()
    return line


def _keeps_columns(trained: Trained, folder: Path) -> str:
    done = trained.predict(folder / "r.csv", "csv")
    assert done.returncode == 0, done.stderr
    given = pa_csv.read_csv(folder / "r.csv")
    found = pa_csv.read_csv(trained.folder / "csv/r.csv")
    assert found.column_names[: given.num_columns] == given.column_names
    assert found.select(given.column_names) == given
    return f"columns: {', '.join(found.column_names)}"


def _has_offsets(trained: Trained, folder: Path) -> str:
    done = trained.predict(folder / "r.txt", "raw")
    assert done.returncode == 0, done.stderr
    lines = (folder / "r.txt").read_text().rstrip("\n").split("\n")  # a word may end lines, too
    told = (trained.folder / "raw/r.jsonl").read_text().rstrip("\n").split("\n")
    rows = [json.loads(line) for line in told]
    assert [row["text"] for row in rows if row["text"].strip()] == [x for x in lines if x.strip()]
    model = xlt_ray.load("tagger", store=f"{trained.folder}/store")
    for row in rows:
        if row["text"].strip():
            spans = model.predict(row["text"]).spans
            assert [(x.label, x.start, x.end) for x in spans] == [
                (x["label"], x["start"], x["end"]) for x in row["spans"]
            ]
    words = [word for x in lines if x.strip() for word in model.predict(x).words]
    longest = max(map(len, words))
    assert longest < 20
    return f"{len(rows)} lines with spans by characters; longest word {longest} characters"


def _says_why(trained: Trained, folder: Path) -> str:
    done = trained.predict(folder / "r.csv", "wrong")
    assert done.returncode == 2
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert "none of 90 rows could be read" in line
    assert not (trained.folder / "wrong").exists() or not list((trained.folder / "wrong").iterdir())
    return f"refused: {line.replace(str(folder), '')}"


def _keeps_to_the_budget(trained: Trained, folder: Path) -> str:
    words, peaks = ["Lena", "moved", "to", "Casto", ","] * 10_000, dict[int, int]()
    for number in (1000, 1):
        size = len(words) // number
        text = trained.folder / f"lines-{number}.txt"
        parts = [words[at : at + size] for at in range(0, len(words), size)]
        text.write_text("".join(" ".join(part) + "\n" for part in parts))
        done = trained.predict(text, f"lines-{number}", "predict.format=conll", alone=True)
        assert done.returncode == 0, done.stderr
        told = (trained.folder / f"lines-{number}/lines-{number}.conll").read_text()
        assert sum(bool(line) for line in told.splitlines()) == len(words)
        peaks[number] = done.peak
    assert peaks[1] < 1.3 * peaks[1000]  # with its features held whole it was 1.44
    return f"{len(words):,} words in one line take {peaks[1] / peaks[1000]:.2f} of the memory"


MODEL_CASES: dict[str, Check] = {
    "huge-line": _keeps_to_the_budget,
    "maral-export": _no_stock_model,
    "nan": _diverges,
    "pred-csvtoken": _keeps_columns,
    "pred-raw": _has_offsets,
    "pred-wrongcol": _says_why,
}
"""Cases that take a trained model."""


@pytest.fixture(scope="module")
def trained(shared: Path, shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(shared / "cases", shared_model, tmp_path_factory.mktemp("cases"))


# That long rows keep to the budget is seen in test_inference and test_span_tagger, too.
@pytest.mark.parametrize(
    "name",
    [
        *(x for x in MODEL_CASES if x != "huge-line"),
        pytest.param("huge-line", marks=pytest.mark.long),
    ],
)
def test_a_case_of_a_model_has_its_outcome(name: str, trained: Trained) -> None:
    assert MODEL_CASES[name](trained, trained.cases / name)


def test_every_case_is_seen_to(shared: Path) -> None:
    there = {path.name for path in (shared / "cases").iterdir() if path.is_dir()}
    assert there == {*CASES, *MODEL_CASES}


def table(cases: Path, encoder: Path) -> list[str]:
    """The outcome of every case, as the lines of a table."""
    with tempfile.TemporaryDirectory() as folder:
        trained = Trained(cases, encoder, Path(folder))
        found = {name: check(cases / name, encoder) for name, check in CASES.items()}
        found |= {name: check(trained, cases / name) for name, check in MODEL_CASES.items()}
    rows = [f"| {name} | {outcome} |" for name, outcome in sorted(found.items())]
    return ["| Case | Outcome |", "|:--|:--|", *rows]


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]), Path(sys.argv[2]))))
