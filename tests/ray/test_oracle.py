"""The oracle on a finished run: durable steps that count, and that nothing else reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world import SIZES, SOURCE, TARGETS, World
from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.data.schema import Example
from xlt_ray.labels import LabelSet
from xlt_ray.oracle.candidate_sets import COMPARED, MeasuredSets
from xlt_ray.oracle.judge import Judge
from xlt_ray.oracle.measures import Counted
from xlt_ray.run.session import Done, carry_out, connected

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RULE = MeasuredSets(lam=4.0, tau=10.0)


@pytest.fixture(scope="module")
def done(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """A run of one round with candidate sets."""
    flags = ["rounds=1", "one_hot_rounds=0", "source_epochs=4", "lambda=1", "tau=2"]
    config = world.config(tmp_path_factory.mktemp("oracle"), *(f"method.{key}" for key in flags))
    with connected(config), carry_out(config) as finished:
        yield finished


@pytest.fixture(scope="module")
def counts(done: Done) -> tuple[list[Counted], list[Counted]]:
    oracle = Judge(done.oracle)
    sets = oracle.sets("source", done.outcome.zero_shot, RULE)
    (only,) = done.outcome.rounds
    return oracle.recall("source", sets), oracle.accuracy("round 1", only.picked)


def gold_words(language: str) -> list[str]:
    """Gold tags of a language's dev split, straight from its generator."""
    names = LabelSet(LABELS["ner"])
    source = make_source("ner", language, "dev", {"dev": SIZES["dev"]})
    found: list[str] = []
    for example in source.examples(names):
        assert isinstance(example, Example)
        assert isinstance(example.labels, tuple)
        found += [names.names[label] for label in example.labels]
    return found


def test_every_word_is_counted(counts: tuple[list[Counted], list[Counted]]) -> None:
    recall, _ = counts
    whole = [row for row in recall if row["by"] == "share" and row["at"] == 100]
    assert len(whole) == len(TARGETS) * 3 * len(COMPARED)
    for row in whole:
        if row["part"] == "predicted":
            assert row["items"] > 0
            continue
        words = gold_words(row["language"])
        inside = [word for word in words if word != "O"]
        assert row["items"] == len(words if row["part"] == "all" else inside)
        assert 0 < row["right"] <= row["contained"] <= row["items"]
    assert SOURCE not in {row["language"] for row in recall}


def test_a_round_is_what_it_selected(
    done: Done, counts: tuple[list[Counted], list[Counted]]
) -> None:
    (only,) = done.outcome.rounds
    every = [row for row in counts[1] if row["part"] == "all"]
    assert sum(row["items"] for row in every) == sum(only.set_sizes.values())
    several = sum(count for size, count in only.set_sizes.items() if int(size) > 1)
    assert sum(row["several"] for row in every) == several > 0


def manifests(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in root.glob("artifacts/*/*/manifest.json")]


def test_nothing_reads_what_the_oracle_found(
    done: Done, counts: tuple[list[Counted], list[Counted]]
) -> None:
    """No step has an oracle's result as an input; none but an oracle the unlabelled text's gold."""
    root = Path(done.driver.runner.store.root)
    steps = manifests(root)
    oracle = {step["fingerprint"] for step in steps if step["kind"] == "oracle"}
    assert len(oracle) == 2
    peeked = done.oracle.gold.fingerprint
    for step in steps:
        assert not oracle & set(step["inputs"])
        assert (peeked in step["inputs"]) == (step["kind"] == "oracle")


def test_a_second_look_is_found_in_the_store(
    done: Done, counts: tuple[list[Counted], list[Counted]]
) -> None:
    before = len(manifests(Path(done.driver.runner.store.root)))
    oracle = Judge(done.oracle)
    assert oracle.recall("again", oracle.sets("again", done.outcome.zero_shot, RULE)) == counts[0]
    assert len(manifests(Path(done.driver.runner.store.root))) == before
