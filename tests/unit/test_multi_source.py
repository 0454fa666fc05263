"""What recipes with several sources share: whose gold, whose dev text, who is asked about what."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes import FACTS, C, MemoryDriver, SeveralSources, ids, languages_of, output_of
from tests.recipes import run_method as run
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.sources import SourceLabels, dense, hard_labels, soft_labels
from xlt_ray.ops.voting import majority_vote
from xlt_ray.recipe.schedule import Schedule


def test_each_source_has_a_model_of_its_own_gold_chosen_on_its_own_dev(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("hard_vote", driver, source_lr=1e-3, source_epochs=4)
    for name in driver.source_languages:
        call = driver.call("train", f"source {name}")
        assert call.dev is not None
        assert [languages_of(part) for part in (*call.parts, call.dev)] == [{name}, {name}]
        assert call.schedule == Schedule(1e-3, 4)
        assert call.start == driver.backbone
    asked = [call for call in driver.calls if call.verb == "annotate"]
    assert [call.title for call in asked] == [f"unlabelled by {x}" for x in driver.source_languages]
    assert all(len(call.pool) == 50 for call in asked)
    assert outcome.zero_shot.artifact == driver.call("train", "source s").result
    assert list(outcome.by_language) == ["a", "b"]
    assert outcome.final == outcome.zero_shot


def test_the_model_of_an_only_target_is_the_final_one(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    driver.pools = ("b",)
    outcome = run("hard_cat", driver)
    assert outcome.final == outcome.by_language["b"]
    assert outcome.zero_shot.artifact == driver.call("train", "source s").result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hard_cat", "hard_vote", "kd_re", "mrt", "lvm"])
def test_a_target_is_learnt_from_its_text_alone_by_a_fresh_model(name: str, tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    run(name, driver)
    trained = [call for call in driver.calls if call.title.startswith(("a", "b"))]
    for call in (call for call in trained if call.verb == "train"):
        assert {item[0] for part in call.parts for item in part.rows()["id"].to_pylist()} == {
            call.title[0]
        }
        assert call.dev is not None
        assert languages_of(call.dev) == {"s", "t", "u"}
    first = next(call for call in trained if call.verb == "train")
    assert first.start == driver.backbone


def test_a_source_that_is_left_out_learns_from_the_others(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    driver.source_languages = ("a", "t", "b")
    outcome = run("hard_cat", driver)
    assert len(driver.call("train", "a").parts) == 2
    dev = driver.call("train", "a").dev
    assert dev is not None
    assert languages_of(dev) == {"t", "b"}
    zero = outcome.zero_shot_by_language
    assert zero["a"].artifact == driver.call("train", "source t").result
    assert zero["b"].artifact == driver.call("train", "source a").result


def test_copies_have_the_labels_of_one_source_each(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    run("hard_cat", driver, epochs=2, lr=1e-4)
    parts = driver.call("train", "a").parts
    labels = [str(part.rows()["labels"].to_pylist()) for part in parts]
    assert len(set(labels)) == 3
    assert driver.call("train", "a").objective == CrossEntropy()
    assert driver.call("train", "a").schedule == Schedule(1e-4, 2, keep="last")


@pytest.mark.parametrize("ties", ["first", "probability"])
def test_votes_are_counted_word_by_word(ties: str, tmp_path: Path) -> None:
    """By labels alone, or with probabilities between labels of equally many votes."""
    driver = SeveralSources(tmp_path)
    outcome = run("hard_vote", driver, ties=ties)
    (part,) = driver.call("train", "b").parts
    rows, call = part.rows(), driver.call("derive", "b votes")
    assert call.result is not None
    assert ids(call.result) == set(rows["id"].to_pylist())
    assert call.result.info["items"] == sum(map(len, rows["labels"].to_pylist()))
    for item, labels in zip(rows["id"].to_pylist(), rows["labels"].to_pylist(), strict=True):
        logits = []
        for name in driver.source_languages:
            seed = zlib.crc32(f"source-{name} {item}".encode())
            draw = torch.randn(len(labels), C, generator=torch.Generator().manual_seed(seed)) * 3
            logits.append(draw)
        soft = torch.stack(logits).softmax(-1)
        half = soft.half().float()
        half /= half.sum(dim=-1, keepdim=True)
        hard = soft.argmax(-1).numpy()
        votes = majority_vote(hard, half.numpy() if ties == "probability" else None)
        assert labels == votes.tolist()
    tied = call.result.info["tied"] / call.result.info["items"]
    line = next(item for item in outcome.mechanisms if item.part.startswith("votes, share"))
    assert line.figures["b"] == tied
    assert 0.2 < tied < 0.6
    assert call.parameters["seed"] == 0


@pytest.mark.slow
def test_tied_votes_can_be_drawn(tmp_path: Path) -> None:
    """The same in every run of a seed."""
    found = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        driver = SeveralSources(tmp_path / name)
        driver.seed = seed
        run("hard_vote", driver, ties="random")
        (part,) = driver.call("train", "b").parts
        found.append(part.rows()["labels"].to_pylist())
    assert found[0] == found[1] != found[2]


def test_hard_is_for_one_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hard learns from one source, and a has s, t, u"):
        run("hard", SeveralSources(tmp_path))
    driver = MemoryDriver(tmp_path / "one")
    run("hard", driver)
    assert len(driver.call("train", "a").parts) == 1


def test_direct_transfer_scores_one_source(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("dt", driver, source="t")
    assert driver.titles("train") == ["source t"]
    assert {model.artifact for model in outcome.by_language.values()} == {
        driver.call("train", "source t").result
    }
    driver = SeveralSources(tmp_path / "out")
    driver.source_languages = ("a", "t")
    outcome = run("dt", driver, source="a")
    assert sorted(driver.titles("train")) == ["source a", "source t"]
    assert outcome.by_language["a"].artifact == driver.call("train", "source t").result
    assert outcome.by_language["b"].artifact == driver.call("train", "source a").result
    with pytest.raises(ConfigError, match="'x' is no source, there are: s, t, u"):
        run("dt", SeveralSources(tmp_path / "x"), source="x")


def test_probabilities_are_kept_in_half_precision_and_read_as_distributions() -> None:
    logits = torch.randn(6, C, generator=torch.Generator().manual_seed(0)) * 5
    columns = SourceLabels().annotate(output_of(logits), np.array([0, 2, 6]), FACTS)
    assert columns.items["probs"].dtype == np.float16
    columns = {f"s.{name}": torch.from_numpy(x) for name, x in columns.items.items()}
    (p,) = soft_labels(columns, ["s"], C)
    assert p.sum(dim=1).tolist() == pytest.approx([1.0] * 6, abs=1e-6)
    assert p.numpy() == pytest.approx(logits.softmax(-1).numpy(), abs=1e-3)
    assert hard_labels(columns, ["s"]).tolist() == [logits.argmax(1).tolist()]


def test_of_many_classes_the_largest_are_kept_and_the_rest_is_spread() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    annotator = SourceLabels(top=2)
    columns = annotator.annotate(output_of(logits), np.array([0, 1]), FACTS)
    assert annotator.columns(C) == ("probs", "top")
    assert columns.items["top"].tolist() == [[0, 1]]
    columns = {f"s.{name}": torch.from_numpy(x) for name, x in columns.items.items()}
    p = logits.softmax(-1)[0]
    rest = float(p[2] + p[3]) / 2
    found = soft_labels(columns, ["s"], C)[0, 0].tolist()
    assert found == pytest.approx([float(p[0]), float(p[1]), rest, rest], abs=1e-3)
    assert SourceLabels(top=4).columns(C) == SourceLabels().columns(C) == ("probs",)


@pytest.mark.slow
def test_more_than_eight_sources_keep_their_eight_largest(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    driver.source_languages = tuple("cdefghijk")
    run("hard_vote", driver)
    asked = [call.annotator for call in driver.calls if call.verb == "annotate"]
    assert asked == [SourceLabels(top=8)] * 9


def test_no_rows_stay_on_their_device() -> None:
    nothing = torch.zeros(0, 0, device="meta")
    assert dense(nothing, None, C).device.type == "meta"
    assert dense(nothing, None, C).shape == (0, C)


def test_sources_are_scored_by_their_own_models(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("mrt", driver)
    assert {name: model.artifact for name, model in outcome.sources.items()} == {
        name: driver.call("train", f"source {name}").result for name in "stu"
    }


def test_a_share_without_a_row_is_refused_before_training(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    with pytest.raises(ConfigError, match=r"text_share: 0\.04 of the 20 rows of a is none"):
        run("hard_vote", driver, text_share=0.04)
    assert driver.calls == []
