"""Files of the user's own: a run on them, predictions of others, and taking both up again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import xlt_ray
from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands import export, predict, self_train
from xlt_ray.commands import main as console
from xlt_ray.commands.predict import PredictConfig
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.user_files import UserSource
from xlt_ray.data.schema import Example
from xlt_ray.engine import write_predictions as writing
from xlt_ray.run.inventory import runs
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FIRST, SECOND = TARGETS


def words_in(path: Path) -> list[list[str]]:
    """Sentences of a two-column file."""
    source = UserSource((str(path),), "x", "train", "token")
    return [list(row.tokens or ()) for row in source.examples(None) if isinstance(row, Example)]


def own_values(world: World, folder: Path, store: Path) -> dict[str, Any]:
    """Labelled text of a source, raw text of two targets, test text of one of them."""
    for name in TARGETS:
        lines = [" ".join(words) for words in words_in(world.corpus / name / "dev.txt")]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    files = {
        SOURCE: {"train": str(world.corpus / SOURCE / "train.txt")},
        FIRST: {"unlabelled": str(folder / f"{FIRST}.txt")},
        SECOND: {
            "unlabelled": str(folder / f"{SECOND}.txt"),
            "test": str(world.corpus / SECOND / "test.txt"),
        },
    }
    values = world.values(store)
    values["benchmark"] = {"name": "files"}
    values["files"] = {"paths": files, "words": "blanks", "dev_share": 0.2}
    values["run"] = {"name": "mine"}
    return values


@pytest.fixture(scope="module")
def store(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished run on such files."""
    folder, root = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("store")
    config = self_train.configure(own_values(world, folder, root))
    assert self_train.dry_run(config) == 0
    self_train.run(config)
    return root


def test_languages_without_test_text_are_told_and_not_scored(store: Path) -> None:
    report = json.loads((store / "runs/mine/report.json").read_text())
    assert set(report["final"]) == {SECOND}
    assert report["average"] == report["final"][SECOND]["f1"]
    page = (store / "runs/mine/report.md").read_text()
    assert f"| {FIRST} | - | - | - | - |" in page
    steps = [json.loads(line) for line in (store / "runs/mine/ledger.jsonl").read_text().split("\n")
             if line]  # fmt: skip
    by_title = {step["title"]: step for step in steps}
    rows = {title: by_title[f"source {title} text"]["info"]["rows"] for title in ("train", "dev")}
    assert sum(rows.values()) == 300
    assert 30 <= rows["dev"] <= 90


def test_sentences_of_a_run_are_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Test text with gold where there is some, unlabelled text by round everywhere."""
    assert console.main(["look", "mine", "--store", str(store), "--rows", "30"]) == 0
    index = Path(capsys.readouterr().out.split()[-1])
    assert index == store / "runs/mine/look/index.html"
    assert index.read_text().count("<tr>") == 1 + len(TARGETS)
    pages = {name: index.with_name(f"{name}.html").read_text() for name in TARGETS}
    rows = {name: page.split("<article")[1:] for name, page in pages.items()}
    assert {name: len(found) for name, found in rows.items()} == {FIRST: 30, SECOND: 60}
    assert "final and gold differ" not in pages[FIRST]
    assert "final and gold differ" in pages[SECOND]
    assert not any('data-kinds="test' in row for row in rows[FIRST])
    assert any("<span>round 2</span>" in row for row in rows[FIRST])
    model = xlt_ray.load("mine", store=str(store))
    for row in rows[FIRST]:
        line = re.findall(r'<span>final</span><div dir="ltr">(.*?)</div></div>', row, re.DOTALL)[0]
        found = re.findall(r'data-tip="(\w+) (\d+)%">(.*?)<b dir="ltr">', line)
        words = re.sub("<b .*?</b>|<[^>]+>", "", line).split()
        spans = model.predict([words])[0].spans
        assert [(x.label, f"{100 * x.confidence:.0f}", x.text) for x in spans] == found


def test_rows_are_asked_for_and_their_labels_suggested(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ask", "mine", "--store", str(store), "--rows", "7", "--of", "40"]
    assert console.main(words) == 0
    told = capsys.readouterr().out
    assert [line.split(" rows")[0] for line in told.splitlines()[::3]] == [
        f"{FIRST}: 3 of 40",
        f"{SECOND}: 4 of 40",
    ]
    files = [Path(line.strip()) for line in told.splitlines() if line.startswith("  ")]
    assert all(path.parent == store / "runs/mine/ask" for path in files)
    lines, tasks = (path.read_text() for path in files[:2])
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [task["data"]["text"] for task in json.loads(tasks)] == [row["text"] for row in rows]
    assert sorted((row["uncertainty"] for row in rows), reverse=True) == [
        row["uncertainty"] for row in rows
    ]
    assert [" ".join(words) for words in words_in(files[0])] == [row["text"] for row in rows]
    model = xlt_ray.load("mine", store=str(store))
    for row, found in zip(rows, model.predict([row["text"].split() for row in rows]), strict=True):
        assert row["label"] == [[span.start, span.end, span.label] for span in found.spans]
        doubts = [sum(both) for both in zip(*found.uncertainty.values(), strict=True)]
        assert row["uncertainty"] == pytest.approx(max(doubts), abs=1e-3)
    console.main(words)
    assert files[0].read_text() == lines


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["look", "none"], "error: no run 'none' in "),
        (["look", "mine", "--rows", "0"], "error: --rows: 0; at least 1"),
        (["ask", "none"], "error: no run 'none' in "),
        (["ask", "mine", "--of", "0"], "error: --of: 0; at least 1"),
    ],
)
def test_what_cannot_be_shown_is_told(
    store: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.main([*words, "--store", str(store)]) == 2
    assert capsys.readouterr().err.startswith(reason)


def test_a_method_is_recommended_and_the_cost_is_told(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = own_values(world, tmp_path, tmp_path / "store")
    del values["method"]
    config = self_train.configure(values)
    assert config.method.name == "sl_evi"
    assert self_train.dry_run(config) == 0
    shown = capsys.readouterr().out
    assert "task:    token, entities in bio" in shown
    assert f"{SOURCE + ':':8} source: train (20% of train as dev)" in shown
    assert f"scored:  all but {SOURCE}, {FIRST}, which have no test files" in shown
    assert "recommended: entities and one source language" in shown
    cost, memory = shown.splitlines()[-2:]
    assert "operations, about" in cost
    assert memory.startswith("memory: training takes about ")


@pytest.fixture
def given(world: World, store: Path, tmp_path: Path) -> dict[str, Any]:
    """Files to label: a text of columns and a text of lines."""
    place = tmp_path / "in/deep"
    place.mkdir(parents=True)
    (place / "b.txt").write_text("ka lo ti\n\nlo\n")
    source = world.corpus / FIRST / "test.txt"
    (tmp_path / "in/a.conll").write_bytes(source.read_bytes())
    return {
        "predict": {"model": "mine", "files": f"{tmp_path}/in/**", "to": f"{tmp_path}/out"},
        "store": {"root": str(store)},
        "resources": {"annotators": 0, "num_cpus": 2},
    }


def sentences_of(path: Path) -> list[list[list[str]]]:
    """Columns of the words of each sentence."""
    parts = path.read_text().strip("\n").split("\n\n")
    return [[line.split("\t") for line in part.split("\n")] for part in parts]


def configured(values: dict[str, Any], **keys: Any) -> PredictConfig:
    return predict.configure({**values, "predict": {**values["predict"], **keys}})


def test_a_file_that_is_edited_before_it_is_written_gets_no_predictions(
    world: World, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many words as before, but others: what was said is not of them."""
    whole, path = writing.run_write, tmp_path / "in/deep/b.txt"

    def late(task: writing.WriteTask) -> Any:
        path.write_text("ti lo ka\n\nti\n")
        return whole(task)

    monkeypatch.setattr(writing, "run_write", late)
    with pytest.raises(ValueError, match=r"deep/b\.txt: has changed|b\.txt: has changed"):
        predict.predict(configured(given))
    assert not (tmp_path / "out/deep/b.jsonl").exists()


def test_predictions_keep_rows_and_order(
    world: World, given: dict[str, Any], tmp_path: Path
) -> None:
    counts = predict.predict(configured(given))
    assert counts == {"files": 2, "written": 2, "rows": 66, "unreadable": 0, "fatal": 0}
    out = sentences_of(tmp_path / "out/a.conll")
    words = words_in(tmp_path / "in/a.conll")
    assert [[word[0] for word in sentence] for sentence in out] == words
    lines = (tmp_path / "out/deep/b.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["ka lo ti", "lo"]
    assert [json.loads(line)["tokens"] for line in lines] == [["ka", "lo", "ti"], ["lo"]]
    for word in (word for sentence in out for word in sentence):
        _, label, confidence, vacuity, dissonance = word
        assert label in ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
        assert all(0 <= float(x) <= 1 for x in (confidence, vacuity, dissonance))
    gold = UserSource((f"{tmp_path}/in/a.conll",), FIRST, "test", "token")
    names = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    right = [
        names[label] == word[1]
        for row, sentence in zip(gold.examples(_labels(names)), out, strict=True)
        for label, word in zip(row.labels, sentence, strict=True)  # type: ignore[union-attr]
    ]
    assert sum(right) / len(right) > 0.5


def _labels(names: tuple[str, ...]) -> Any:
    from xlt_ray.labels import LabelSet

    return LabelSet(names)


def test_predicting_goes_on_and_does_not_mix(
    given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.predict(configured(given))
    first = (tmp_path / "out/a.conll").read_bytes()
    (tmp_path / "out/a.conll").unlink()
    counts = predict.predict(configured(given))
    assert (counts["written"], counts["rows"]) == (1, 66)
    assert (tmp_path / "out/a.conll").read_bytes() == first
    assert "in 2 files, 1 of them were there already" in capsys.readouterr().out
    (tmp_path / "in/deep/b.txt").write_text("lo lo\n")
    with pytest.raises(ConfigError, match="holds predictions of model 'mine' or of other text"):
        predict.predict(configured(given))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_text("mine")
    (tmp_path / "other/xlt_ray.json").write_text('{"run": "mine"}')  # as of an exported model
    with pytest.raises(ConfigError, match=r"predict.to: .*other has other files in it"):
        predict.predict(configured(given, to=f"{tmp_path}/other"))


def test_the_steps_have_a_folder_of_their_own(
    store: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    """With the sections that were given, and nothing of a run."""
    config = configured(given)
    predict.predict(config)
    folder = store / "runs" / config.run_name
    kept = json.loads((folder / "config.json").read_text())
    assert set(kept) == {"predict", "data", "resources", "store"}
    assert kept["predict"]["model"] == "mine"
    assert kept["data"]["max_bad_fraction"] == 1.0
    ledger = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    titles = [(step["title"], step["kind"]) for step in ledger]
    assert titles == [("text", "text"), ("tokens", "tokens"), ("predictions", "annotation")]
    (state,) = [x for x in runs(Store(str(store))) if x.name == config.run_name]
    assert (state.kind, state.state, state.steps) == ("prediction", "done", 3)


def test_what_was_written_is_no_input(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "in/empty.txt").touch()
    keys = {"files": f"{tmp_path}/in/**", "to": f"{tmp_path}/in/out"}
    assert configured(given).run_name != configured(given, **keys).run_name
    assert predict.predict(configured(given, **keys))["written"] == 2
    again = predict.predict(configured(given, **keys))
    assert (again["files"], again["written"]) == (2, 0)


def test_rows_that_cannot_be_read_do_not_stop_the_others(
    given: dict[str, Any], tmp_path: Path
) -> None:
    rows = ['{"id": 1, "text": "ka lo"}', '{"id": 1, "text": "ti"}', '{"text": 7}', "no", "{}"]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jsonl").write_text("\n".join(rows) + "\n")
    keys = {"files": f"{tmp_path}/bad/*", "to": f"{tmp_path}/told"}
    counts = predict.predict(configured(given, **keys))
    assert counts == {"files": 1, "written": 1, "rows": 5, "unreadable": 3, "fatal": 0}
    out = [json.loads(line) for line in (tmp_path / "told/a.jsonl").read_text().splitlines()]
    assert [row["prediction"] is None for row in out] == [False, False, True, True, True]
    strict = {**given, "data": {"max_bad_fraction": 0.01}}
    with pytest.raises(ValueError, match=r"^predict\.files: 3 of 5 rows cannot be used"):
        predict.predict(configured(strict, **{**keys, "to": f"{tmp_path}/none"}))


def test_a_run_that_is_started_anew_keeps_its_models_with_their_settings(
    store: Path, given: dict[str, Any]
) -> None:
    path = store / "runs/mine/config.json"
    before = path.read_text()
    changed = json.loads(before)
    changed["method"] = {"name": "bl_direct"}
    changed["train"]["max_length"] = 64
    path.write_text(json.dumps(changed))  # as by a driver that was killed at once
    try:
        finished = configured(given).finished
    finally:
        path.write_text(before)
    assert finished.max_length == json.loads(before)["train"]["max_length"] != 64
    assert "vacuity" in finished.annotator.columns


def test_files_of_which_no_row_can_be_read_leave_the_folder_as_it_was(
    given: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "in/c.jsonl").write_text('{"body": "ka lo"}\n' * 40)
    reason = r"none of 40 rows could be read: 40 x fields \['body'\], needed: tokens \(first in"
    with pytest.raises(ConfigError, match=reason):
        predict.predict(configured(given, files=f"{tmp_path}/in/c.jsonl"))
    assert not list((tmp_path / "out").glob("*"))
    found = predict.predict(
        configured(given, files=f"{tmp_path}/in/c.jsonl", columns={"text": "body"})
    )
    assert (found["rows"], found["unreadable"]) == (40, 0)


def test_an_exported_model_predicts_the_same(
    store: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    flags = ["export.run=mine", f"export.to={tmp_path}/model", f"store.root={store}"]
    record = export.export(export.configure({}, (), flags))
    assert (record["task"], record["evidential"]) == ("token", True)
    predict.predict(configured(given))
    predict.predict(configured(given, model=f"{tmp_path}/model", to=f"{tmp_path}/again"))
    for name in ("a.conll", "deep/b.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"model": "nothing"}, "predict.model: 'nothing' is no finished run of the store, no fold"),
        ({"language": "xx"}, "predict.language: run 'mine' has one model for all languages"),
        ({"task": "pair"}, "predict.task: run 'mine' is a token task"),
        ({"files": "/nowhere/*.txt"}, "predict.files: /nowhere/*.txt is no file"),
        ({"files": __file__}, f"predict.files: {__file__} is of no format that can be read"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], keys: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(given, **keys)
    assert str(error.value).startswith(reason)
