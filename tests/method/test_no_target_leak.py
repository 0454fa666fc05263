"""No method looks at a target's labels: with noise in their place it does the same, byte by byte.

Every method of the registry runs, whoever added it, on words or else on pairs. The labels of the
unlabelled text are no labels at all, those of the test text are drawn at random.
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import SOURCE, TARGETS, World, artifacts, jsonl
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import BENCHMARKS
from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.data.benchmarks.toy_translation import ready_rows
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.labels import LabelSet
from xlt_ray.methods import METHODS
from xlt_ray.run.check import configure_run
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.session import run, run_recipe
from xlt_ray.store.artifacts import Store

SIZES = {"train": 120, "dev": 48, "test": 24}
NAMED = {"token": ("wikiann", "ner"), "pair": ("xnli", "pair")}
"""Benchmark whose files are written, and the toy task that they are of."""
SHORT: dict[str, Any] = {
    "source_epochs": 2, "source_lr": 4e-3, "epochs": 2, "lr": 1e-3, "rounds": 2, "round_epochs": 1,
    "one_hot_rounds": 1, "final_epochs": 1, "ratio": 0.2, "iterations": 2, "share": 0.2,
    "stage1_lr": 1e-4, "gamma": 0.5, "k_neg": 4, "samples": 4, "critic_hidden": 32, "k": 20,
    "q": 16, "warmup": 1, "frozen_layers": 1, "t0": 0.5,
}  # fmt: skip
"""Keys that make a method short; each method has some of them."""
LABELLED = ("gold", "scores", "text")
"""Kinds of artifacts that hold gold or what was counted on it; and text, which is known by its
content to the steps that read it, but is called after the files."""


PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
FEW = 9
"""Labelled rows of each target, in the one case that has some."""


def rows(
    task: str,
    language: str,
    split: str,
    noise: random.Random | None,
    intact: Container[int] = (),
) -> Iterator[str]:
    """A file's text, row by row; noise leaves rows intact whose first line is named."""
    benchmark, toy = NAMED[task]
    names = BENCHMARKS[benchmark].labels
    source, line = make_source(toy, language, split, {split: SIZES[split]}), 1
    for example in source.examples(LabelSet(LABELS[toy])):
        found = example.labels  # type: ignore[union-attr]
        labels = [names[x] for x in ([found] if isinstance(found, int) else found or ())]
        if noise is not None and line not in intact:
            drawn = [noise.choice(names) for _ in labels]
            labels = drawn if split == "test" else [f"no label {noise.random()}"] * len(labels)
        if task == "token":
            words = zip(example.tokens or (), labels, strict=True)  # type: ignore[union-attr]
            yield "".join(f"{word}\t{label}\n" for word, label in words) + "\n"
            line += len(labels) + 1
        else:
            pair = {"premise": example.text, "hypothesis": example.text_pair}  # type: ignore[union-attr]
            yield json.dumps({**pair, "label": labels[0]}) + "\n"
            line += 1


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<task>/<clean or noisy>/<language>/<split>, the same text in both."""
    root = tmp_path_factory.mktemp("corpora")
    for task, ending in (("token", "txt"), ("pair", "jsonl")):
        for kind in ("clean", "noisy"):
            noise = random.Random(5)
            for language in (SOURCE, *TARGETS):
                own = noise if kind == "noisy" and language != SOURCE else None
                for split in SIZES:
                    path = root / task / kind / language / f"{split}.{ending}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("".join(rows(task, language, split, own)), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores, clean and noisy; methods that begin alike share their beginning in each."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def with_few(corpora: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpora of words again: in the noisy one the few labelled rows are as they were, and all
    other labels of targets are noise, those of their train text among them."""
    root, clean = tmp_path_factory.mktemp("few"), corpora / "token/clean"
    values = values_of(world, "bl_direct", "token", clean, root, "dev", "few", few=FEW)
    driver = DryRun(Store(str(root)), PLAN).driver(configure_run(values))
    found = driver.reading.sources((SOURCE, *TARGETS), "train")
    lines = {x.source.language: {row.line for row in x.source.examples(None)} for x in found}
    noise = random.Random(7)
    shutil.copytree(corpora / "token", root / "token")
    for language in TARGETS:
        assert len(lines[language]) == FEW
        made = rows("token", language, "train", noise, lines[language])
        (root / f"token/noisy/{language}/train.txt").write_text("".join(made), encoding="utf-8")
    return root


def values_of(
    world: World, name: str, task: str, data: Path, store: Path, split: str, title: str, **keys: Any
) -> dict[str, Any]:
    fields = METHODS[name].Config.model_fields
    known = {field.alias or key for key, field in fields.items()}
    values = world.values(store)
    own = {"name": NAMED[task][0], "root": str(data), "unlabelled_split": split}
    values["benchmark"] |= {**own, **keys}
    values["method"] = {"name": name, **{x: y for x, y in SHORT.items() if x in known}}
    values["run"] = {"name": title}
    return values


def done(store: Path, title: str) -> list[tuple[str, str, str]]:
    """What a run did, step by step."""
    ledger = jsonl(store / f"runs/{title}/ledger.jsonl")
    return [(x["title"], x["kind"], x["fingerprint"]) for x in ledger if x["kind"] not in LABELLED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split"),
    [(name, "dev,test" if name == "conlst" else "dev") for name in sorted(METHODS)],
)
def test_noise_in_place_of_target_labels_changes_nothing(
    world: World, corpora: Path, stores: Path, name: str, split: str
) -> None:
    """No byte of a model, no selection, no stopping round; only the scores of the targets. So it is
    where the test text itself is learned from, without its labels."""
    task = "token" if "token" in METHODS[name].tasks else "pair"
    title = f"{name}-{split.replace(',', '-')}"
    clean, noisy = (
        run(
            configure_run(
                values_of(world, name, task, corpora / task / kind, stores / kind, split, title)
            )
        )
        for kind in ("clean", "noisy")
    )
    check(stores, title, clean, noisy)
    assert any("transductive" in note for note in noisy["notes"]) == ("test" in split)


@pytest.mark.slow
def test_noise_in_place_of_all_but_few_labels_changes_nothing(
    world: World, with_few: Path, stores: Path
) -> None:
    """The few labelled rows of targets are learned from, and no other label of theirs."""
    title = "cltp-few"
    clean, noisy = (
        run(
            configure_run(
                values_of(
                    world, "cltp", "token", with_few / f"token/{kind}", stores / kind, "train,dev",
                    title, few=FEW, few_weight=2,
                )
            )
        )
        for kind in ("clean", "noisy")
    )  # fmt: skip
    check(stores, title, clean, noisy)
    assert noisy["few"] == dict.fromkeys(TARGETS, FEW)
    (text,) = (x for x in jsonl(stores / f"noisy/runs/{title}/ledger.jsonl")
               if x["title"] == "source train text")  # fmt: skip
    assert text["info"]["rows_by_language"] == {SOURCE: 120, **dict.fromkeys(TARGETS, 2 * FEW)}


@pytest.mark.slow
def test_noise_in_place_of_target_labels_changes_nothing_beside_translations(
    world: World, corpora: Path, stores: Path, tmp_path: Path
) -> None:
    """Source gold is learned from in translation, and no gold of targets is translated."""
    title, reports = "bl_single-translated", []
    text = {"text": list[str](), TARGETS[0]: list[str]()}
    own = make_source("ner", SOURCE, "train", {"train": SIZES["train"]})
    for one, other in ready_rows(own, make_source("ner", TARGETS[0], "train")):
        text["text"].append(one)
        text[TARGETS[0]].append(other)
    pq.write_table(pa.table(text), tmp_path / f"{SOURCE}.parquet")
    translation = {"train": True, "ready": str(tmp_path), "languages": [TARGETS[0]]}
    for kind in ("clean", "noisy"):
        data = corpora / "token" / kind
        values = values_of(world, "bl_single", "token", data, stores / kind, "train,dev", title)
        reports.append(run(configure_run({**values, "translation": translation})))
    check(stores, title, *reports)
    (note,) = (x for x in reports[1]["notes"] if "in translation" in x)
    assert f"{SIZES['train']} of {SIZES['train']} rows in {TARGETS[0]}" in note


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two labellers say of the unlabelled text of the targets, right in four of five words;
    one of them has not seen every third row."""
    path, draw = tmp_path_factory.mktemp("votes") / "votes.jsonl", random.Random(11)
    names = LABELS["ner"]
    with path.open("w", encoding="utf-8") as file:
        for language in TARGETS:
            source = make_source("ner", language, "dev", {"dev": SIZES["dev"]})
            for number, row in enumerate(source.examples(LabelSet(names))):
                right = [names[x] for x in row.labels]  # type: ignore[union-attr]
                said = [
                    [x if draw.random() < 0.8 else draw.choice(names) for x in right] for _ in "ab"
                ]
                own = {"labels.anna": said[0], "labels.ben": said[1] if number % 3 else None}
                file.write(json.dumps({"tokens": row.tokens, **own}) + "\n")  # type: ignore[union-attr]
    return path


RULES = '''
class Rules:
    """Every third word is an entity; writes down all that it sees."""

    def __init__(self, labels, task, log):
        self.log = log

    def __call__(self, texts):
        import json

        for text in texts:
            with open(self.log, "a") as file:
                file.write(json.dumps(text) + "\\n")
            yield ["O" if n % 3 else "B-LOC" for n in range(len(text["tokens"]))]
'''


LABELLED_BY: dict[str, dict[str, Any]] = {
    "lvm": {"labellers_only": True, "matrices": "closed"},
    "hard_vote": {},
    "cltp": {"labelled_rounds": 1},
    "maral": {"teacher": "labellers"},
}
"""Methods that learn from labellers, and keys with which they do."""


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELLED_BY)
def test_noise_in_place_of_target_labels_changes_nothing_beside_labellers(
    world: World, corpora: Path, votes: Path, stores: Path, name: str, tmp_path: Path
) -> None:
    """Votes are learned from, and no gold label of the targets, whatever these are. Who is asked
    sees the unlabelled text alone, and in a dry run nothing."""
    title = f"{name}-labelled"
    reports = []
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "log").touch()
    rules = {"call": f"{tmp_path}/rules.py:Rules", "args": {"log": str(tmp_path / "log")}}
    for kind in ("clean", "noisy"):
        values = values_of(
            world, name, "token", corpora / "token" / kind, stores / kind, "dev", title
        )
        values["labellers"] = {"crowd": {"file": str(votes), "each": True}, "rules": rules}
        values["method"] |= LABELLED_BY[name]
        dry = DryRun(Store(str(tmp_path / kind)), PLAN)
        run_recipe(configure_run(values), dry.driver(configure_run(values)))
        notes = {step["title"]: step["note"] for step in dry.steps}
        assert notes["votes of rules annotation"] == "asks about 96 texts at most"
        if kind == "clean":
            assert not (tmp_path / "log").read_text()
        reports.append(run(configure_run(values)))
    check(stores, title, *reports)
    assert any("given by anna, ben, rules" in note for note in reports[0]["notes"])
    ledger = {x["title"]: x["info"] for x in jsonl(stores / f"clean/runs/{title}/ledger.jsonl")}
    rows = len(TARGETS) * SIZES["dev"]
    assert ledger["votes of anna annotation"]["voted"] == rows
    assert ledger["votes of ben annotation"]["voted"] == rows * 2 // 3
    shown = list(jsonl(tmp_path / "log"))
    assert all(question.keys() == {"language", "tokens"} for question in shown)
    asked = Counter((x["language"], *x["tokens"]) for x in shown)
    texts = {
        split: {
            (x, *row.tokens)  # type: ignore[union-attr, misc]
            for x in TARGETS
            for row in make_source("ner", x, split, {split: SIZES[split]}).examples(None)
        }
        for split in ("dev", "test")
    }
    assert asked == Counter(dict.fromkeys(texts["dev"], 2)), "once in each of the two stores"
    assert not asked.keys() & (texts["test"] - texts["dev"])
    gold = corpora / "token/noisy" / TARGETS[0] / "test.txt"
    values["labellers"] = {"cheat": {"file": str(gold)}}
    with pytest.raises(ConfigError, match=r"labellers\.cheat\.file: .*test labels that"):
        run(configure_run(values))


def check(stores: Path, title: str, clean: Any, noisy: Any) -> None:
    """Whether two runs made the same, but for the scores of the targets."""
    steps = done(stores / "clean", title)
    assert done(stores / "noisy", title) == steps
    mine = {(kind, fingerprint) for _, kind, fingerprint in steps}
    kept = [artifacts(stores / kind, mine) for kind in ("clean", "noisy")]
    assert kept[0] == kept[1]
    assert kept[0].keys() == mine
    assert {kind for kind, _ in mine} >= {"tokens", "backbone", "model"}
    models = [stores / kind / f"runs/{title}/models.json" for kind in ("clean", "noisy")]
    left, right = (path.read_text().replace("/noisy", "/clean") for path in models)
    assert left == right
    assert [{**x, "scores": None} for x in noisy["rounds"]] == [
        {**x, "scores": None} for x in clean["rounds"]
    ]
    assert noisy["final"][SOURCE] == clean["final"][SOURCE]
    assert noisy["final"] != clean["final"], "the noise is there"
