"""Labelling a large corpus by a job that is killed again and again: rows, order, time, memory.

Toy sentences in files of every format are labelled by `jobs/predict.py`, with a model whose head is
random. The job is killed, with all processes of its Ray, while it reads, tokenises, labels twice
and writes; the same command is started again each time. Then every row of what was written is
compared with its input, in order.

    python -m benchmarks.predictions [--rows 1000000] [--pause 20] [--set KEY=VALUE]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from benchmarks.measure import Watch, title
from benchmarks.setting import small_backbone
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, unlabelled_text
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ("txt", "jsonl", "parquet", "conll")
KILLS = ("text", "tokens", "annotation", "annotation", "writing")
"""What the job is at when it is killed, one session each."""


@dataclass(frozen=True)
class Session:
    """One start of the job.

    Attributes:
        killed: What it was at when it was killed; None: it came to its end.
        seconds: From its start to its end.
        driver_mb: Most memory of the driver.
        others_mb: Most memory of the processes below it, without what they share.
    """

    killed: str | None
    seconds: float
    driver_mb: float
    others_mb: float


def write_model(folder: Path) -> Path:
    """A small encoder with the labels of the embedded benchmark and a random head."""
    backbone, names = small_backbone(folder / "backbone"), LABELS["ner"]
    torch.manual_seed(0)
    classes = {"id2label": dict(enumerate(names)), "num_labels": len(names)}
    model = AutoModelForTokenClassification.from_pretrained(
        backbone, **classes, trust_remote_code=False
    )
    model.save_pretrained(folder / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def write_text(folder: Path, rows: int) -> int:
    """Toy sentences, two files of each format; gives how many."""
    each, count = rows // (2 * len(FORMATS)), 0
    for number in range(2 * len(FORMATS)):
        kind = FORMATS[number % len(FORMATS)]
        language = LANGUAGES[1 + number % (len(LANGUAGES) - 1)]
        seed = {"seed": number}
        text = [list(words) for words in unlabelled_text(language, size=each, options=seed)]
        path = folder / f"{number}-{language}.{kind}"
        if kind == "parquet":
            pq.write_table(pa.table({"tokens": text}), path)
        else:
            path.write_text("".join(_line(words, kind) for words in text), encoding="utf-8")
        count += len(text)
    return count


def _line(words: Sequence[str], kind: str) -> str:
    if kind == "jsonl":
        return json.dumps({"tokens": words}) + "\n"
    return " ".join(words) + "\n" if kind == "txt" else "\n".join([*words, "", ""])


def words_of(path: Path) -> Iterator[list[str]]:
    """The words of each row of a file that is read or was written."""
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch["tokens"].to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        if path.suffix == ".jsonl":
            yield from (json.loads(line)["tokens"] for line in lines)
        elif path.suffix == ".txt":
            yield from (line.split() for line in lines)
        else:
            words = list[str]()
            for line in map(str.rstrip, lines):
                if line:
                    words.append(line.split("\t")[0])
                elif words:
                    yield words
                    words = []


def same_rows(source: Path, written: Path) -> int:
    """How many rows a written file has, which are those of its input in their order.

    Raises:
        ValueError: a row is missing, added, or in another place.
    """
    count = 0
    for row, other in zip_longest(words_of(source), words_of(written)):
        count += 1
        if row != other:
            raise ValueError(f"{written}: row {count} is not that of {source}")
    return count


def at_work(store: Path, to: Path) -> str:
    """What the job is at: the kind of step, or "writing"."""
    if any(path.suffix[1:] in FORMATS for path in to.glob("*")):
        return "writing"
    kind = ""
    for path in store.glob("runs/*/events.jsonl"):
        for event in RunFolder(Store(str(store)), path.parent.name).read_lines(path.name):
            if event["event"] in ("session", "started"):
                kind = event.get("kind", "")
    return kind


def session(command: Sequence[str], kill: Callable[[], bool] | None, name: str | None) -> Session:
    """Start the job, and kill all of its processes as soon as a condition holds."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    with Watch(psutil.Process(process.pid)) as watch:
        while process.poll() is None:
            if kill is not None and kill():
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.2)
    if kill is None and process.returncode:
        raise RuntimeError(f"exit code {process.returncode}")
    if kill is not None and process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"ended before it could be killed: exit code {process.returncode}")
    return Session(name, time.monotonic() - began, watch.own_mb, watch.others_mb)


def killed_and_resumed(
    folder: Path, rows: int, pause: float, settings: Sequence[str] = ()
) -> tuple[int, list[Session]]:
    """Label a corpus with a job that is killed in every step; gives the rows and the sessions.

    Args:
        folder: Where everything goes.
        rows: Sentences.
        pause: Seconds that a step is let work before its driver is killed.
        settings: More ``KEY=VALUE`` of the job.

    Raises:
        ValueError: what was written is not what was read.
    """
    for name in ("text", "labelled"):
        (folder / name).mkdir(parents=True)
    store, to, model = folder / "store", folder / "labelled", write_model(folder)
    count, sessions = write_text(folder / "text", rows), list[Session]()
    keys = {"predict.model": model, "predict.files": folder / "text/*", "predict.to": to}
    keys |= {"predict.words": "blanks", "store.root": store}
    told = [*settings, *(f"{key}={value}" for key, value in keys.items())]
    command = [sys.executable, "jobs/predict.py"]
    command += [word for item in told for word in ("--set", item)]
    for kind in KILLS:
        since: list[float] = []

        def kill(kind: str = kind, since: list[float] = since) -> bool:
            if at_work(store, to) != kind:
                return False
            since.append(time.monotonic())
            return since[-1] - since[0] >= (0 if kind == "writing" else pause)

        sessions.append(session(command, kill, kind))
        rows_written(folder / "text", to)
    sessions.append(session(command, None, None))
    if (found := rows_written(folder / "text", to)) != count:
        raise ValueError(f"{count} rows read, {found} written")
    return count, sessions


def rows_written(texts: Path, to: Path) -> int:
    """Rows of all files that are written so far, each of which has to be whole.

    Raises:
        ValueError: one of them is not.
    """
    found = 0
    for source in sorted(texts.iterdir()):
        kind = "conll" if source.suffix == ".txt" else source.suffix[1:]
        if (written := to / f"{source.stem}.{kind}").exists():
            found += same_rows(source, written)
    return found


def table(rows: int, sessions: Sequence[Session]) -> str:
    """The sessions as Markdown."""
    lines = [
        f"### {rows:,} sentences, labelled by a job that was killed {len(sessions) - 1} times\n",
        "All rows are there, in order.\n",
        "| killed in | seconds | driver, MB | others, MB |",
        "|:--|--:|--:|--:|",
    ]
    for item in sessions:
        memory = f"{item.driver_mb:,.0f} | {item.others_mb:,.0f}"
        lines.append(f"| {item.killed or 'not'} | {item.seconds:,.0f} | {memory} |")
    loads = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join([*lines, "", f"{os.cpu_count()} CPU cores, load at the end {loads}", ""])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pause", type=float, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="xlt-bench-") as folder:
        print(
            table(*killed_and_resumed(Path(folder), options.rows, options.pause, options.settings))
        )


if __name__ == "__main__":
    main()
