"""Rows that kill annotators, translators, and whoever labels files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.deadly_corpora import annotating, pairs
from tests.deadly_models import MARK, WORDS, DeadlyAnnotator, DeadlyTranslator
from tests.encoders import write_tagger
from tests.marian import write_marian
from xlt_ray.commands import predict
from xlt_ray.data.quarantine import lost_rows
from xlt_ray.engine import annotate, translate
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.read import TokeniseTask, run_tokenise
from xlt_ray.engine.translate import Route, TranslateTask
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ONE = Pool(1, 1, 1, 0.0)
LABELS = ("O", "B-X", "I-X")


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "kills"),
    [("spans", (2, 3, 17)), ("pair", (17,))],
)
def test_annotations(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str,
    kills: tuple[int, ...],
) -> None:  # fmt: skip
    """Of three killers two are in one shard. What is said of the others is what is said of them in
    shards without killers, but for the order of sums."""
    monkeypatch.setattr(annotate, "ShardAnnotator", DeadlyAnnotator)
    store = Store(str(tmp_path / "store"))
    ids = [f"{MARK}{n}" if n in kills else f"row{n}" for n in range(24)]
    task = annotating(store, tmp_path, kind, ids, 8)
    facts = annotate.run_annotate(task, ONE, limit=3)
    assert facts == {"rows": 24 - len(kills), "shards": 3, "quarantined": len(kills)}
    made = store.commit(task.out, {"info": facts, "seconds": 0.0})
    assert [(row.id, row.file, row.line) for row in lost_rows(made)] == [
        (f"{MARK}{n}", f"part-{n // 8:06d}.parquet", n % 8 + 1) for n in kills
    ]
    monkeypatch.undo()
    plain = replace(task, attempt=store.attempt("annotation", "plain"))
    annotate.run_annotate(plain, Pool(0, 0, 1, 0.0), limit=0)
    whole = store.commit(plain.out, {"info": {"rows": 24}, "seconds": 0.0})
    expected = [row for row in whole.table().to_pylist() if not row["id"].startswith(MARK)]
    found = made.table().to_pylist()
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    assert [row["labels"] for row in found] == [row["labels"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row["confidence"] == pytest.approx(other["confidence"], abs=1e-6)


@pytest.mark.long  # as predictions, which are annotated too
def test_translations(ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "ShardTranslator", DeadlyTranslator)
    store, texts = Store(str(tmp_path)), [f"satz {n}" for n in range(8)]
    attempt = store.attempt("backbone", "marian")
    for path in write_marian(tmp_path / "marian", [*texts, "und so weiter"]).iterdir():
        attempt.copy(path.name, path)
    model = store.commit(attempt, {"info": {}, "seconds": 0.0})
    texts[5] = f"{MARK} {texts[5]}"
    text = pairs(store, {"a": texts, "b": ["bleibt"] * 3}, 4)
    task = TranslateTask(
        attempt=store.attempt("translation", "t"), text=text, task="pair", whole=True,
        routes={"a": Route("a", "en", model=model)}, codes={}, beams=1, max_new_tokens=8,
        batch_tokens=256, arithmetic=Arithmetic(),
    )  # fmt: skip
    facts = translate.run_translate(task, ONE, limit=1)
    assert facts["rows_by_language"] == {"a": 7, "b": 3}
    assert facts["quarantined"] == 1
    made = store.commit(task.out, {"info": facts, "seconds": 0.0})
    lost = lost_rows(made)
    assert [(row.id, row.language, row.file, row.line) for row in lost] == [
        ("a5", "a", "text-a.part-000001.parquet", 2)
    ]
    assert json.loads(made.read("quarantine-a.jsonl"))["id"] == "a5"
    assert [x for x in made.table()["id"].to_pylist() if x[0] == "a"] == [
        f"a{n}" for n in range(8) if n != 5
    ]
    tokens = TokeniseTask(text=made, backbone=encoder(store, tmp_path), task="pair")
    tokens = tokens.into(store.attempt("tokens", "t"))
    info = run_tokenise(tokens)
    assert lost_rows(store.commit(tokens.out, {"info": info, "seconds": 0.0})) == lost


def encoder(store: Store, folder: Path) -> Any:
    from tests.encoders import write_encoder

    attempt = store.attempt("backbone", "encoder")
    attempt.write_folder(write_encoder(folder / "encoder"))
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


@pytest.mark.long
def test_predictions(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Rows of two files, carried columns beside them; one killer in each, and a bad row."""
    monkeypatch.setattr(annotate, "ShardAnnotator", DeadlyAnnotator)
    rows = [{"tokens": ["wort"] * (WORDS if n == 2 else n % 4 + 1), "own": n} for n in range(7)]
    lines = [*map(json.dumps, rows[:5]), "no JSON", *map(json.dumps, rows[5:])]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    sentences = [["das"] * (WORDS if n == 4 else 2) for n in range(5)]
    (tmp_path / "b.conll").write_text("".join("\n".join(x) + "\n\n" for x in sentences))
    config = predict.configure({
        "predict": {
            "model": str(write_tagger(tmp_path / "model", LABELS)),
            "files": f"{tmp_path}/*.jsonl,{tmp_path}/*.conll", "to": f"{tmp_path}/out",
        },
        "data": {"shard_rows": 4}, "store": {"root": str(tmp_path / "store")},
        "resources": {"annotators": 1, "num_cpus": 2},
    })  # fmt: skip
    counts = predict.predict(config)
    assert counts["rows"] == 13
    assert (counts["unreadable"], counts["fatal"]) == (1, 2)
    assert "2 rows killed the process that labelled them" in capsys.readouterr().out
    found = [json.loads(line) for line in (tmp_path / "out/a.jsonl").read_text().splitlines()]
    assert [row.get("own") for row in found] == [0, 1, 2, 3, 4, None, 5, 6]
    assert [n for n, row in enumerate(found) if row["prediction"] is None] == [2, 5]
    assert all(len(row["prediction"]) == len(row["tokens"]) for row in found if row["prediction"])
    parts = (tmp_path / "out/b.conll").read_text().split("\n\n")
    assert [part.count("\t?") for part in parts] == [0, 0, 0, 0, WORDS, 0]
    store = Store(str(tmp_path / "store"))
    (path,) = Path(store.root, "artifacts/annotation").iterdir()
    lost = lost_rows(store.find("annotation", path.name) or pytest.fail("it is gone"))
    assert [(row.language, row.file, row.line) for row in lost] == [
        ("f000000", "part-000000.parquet", 3),
        ("f000001", "part-000003.parquet", 1),
    ]
    assert not list(Path(store.root, "work").iterdir())  # the step is done
    ledger = Path(store.root, "runs", config.run_name, "ledger.jsonl").read_text().splitlines()
    assert json.loads(ledger[-1])["info"]["quarantined"] == 2
