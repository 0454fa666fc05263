"""Sources that are there already: files of predictions, runs and checkpoints."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.recipes import FACTS, SeveralSources, logits_of, output_of
from tests.recipes import run_method as run
from xlt_ray.commands.confidence import ConfidentPosterior, channel_of
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.given import GivenTask, digest_of, run_given
from xlt_ray.labels import LabelSet
from xlt_ray.methods.lvm.channel import Channel
from xlt_ray.methods.shared.sources import hard_labels, soft_labels
from xlt_ray.recipe.corpus import Start
from xlt_ray.store.artifacts import Artifact, Store

LABELS = LabelSet(("O", "B-X", "I-X"))
LINES: list[dict[str, Any]] = [
    {"tokens": ["c"], "probs": [[0.2, 0.5, 0.3]]},
    {"tokens": ["a", "b"], "prediction": ["B-X", "I-X"]},
    {"tokens": ["not", "of", "the", "text"], "labels": ["X", "X", "X", "X"]},
    {"tokens": ["d"], "labels": ["O"], "probs": [[0.6, 0.4, 0.0]]},
]


def text_of(store: Store) -> Artifact:
    """Two languages; a row that is there twice, and one of two shards."""
    attempt = store.attempt("text", "words")
    rows = {"xx": [["a", "b"], ["c"], ["a", "b"]], "yy": [["d"]]}
    for language, words in rows.items():
        names = [f"{language}{number}" for number in range(len(words))]
        table = pa.table({"id": names, "language": [language] * len(words), "tokens": words})
        attempt.write_table(f"text-{language}.parquet", table)
    return store.commit(attempt, {"info": {"rows": 4}, "seconds": 0.0})


def task_of(folder: Path, lines: list[Any], **changes: Any) -> GivenTask:
    path = folder / "said.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    store = Store(str(folder / "store"))
    task = GivenTask(
        text=text_of(store), languages=("xx", "yy"), labels=LABELS,
        sha256=digest_of(str(path), "method.given.s"),
        row_bytes=1000, path=str(path), key="method.given.s",
    )  # fmt: skip
    return replace(task, attempt=store.attempt("annotation", "said"), **changes)


def test_rows_are_found_by_their_words_whatever_the_order(tmp_path: Path) -> None:
    task = task_of(tmp_path, LINES)
    assert run_given(task) == {"rows": 4}
    assert task.attempt is not None
    found = Store(task.text.root).commit(task.attempt, {"info": {}, "seconds": 0.0})
    one, two = (found.shard(name).to_pylist() for name in sorted(found.names))
    assert [row["id"] for row in (*one, *two)] == ["xx0", "xx1", "xx2", "yy0"]
    assert [row["labels"] for row in (*one, *two)] == [[1, 2], [1], [1, 2], [0]]
    assert one[0]["probs"] == [[0, 1, 0], [0, 0, 1]]
    assert np.array(one[1]["probs"]) == pytest.approx(np.array([[0.2, 0.5, 0.3]]), abs=1e-3)
    assert np.array(two[0]["probs"]) == pytest.approx(np.array([[0.6, 0.4, 0.0]]), abs=1e-3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no JSON", "line 1: no JSON object with tokens or text"),
        ({"words": ["c"]}, "line 1: no JSON object with tokens or text"),
        ({"tokens": ["c"], "text": "x" * 2000, "labels": ["O"]}, "line 1: no JSON object"),
        ({"tokens": None}, "line 1: no JSON object with tokens or text"),
        ({"tokens": 5, "labels": ["O"]}, "line 1: no JSON object with tokens or text"),
        ({"tokens": [["c"]], "labels": ["O"]}, "line 1: no JSON object with tokens or text"),
        ({"tokens": None, "text": 5, "label": "O"}, "line 1: no JSON object with tokens or text"),
        ({"tokens": ["c"], "labels": [["O"]]}, r"label \['O'\] is none of the classes"),
        ({"tokens": ["c"], "probs": [[10**400, 0, 0]]}, "probs are not 1 times 3 numbers"),
        ({"tokens": ["c"]}, "line 1: neither prediction, labels nor probs"),
        ({"tokens": ["c"], "labels": ["O", "O"]}, "line 1: not a label for each of 1 items"),
        ({"tokens": ["c"], "labels": ["B-Y"]}, "label 'B-Y' is none of the classes: O, B-X, I-X"),
        ({"tokens": ["c"], "probs": [[1.0, 0.0]]}, "probs are not 1 times 3 numbers"),
        ({"tokens": ["c"], "probs": [[0.5, 0.1, 0.1]]}, "probs of an item do not sum to 1"),
        ({"tokens": ["c"], "probs": [[1.5, -0.5, 0]]}, "probs are not all finite and at least 0"),
        (
            {"tokens": ["z"], "labels": ["O"]},
            "no prediction for 1 of 3 different rows, such as",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(line: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        run_given(task_of(tmp_path, [line, *LINES[1:]]))
    assert str(caught.value).startswith("method.given.s: ")


def test_a_text_may_have_no_tokens(tmp_path: Path) -> None:
    """A table that was written with a column for both."""
    lines = [{"tokens": None, "text": "of another text", "label": "O"}, *LINES]
    assert run_given(task_of(tmp_path, lines)) == {"rows": 4}


def test_a_file_that_is_edited_or_missing_ends_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has changed while it was read"):
        run_given(task_of(tmp_path, LINES, sha256="0" * 64))
    with pytest.raises(ConfigError, match=r"method\.given\.s: .* cannot be read \(No such file"):
        digest_of(str(tmp_path / "none.jsonl"), "method.given.s")


@pytest.mark.slow
def test_the_fingerprint_has_the_content_and_not_the_place(tmp_path: Path) -> None:
    from xlt_ray.run.steps import Step

    task = task_of(tmp_path, LINES)
    moved = replace(task, path="elsewhere.jsonl", key="method.given.t")
    assert Step("s", task).fingerprint() == Step("t", moved).fingerprint()
    assert Step("s", replace(task, sha256="0")).fingerprint() != Step("s", task).fingerprint()


def test_texts_and_pairs_have_one_label(tmp_path: Path) -> None:
    store, path = Store(str(tmp_path / "store")), tmp_path / "said.jsonl"
    attempt = store.attempt("text", "pairs")
    rows = {"id": ["1"], "language": ["xx"], "text": ["a b"], "text_pair": ["c"]}
    attempt.write_table("text-xx.parquet", pa.table(rows))
    text = store.commit(attempt, {"info": {"rows": 1}, "seconds": 0.0})
    path.write_text(json.dumps({"text": "a b", "text_pair": "c", "label": "I-X"}))
    task = GivenTask(
        text=text, languages=("xx",), labels=LABELS, sha256=digest_of(str(path), "k"),
        row_bytes=1000,
        path=str(path), key="k", attempt=store.attempt("annotation", "said"),
    )  # fmt: skip
    run_given(task)
    assert task.attempt is not None
    found = store.commit(task.attempt, {"info": {}, "seconds": 0.0})
    assert found.table(["labels"])["labels"].to_pylist() == [[2]]


def test_rows_of_other_languages_need_no_prediction(tmp_path: Path) -> None:
    task = task_of(tmp_path, LINES[:2], languages=("xx",))
    assert run_given(task) == {"rows": 3}
    assert task.attempt is not None
    found = Store(task.text.root).commit(task.attempt, {"info": {}, "seconds": 0.0})
    assert [len(found.shard(name)) for name in sorted(found.names)] == [3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hard_cat", "hard_vote", "kd_re", "mrt", "lvm"])
def test_given_sources_are_not_trained(name: str, tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    trained = driver._model("other", {"source_dev": 0.9})
    driver.starts = {"a-run": Start(trained)}
    outcome = run(name, driver, given={"t": "a-run", "u": "there/said.jsonl"})
    assert [x for x in driver.titles("train") if x.startswith("source")] == ["source s"]
    assert driver.titles("said") == ["there/said.jsonl"]
    assert set(outcome.sources) == {"s", "t"}
    assert outcome.sources["t"] == trained
    if name == "lvm":
        (part,) = driver.call("train", "a M-step 1").parts
        rows = part.rows()
        assert {f"{x}.probs" for x in "stu"} <= set(rows.column_names)
        outcome.labeller(driver, "final", driver.targets.of("a"), outcome.by_language["a"])
        first, second = [call for call in driver.calls if call.verb == "said"]
        assert first.parameters == {"languages": ("a", "b")}
        assert second.parameters == {"languages": ("a",)}


@pytest.mark.slow
def test_what_labels_with_sources_is_left_for_others(tmp_path: Path) -> None:
    """Where every source has a model, and the test text was labelled by Q."""
    outcome = run("lvm", SeveralSources(tmp_path), divide_prior=True)
    assert set(outcome.with_sources) == {"a", "b"}
    found = outcome.with_sources["a"]
    assert list(found.sources) == ["s", "t", "u"]
    channel = channel_of(json.loads(json.dumps(found.channel)))
    assert asdict(channel) == dict(found.channel)
    assert len(channel.priors or ()) == 3
    assert run("lvm", SeveralSources(tmp_path / "1"), predict="theta").with_sources == {}
    given = {"s": "s.jsonl"}
    assert run("lvm", SeveralSources(tmp_path / "2"), given=given).with_sources == {}
    assert run("kd_re", SeveralSources(tmp_path / "3")).with_sources == {}


def test_confidence_is_the_probability_under_q(tmp_path: Path) -> None:
    channel = Channel(("s", "t"), False, tau_psi=2.0)
    said = {f"{name}.labels": torch.tensor([0, 1], dtype=torch.int16) for name in "st"}
    output = output_of(logits_of(2))._replace(columns=said)
    columns = ConfidentPosterior(channel).annotate(output, np.array([0, 2]), FACTS)
    q = channel.log_joint(output.logits.double(), said, None, 1.0).softmax(-1)
    assert columns.items["labels"].tolist() == q.argmax(1).tolist()
    assert columns.items["confidence"].tolist() == pytest.approx(q.max(1).values.tolist())


def test_predictions_alone_are_enough(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("hard_vote", driver, given={name: f"{name}.jsonl" for name in "stu"})
    assert driver.titles("train") == ["a", "b"]
    assert outcome.sources == {}
    assert outcome.zero_shot_by_language == outcome.by_language
    assert "no zero-shot model" in outcome.notes[0]


def test_what_is_given_stands_for_a_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method\.given: 'x' is no source, there are: s, t, u"):
        run("mrt", SeveralSources(tmp_path), given={"x": "a-run"})
    with pytest.raises(ConfigError, match="direct transfer scores models, and this is a file"):
        run("dt", SeveralSources(tmp_path), given={"s": "s.jsonl"})


def test_columns_of_a_file_are_those_of_a_model(tmp_path: Path) -> None:
    task = task_of(tmp_path, LINES)
    run_given(task)
    assert task.attempt is not None
    found = Store(task.text.root).commit(task.attempt, {"info": {}, "seconds": 0.0})
    table = found.table(["labels", "probs"])
    labels = [x for row in table["labels"].to_pylist() for x in row]
    probs = [x for row in table["probs"].to_pylist() for x in row]
    columns = {"s.labels": torch.tensor(labels), "s.probs": torch.tensor(probs)}
    assert hard_labels(columns, ["s"]).shape == (1, 6)
    assert soft_labels(columns, ["s"], 3).sum(-1).numpy() == pytest.approx(1.0)
