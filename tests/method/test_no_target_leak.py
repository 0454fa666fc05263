"""No method looks at a target's labels: with noise in their place it does the same, byte by byte.

Every method of the registry runs, whoever added it, on words or else on pairs. The labels of the
unlabelled text are no labels at all, those of the test text are drawn at random.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world import SOURCE, TARGETS, World, artifacts, jsonl
from xlt_ray.data.benchmarks.registry import BENCHMARKS
from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.labels import LabelSet
from xlt_ray.methods import METHODS
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

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


def rows(task: str, language: str, split: str, noise: random.Random | None) -> Iterator[str]:
    """A file's text, row by row."""
    benchmark, toy = NAMED[task]
    names = BENCHMARKS[benchmark].labels
    source = make_source(toy, language, split, {split: SIZES[split]})
    for example in source.examples(LabelSet(LABELS[toy])):
        found = example.labels  # type: ignore[union-attr]
        labels = [names[x] for x in ([found] if isinstance(found, int) else found or ())]
        if noise is not None:
            drawn = [noise.choice(names) for _ in labels]
            labels = drawn if split == "test" else [f"no label {noise.random()}"] * len(labels)
        if task == "token":
            words = zip(example.tokens or (), labels, strict=True)  # type: ignore[union-attr]
            yield "".join(f"{word}\t{label}\n" for word, label in words) + "\n"
        else:
            pair = {"premise": example.text, "hypothesis": example.text_pair}  # type: ignore[union-attr]
            yield json.dumps({**pair, "label": labels[0]}) + "\n"


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


def carry_out(
    world: World, name: str, task: str, data: Path, store: Path, split: str, title: str
) -> dict[str, Any]:
    fields = METHODS[name].Config.model_fields
    known = {field.alias or key for key, field in fields.items()}
    values = world.values(store)
    values["benchmark"] |= {"name": NAMED[task][0], "root": str(data), "unlabelled_split": split}
    values["method"] = {"name": name, **{x: y for x, y in SHORT.items() if x in known}}
    values["run"] = {"name": title}
    return run(configure_run(values))


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
        carry_out(world, name, task, corpora / task / kind, stores / kind, split, title)
        for kind in ("clean", "noisy")
    )
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
    assert any("transductive" in note for note in noisy["notes"]) == ("test" in split)
