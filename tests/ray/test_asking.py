"""Labellers in actors: what dies with one is asked again, and a text that kills is quarantined."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from xlt_ray.engine.asking import AskTask, run_ask
from xlt_ray.engine.pool import Pool
from xlt_ray.labels import LabelSet
from xlt_ray.run.labeller_code import code_of
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CODE = '''
import os


class Frail:
    """Its process dies of one text always, and of another the first time."""

    def __init__(self, labels, task, folder):
        self.folder = folder

    def __call__(self, texts):
        for text in texts:
            word = text["tokens"][0]
            with open(f"{self.folder}/log", "a") as file:
                file.write(f"{word}\\n")
            if word == "w5":
                os._exit(1)
            if word == "w12" and not os.path.exists(f"{self.folder}/once"):
                open(f"{self.folder}/once", "w").close()
                os._exit(1)
            yield ["B-X"]
'''


def test_a_text_that_kills_is_quarantined_and_no_answer_is_lost(
    ray_cluster: str, tmp_path: Path
) -> None:
    store, count = Store(str(tmp_path / "store")), 18
    attempt = store.attempt("text", "words")
    table = pa.table({
        "id": [f"{n:02d}" for n in range(count)],
        "language": ["xx"] * count,
        "tokens": [[f"w{n}"] for n in range(count)],
    })  # fmt: skip
    with attempt.stream("text-xx.parquet") as sink:
        pa.parquet.write_table(table, sink, row_group_size=6)
    text = store.commit(attempt, {"info": {"rows": count}, "seconds": 0.0})
    (tmp_path / "frail.py").write_text(CODE)
    found = code_of("k", f"{tmp_path}/frail.py:Frail")
    task = AskTask(
        text=text, languages=("xx",), task="token", labels=LabelSet(("O", "B-X", "I-X")),
        name="frail", call=found.call, code=found.digest, args={"folder": str(tmp_path)},
        version="", module=found.module, source=found.source, batch_size=4, timeout=30.0,
        retries=1, wait=0.0, max_bad_fraction=0.1, attempt=store.attempt("annotation", "asked"),
    )  # fmt: skip
    facts = run_ask(task, Pool(1, 2, 1, 0.0), limit=2)
    assert facts == {"rows": count, "voted": count - 1, "abstained": 0, "quarantined": 1}
    made = store.commit(task.out, {"info": facts, "seconds": 0.0})
    (line,) = map(json.loads, made.read("quarantine-frail.jsonl").decode().splitlines())
    assert line["row"] == "05"
    assert "the process that worked on this row died" in line["reason"]
    labels = made.table(["labels"])["labels"].to_pylist()
    assert labels == [[-100] if n == 5 else [1] for n in range(count)]
    asked = (tmp_path / "log").read_text().split()
    calm = [f"w{n}" for n in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)]
    assert [asked.count(word) for word in calm] == [1] * len(calm)
