"""A few labelled rows of targets: which are taken, how often, what they are kept out of."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reports import example
from xlt_ray.commands.compare import configure as configure_rows
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.few import Few, Without
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.labels import LabelSet
from xlt_ray.metrics import Ragged, mean_score
from xlt_ray.report.page import run_page
from xlt_ray.report.tables import markdown, result_rows
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.few import check_learned, label_notes
from xlt_ray.run.rehearsal import followed
from xlt_ray.run.session import run_recipe
from xlt_ray.store.artifacts import Store

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
CLASSES = ("bad", "good")
LABELS = LabelSet(CLASSES)
WORDS = LabelSet(("O", "B-PER", "I-PER"))
OWN = {"name": "bl_direct", "source_epochs": 1}


def rows_of(name: str, count: int, first: int = 0) -> list[dict[str, str]]:
    numbers = range(first, first + count)
    return [{"text": f"{name} row {n}", "label": CLASSES[n % 2]} for n in numbers]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """English, and two targets with 30 labelled rows each, of which the last 5 are test text."""
    write(tmp_path / "en/train.jsonl", rows_of("en", 40))
    write(tmp_path / "en/dev.jsonl", rows_of("en dev", 10))
    for name in ("sw", "ha"):
        write(tmp_path / f"{name}/train.jsonl", rows_of(name, 30))
        write(tmp_path / f"{name}/dev.jsonl", rows_of(f"{name} dev", 10))
        write(tmp_path / f"{name}/test.jsonl", rows_of(name, 5, first=25))
        write(tmp_path / f"{name}/raw.jsonl", [{"text": row["text"]} for row in rows_of(name, 30)])
        write(tmp_path / f"{name}/few.jsonl", rows_of(name, 6))
    return tmp_path


def config_of(
    folder: Path, *, paths: dict[str, Any] | None = None, method: Any = OWN, **benchmark: Any
) -> RunConfig[Any]:
    """Own files; a target has raw and test text, and what ``paths`` adds."""
    own = {name: {"unlabelled": [f"{folder}/{name}/raw.jsonl"],
                  "test": [f"{folder}/{name}/test.jsonl"]} for name in ("sw", "ha")}  # fmt: skip
    for name, more in (paths or {}).items():
        own.setdefault(name, {}).update(more)
    own["en"] = {name: [f"{folder}/en/{name}.jsonl"] for name in ("train", "dev")}
    return configure_run(
        {
            "benchmark": {"name": "files", "source": ["en"], **benchmark},
            "files": {"paths": own},
            "backbone": "toy",
            "method": method,
            "store": {"root": str(folder / "store")},
        }
    )


def driver_of(config: RunConfig[Any]) -> RayDriver:
    return DryRun(Store(config.store.root), PLAN).driver(config)


def given(folder: Path, *names: str) -> dict[str, Any]:
    return {name: {"few": [f"{folder}/{name}/few.jsonl"]} for name in names}


def drawn_from(folder: Path, *names: str) -> dict[str, Any]:
    return {name: {"train": [f"{folder}/{name}/train.jsonl"],
                   "dev": [f"{folder}/{name}/dev.jsonl"]} for name in names}  # fmt: skip


def read(source: Source, labels: LabelSet | None = LABELS) -> list[Example]:
    rows = list(source.examples(labels))
    assert not [row for row in rows if isinstance(row, BadRow)]
    return [row for row in rows if isinstance(row, Example)]


def learned(config: RunConfig[Any]) -> dict[str, list[Example]]:
    """Rows of the gold that is learned from, by language."""
    driver = driver_of(config)
    names = (*driver.source_languages, *driver.few)
    found = driver.reading.sources(names, "train")
    return {item.source.language: read(item.source) for item in found}


def raw(config: RunConfig[Any]) -> dict[str, set[str]]:
    """Text of the pool, by language."""
    driver = driver_of(config)
    found = driver.reading.sources(driver.pools, "unlabelled")
    return {x.source.language: {str(row.text) for row in read(x.source, None)} for x in found}


def texts(rows: Sequence[Example]) -> set[str]:
    return {str(row.text) for row in rows}


# What is learned from


def test_labelled_rows_of_a_target_are_gold_beside_the_source(folder: Path) -> None:
    config = config_of(folder, paths=given(folder, "sw"))
    driver = driver_of(config)
    assert driver.few == ("sw",)
    assert set(driver.targets) == {"sw", "ha"}, "it stays a target"
    assert driver.source_languages == ("en",)
    rows = learned(config)
    assert {name: len(own) for name, own in rows.items()} == {"en": 40, "sw": 6}
    assert [CLASSES[row.labels] for row in rows["sw"]] == ["bad", "good"] * 3  # type: ignore[index]


def test_a_weight_repeats_them_under_ids_of_their_own(folder: Path) -> None:
    rows = learned(config_of(folder, paths=given(folder, "sw"), few_weight=5))
    assert Counter(str(row.text) for row in rows["sw"]) == {f"sw row {n}": 5 for n in range(6)}
    assert len({row.id for row in rows["sw"]}) == 30
    by_text = {(row.text, row.labels) for row in rows["sw"]}
    assert len(by_text) == 6, "each keeps its label"
    assert len(rows["en"]) == 40


def test_rows_are_drawn_by_seed_and_more_rows_have_the_fewer_among_them(folder: Path) -> None:
    paths = drawn_from(folder, "sw", "ha")

    def rows(**keys: Any) -> set[str]:
        return texts(learned(config_of(folder, paths=paths, **keys))["sw"])

    three, ten = rows(few=3, few_seed=0), rows(few={"sw": 10}, few_seed=0)
    assert (len(three), len(ten)) == (3, 10)
    assert three < ten
    assert rows(few=10, few_seed=1) != ten
    assert rows(few=10) == ten, "the seed of the run is 0"
    both = learned(config_of(folder, paths=paths, few=3))
    assert {name: len(own) for name, own in both.items()} == {"en": 40, "sw": 3, "ha": 3}
    some = learned(config_of(folder, paths=paths, few={"ha": 2}))
    assert {name: len(own) for name, own in some.items()} == {"en": 40, "ha": 2}


def test_rows_can_be_drawn_from_files_of_labelled_rows(folder: Path) -> None:
    config = config_of(folder, paths=given(folder, "sw"), few={"sw": 4})
    assert texts(learned(config)["sw"]) < {f"sw row {n}" for n in range(6)}
    assert len(learned(config)["sw"]) == 4


def test_a_draw_looks_at_no_label(folder: Path) -> None:
    config = config_of(folder, paths=drawn_from(folder, "sw"), few={"sw": 8})
    before = texts(learned(config)["sw"])
    others = [row | {"label": "good"} for row in rows_of("sw", 30)]
    write(folder / "sw/train.jsonl", others)
    after = learned(config)["sw"]
    assert texts(after) == before
    assert {row.labels for row in after} == {1}


def test_a_benchmark_has_its_own_rows(folder: Path) -> None:
    for path in folder.glob("*/train.jsonl"):
        pairs = [{"premise": row["text"], "hypothesis": "so", "label": "neutral"}
                 for row in map(json.loads, path.read_text().splitlines())]  # fmt: skip
        for split in ("train", "dev", "test"):
            own = [{**pair, "premise": f"{split} {pair['premise']}"} for pair in pairs]
            write(folder / f"xnli/{path.parent.name}/{split}.jsonl", own)
    config = configure_run(
        {
            "benchmark": {"name": "xnli", "root": str(folder / "xnli"), "targets": ["sw", "ha"],
                          "few": {"sw": 7}, "unlabelled_split": "train", "max_rows": 12},
            "backbone": "toy", "method": OWN, "store": {"root": str(folder / "store")},
        }
    )  # fmt: skip
    driver = driver_of(config)
    (_, few) = driver.reading.sources(("en", "sw"), "train")
    rows = {row.text for row in few.source.examples(None) if isinstance(row, Example)}
    assert len(rows) == 7, "no cap of a split is theirs"
    pool = {x.source.language: x.source for x in driver.reading.sources(("sw", "ha"), "unlabelled")}
    left = [row.text for row in pool["sw"].examples(None, 12) if isinstance(row, Example)]
    assert len(left) == 12
    assert not rows & set(left)


def files_of_words(folder: Path, *, bad: int | None = None) -> UserSource:
    """20 sentences in each of two files of one name; of the first file one may have a bad tag in
    its second line."""
    patterns = []
    for name in "ab":
        path = folder / name / "x.conll"
        path.parent.mkdir(exist_ok=True)
        tags = ["UGLY" if name == "a" and n == bad else "O" for n in range(20)]
        rows = [f"{name}{n}\tB-PER\nz\t{tag}\n" for n, tag in enumerate(tags)]
        path.write_text("\n".join(rows))
        patterns.append(str(path))
    return UserSource(tuple(patterns), "sw", "few", "token")


@pytest.mark.parametrize("asked", [1, 5, 10, 15, 40])
def test_files_of_one_name_have_rows_of_their_own(folder: Path, asked: int) -> None:
    few = Few(files_of_words(folder), asked, 1, 1, (), "benchmark.few")
    rows = list(few.examples(WORDS))
    assert len(rows) == len({row.id for row in rows if isinstance(row, Example)}) == asked
    if asked == 10:
        drawn = [row.tokens[0] for row in rows if isinstance(row, Example) and row.tokens]
        assert {name[1:] for name in drawn if name[0] == "a"} != {
            name[1:] for name in drawn if name[0] == "b"
        }, "the draw of one file is not that of the other"


def test_a_drawn_row_with_a_bad_label_below_its_first_line_is_refused(folder: Path) -> None:
    few = Few(files_of_words(folder, bad=3), 40, 1, 1, (), "benchmark.few")
    with pytest.raises(ValueError, match=r"benchmark.few: x.conll:11: .*UGLY"):
        list(few.examples(WORDS))


def test_a_repeated_row_has_the_id_of_no_other(tmp_path: Path) -> None:
    """One that counts three times is no row whose own id ends with a number."""
    names = ("7", "7+1", "7+1+1", "1+7")
    path = write(
        tmp_path / "i.jsonl", [{"id": x, "tokens": [f"w{x}"], "tags": ["O"]} for x in names]
    )
    few = Few(UserSource((path,), "sw", "few", "token"), None, 1, 3, (), "benchmark.few")
    ids = [row.id for row in few.examples(WORDS) if isinstance(row, Example)]
    assert len(set(ids)) == len(ids) == 12
    own = {f"sw-few-id-{name}" for name in names}
    assert {name for name in ids if name.startswith("sw-")} == own, "no other row's, of any split"


@pytest.mark.parametrize("limit", [None, 0, 1, 3, 4, 5])
def test_a_pool_has_the_same_rows_with_labels_and_without(tmp_path: Path, limit: int) -> None:
    """Of rows 0 to 7, 2 is one of the few, and 3 has a bad label, as 2 has."""
    tags = ["UGLY" if n in (2, 3) else "O" for n in range(8)]
    pool = tmp_path / "u.conll"
    pool.write_text("\n".join(f"u{n}\tO\nz\t{tag}\n" for n, tag in enumerate(tags)))
    path = write(tmp_path / "i.jsonl", [{"tokens": ["u2", "z"], "tags": ["O", "O"]}])
    few = Few(UserSource((path,), "sw", "few", "token"), None, 1, 1, (), "benchmark.few")
    source = Without(UserSource((str(pool),), "sw", "train", "token"), few)
    text = [row.line for row in source.examples(None, limit)]
    gold = list(source.examples(WORDS, limit))
    assert text == [1, 4, 10, 13, 16, 19, 22][:limit]
    assert [row.line for row in gold if isinstance(row, Example)] == [x for x in text if x != 10]
    assert [row.line for row in gold if isinstance(row, BadRow)] == [11] * (10 in text)


# What they are kept out of


def test_they_are_left_out_of_the_pool_by_their_text(folder: Path) -> None:
    pool = raw(config_of(folder, paths=given(folder, "sw")))
    assert pool["sw"] == {f"sw row {n}" for n in range(6, 30)}
    assert len(pool["ha"]) == 30
    drawn = config_of(folder, paths=drawn_from(folder, "sw"), few={"sw": 8})
    assert raw(drawn)["sw"] == {f"sw row {n}" for n in range(30)} - texts(learned(drawn)["sw"])


def test_how_often_they_count_changes_no_pool(folder: Path) -> None:
    one, five = (
        driver_of(config_of(folder, paths=given(folder, "sw"), few_weight=weight))
        .reading.sources(("sw",), "unlabelled")[0]
        .describe()
        for weight in (1, 5)
    )
    assert one == five


def test_drawn_rows_are_none_of_those_that_score_models(folder: Path) -> None:
    config = config_of(folder, paths=drawn_from(folder, "sw"), few={"sw": 25})
    assert texts(learned(config)["sw"]) == {f"sw row {n}" for n in range(25)}


def test_given_rows_that_score_models_are_refused(folder: Path) -> None:
    write(folder / "sw/few.jsonl", rows_of("sw", 3, first=24))
    config = config_of(folder, paths=given(folder, "sw"))
    with pytest.raises(
        ValueError,
        match=r"files.paths.sw.few: few.jsonl:2: has the text of a row of sw test, which judges",
    ):
        learned(config)


def test_given_rows_that_choose_models_are_refused(folder: Path) -> None:
    write(folder / "sw/few.jsonl", rows_of("sw dev", 3))
    paths = given(folder, "sw")
    assert len(learned(config_of(folder, paths=paths))["sw"]) == 3
    for name in ("sw", "ha"):
        paths.setdefault(name, {})["dev"] = [f"{folder}/{name}/dev.jsonl"]
    with pytest.raises(ValueError, match=r"few.jsonl:1: has the text of a row of sw dev or test"):
        learned(config_of(folder, paths=paths, select_on="target_dev"))


def test_a_shift_of_the_classes_leaves_the_rows_as_they_are(folder: Path) -> None:
    """No row of class bad is wanted of sw, which takes half of its test text away; the rows and
    what is kept out of them are those of the whole text."""
    shift = {"sw": [0.0, 1.0]}
    rows = learned(config_of(folder, paths=given(folder, "sw"), prior=shift))
    assert texts(rows["sw"]) == {f"sw row {n}" for n in range(6)}
    paths = drawn_from(folder, "sw")
    plain = learned(config_of(folder, paths=paths, few={"sw": 8}))
    shifted = learned(config_of(folder, paths=paths, few={"sw": 8}, prior=shift))
    assert shifted["sw"] == plain["sw"]
    most = learned(config_of(folder, paths=paths, few={"sw": 25}, prior=shift))
    assert texts(most["sw"]) == {f"sw row {n}" for n in range(25)}, "none is test text"


def test_rows_that_are_none_are_refused() -> None:
    check_learned({"sw": 3, "ha": 1}, ("sw", "ha"), learned=True)
    check_learned({}, ("sw",), learned=True)  # not counted
    with pytest.raises(ConfigError, match=r"benchmark.few: no labelled row of ha was learned"):
        check_learned({"sw": 3, "ha": 0}, ("sw", "ha"), learned=True)


# What is refused


def test_more_rows_than_there_are_are_refused(folder: Path) -> None:
    config = config_of(folder, paths=drawn_from(folder, "sw"), few={"sw": 26})
    with pytest.raises(
        ValueError,
        match=r"benchmark.few: 26 labelled rows of sw, and its train text has 25 different ones, "
        "and none of test",
    ):
        learned(config)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "sw new"}, "no label"),
        ({"text": "sw new", "label": "ugly"}, "unknown label 'ugly'"),
        ({"text": "", "label": "good"}, "empty text"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(folder: Path, row: Any, reason: str) -> None:
    """One of many, which the share of bad rows would let through."""
    write(folder / "sw/few.jsonl", [*rows_of("sw few", 200), row])
    config = config_of(folder, paths=given(folder, "sw"))
    with pytest.raises(ValueError, match=r"files.paths.sw.few: few.jsonl:201: ") as caught:
        learned(config)
    if reason != "no label":
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "paths", "message"),
    [
        ({"few": {"xx": 3}}, {}, "benchmark.few: xx is no target, there are: sw, ha"),
        ({"few": {"en": 3}}, {}, "benchmark.few: en is a source, all of its labelled rows"),
        ({"few": 3}, {}, "benchmark.few: sw has no labelled rows to draw from, name them as "
         "files.paths.sw.few"),
        ({}, {"yo": {"few": ["x.jsonl"]}}, "files.paths.yo.few: yo is no target, there are: sw, ha;"
         " files.paths.yo.unlabelled is missing"),
        ({"select_on": "target_dev"}, {}, "benchmark.select_on: target_dev needs labelled dev rows "
         "of every target, name files.paths.sw.dev, files.paths.ha.dev"),
    ],
)  # fmt: skip
def test_rows_of_what_is_no_target_are_refused(
    folder: Path, keys: Any, paths: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        driver_of(config_of(folder, paths=paths, **keys))
    assert message in str(caught.value)


def test_only_text_that_is_missing_is_called_so(folder: Path) -> None:
    config = config_of(folder, paths=given(folder, "sw", "ha"), targets=["sw"])
    with pytest.raises(ConfigError) as caught:
        driver_of(config)
    assert str(caught.value) == "files.paths.ha.few: ha is no target, there are: sw"


@pytest.mark.parametrize(
    "keys", [{"few": 0}, {"few": {"sw": -1}}, {"few_weight": 0}, {"few_weight": 0.5}]
)
def test_numbers_of_rows_are_counts(folder: Path, keys: Any) -> None:
    with pytest.raises(ConfigError, match=f"benchmark.{next(iter(keys))}"):
        config_of(folder, **keys)


@pytest.mark.parametrize(
    "method",
    [
        {"name": "dt", "given": {"en": "RUN"}},
        {"name": "hard_vote", "given": {"en": "RUN"}},
        {"name": "nl", "start_from": "RUN", "lambda_clcs": 0.0},
        {"name": "conlst", "start_from": "RUN", "lambda_clcs": 0.0, "iterations": 0},
    ],
    ids=lambda method: method["name"],
)
def test_a_method_without_gold_would_learn_no_rows(folder: Path, method: Any) -> None:
    asked = config_of(folder, paths=given(folder, "sw"), method=method)
    with pytest.raises(ConfigError, match=r"benchmark.few: no training has source gold, which"):
        followed(asked)
    assert followed(config_of(folder, method=method)).steps, "without the rows it is a run"


@pytest.mark.parametrize("name", ["st", "kd", "iwda", "conlst", "flexmatch"])
def test_with_gold_beside_a_start_they_are_learned(folder: Path, name: str) -> None:
    config = config_of(
        folder, paths=given(folder, "sw"), method={"name": name, "start_from": "RUN"}
    )
    followed(config)
    driver = driver_of(config)
    run_recipe(config, driver)
    assert driver.learned_few


# Who may read them


def test_the_right_to_them_is_to_nothing_else(folder: Path) -> None:
    driver = driver_of(config_of(folder, paths=drawn_from(folder, "sw"), few={"sw": 4}))
    with pytest.raises(PermissionError, match="sw, split train"):
        driver.source("train", "sw")
    with pytest.raises(PermissionError, match="sw, split dev"):
        driver.source("dev", "sw")
    right = driver._few_gold
    assert right is not None
    assert right.languages == {"en", "sw"}
    assert right.splits == {"train"}
    assert driver._target_dev is None


# What chooses models


def test_dev_text_of_targets_chooses_where_it_is_asked_to(folder: Path) -> None:
    paths = drawn_from(folder, "sw", "ha")
    usual = driver_of(config_of(folder, paths=paths))
    assert usual.dev().labels is usual.source("dev").labels
    assert usual.dev(source="en").labels is usual.source("dev", "en").labels
    driver = driver_of(config_of(folder, paths=paths, select_on="target_dev"))
    driver.dev()
    driver.dev("sw")
    driver.dev(source="en")
    read = {names for names, split in driver.reading.texts if split == "dev"}
    assert read == {("sw", "ha"), ("sw",)}


def test_one_dev_text_chooses(folder: Path) -> None:
    """With target dev, dev text of sources that is named would not be looked at."""
    paths = drawn_from(folder, "sw", "ha")
    assert config_of(folder, paths=paths, dev=["en"]).benchmark.dev == ("en",)
    with pytest.raises(
        ConfigError, match=r"benchmark.dev: en .* benchmark.select_on is target_dev; leave out one"
    ):
        config_of(folder, paths=paths, dev=["en"], select_on="target_dev")


def test_the_mean_over_languages_counts_each_once() -> None:
    gold = Ragged.of([[0], [1], [1], [1]])
    said = Ragged.of([[1], [1], [1], [1]])
    assert mean_score("accuracy", gold, said, LABELS, ["a", "b", "b", "b"]) == pytest.approx(0.5)
    assert mean_score("accuracy", gold, said, LABELS, ["a"] * 4) == pytest.approx(0.75)
    assert mean_score("accuracy", gold, said, LABELS, ["b", "a", "b", "a"]) == pytest.approx(0.75)


def test_a_part_of_sequences_keeps_their_words() -> None:
    whole = Ragged.of([[0, 1], [], [1], [1, 1, 0]])
    assert whole.take(np.array([3, 1, 0])).lists() == [[1, 1, 0], [], [0, 1]]


# What is told


def test_a_dry_run_says_how_many_rows_of_which_target_enter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = drawn_from(folder, "ha") | given(folder, "sw")
    paths["sw"]["dev"] = [f"{folder}/sw/dev.jsonl"]
    keys = {"few": {"ha": 9}, "few_weight": 3, "select_on": "target_dev"}
    assert not followed(config_of(folder, paths=paths, **keys)).missing
    shown = capsys.readouterr().out
    assert (
        "not zero-shot: labelled rows of targets: 6 of sw, 9 of ha, each counted 3 times" in shown
    )
    assert "models were chosen on labelled dev rows of the targets" in shown
    assert "labels: good 3, bad 3" in shown or "labels: bad 3, good 3" in shown
    followed(config_of(folder))
    assert "not zero-shot" not in capsys.readouterr().out


def test_pages_call_the_first_model_what_it_is() -> None:
    few = replace(example(), few={"sw": 50}, notes=["not zero-shot: 50 rows"])
    for page in (markdown(few), run_page(few, [], [])):
        assert "few-shot" in page
        assert "zero-shot" not in page.replace("not zero-shot", "")
    assert "few-shot" not in markdown(example())
    assert "zero-shot" in markdown(example())
    assert type(few).from_json(few.to_json()) == few
    assert result_rows(few) == result_rows(example())


def test_nothing_is_noted_of_a_run_without_target_labels(folder: Path) -> None:
    assert label_notes(config_of(folder), {}, {}) == []


# Rows of a comparison


def rows_config(folder: Path, **methods: Any) -> Any:
    config = config_of(folder, paths=drawn_from(folder, "sw", "ha"))
    values = {
        "benchmark": {"name": "files", "source": ["en"]},
        "files": {"paths": config.files.model_dump()["paths"]},
        "backbone": "toy",
        "store": {"root": str(folder / "store")},
        "compare": {"methods": methods, "seeds": [0]},
    }
    return configure_rows(values)


def test_rows_of_a_comparison_may_have_labels_of_their_own(folder: Path) -> None:
    found = rows_config(
        folder,
        zero={"name": "bl_direct"},
        ten={"name": "bl_direct", "benchmark": {"few": 10, "few_weight": 2}},
        some={"name": "cltp", "benchmark": {"few": {"sw": 5}, "select_on": "target_dev"}},
    )
    chosen = {title: runs[0].benchmark for title, runs in found.rows.items()}
    assert (chosen["zero"].few, chosen["ten"].few, chosen["some"].few) == (None, 10, {"sw": 5})
    assert (chosen["ten"].few_weight, chosen["some"].select_on) == (2, "target_dev")
    assert chosen["zero"].select_on == "source"


@pytest.mark.parametrize("benchmark", [{"targets": ["sw"]}, {"few": 3, "source": ["en"]}, 7])
def test_all_else_is_alike_in_all_rows(folder: Path, benchmark: Any) -> None:
    with pytest.raises(ConfigError, match=r"compare.methods.one.benchmark: .* a row's own are few"):
        rows_config(folder, one={"name": "bl_direct", "benchmark": benchmark})
