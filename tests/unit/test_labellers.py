"""Labellers as sources of Hard, KD-re, MRT and LVM: votes that may be missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.recipes import FACTS, C, SeveralSources, batch_of, logits_of, output_of
from tests.recipes import run_method as run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.keyed import items_of
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.kd_re import MatchTeacher
from xlt_ray.methods.lvm.channel import Channel
from xlt_ray.methods.lvm.estep import EStep, mean_of
from xlt_ray.methods.shared.sources import dense
from xlt_ray.ops.confusion import posterior
from xlt_ray.ops.voting import is_tied, is_unanimous, majority_vote

WHOLE = ("hard_cat", "hard_vote", "kd_re", "mrt", "lvm")


class Labelled(SeveralSources):
    """Sources s, t and u, and two labellers who leave a third of the rows each."""

    labellers = ("anna", "ben")


def test_missing_votes_are_not_counted() -> None:
    """Four items: 1 and 2 tied, first source away; 2 twice; one vote; none."""
    hard = np.array([[-100, 0, -100, -100], [1, 2, 1, -100], [2, 2, -100, -100]], np.int16)
    assert majority_vote(hard).tolist() == [1, 2, 1, -100]
    assert is_tied(hard).tolist() == [True, False, False, False]
    assert is_unanimous(hard).tolist() == [False, False, True, False]
    soft = np.zeros((3, 4, 3))
    soft[1, 0], soft[2, 0] = [0.1, 0.5, 0.4], [0, 0.1, 0.9]
    assert majority_vote(hard, soft).tolist() == [2, 2, 1, -100]
    nobody = np.full((2, 3), -100)
    assert majority_vote(nobody).tolist() == [-100] * 3
    assert not is_tied(nobody).any()
    assert not is_unanimous(nobody).any()


def test_no_vote_is_no_probability() -> None:
    probs = torch.tensor([[0.5, 0.25], [0.0, 0.0]])
    assert dense(probs, None, 2).tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3)], [0, 0]]


@pytest.mark.parametrize("soft", [False, True])
def test_a_missing_vote_is_a_factor_of_one(soft: bool) -> None:
    """Q of three words by hand: both speak, the second alone, nobody."""
    channel = Channel(("anna", "ben"), soft, tau_psi=2.0)
    labels = {"anna": [1, UNLABELLED, UNLABELLED], "ben": [0, 2, UNLABELLED]}
    columns: dict[str, torch.Tensor] = {}
    for name, given in labels.items():
        columns[f"{name}.labels"] = torch.tensor(given, dtype=torch.int16)
        columns[f"{name}.probs"] = torch.stack(
            [torch.eye(C)[x] if x >= 0 else torch.zeros(C) for x in given]
        )
    logits = logits_of(3)
    psi, p = torch.softmax(2.0 * torch.eye(C), dim=0), logits.softmax(-1)
    expected = torch.stack([p[0] * psi[1] * psi[0], p[1] * psi[2], p[2]])
    joint = channel.log_joint(logits, columns, None, 1.0)
    assert torch.allclose(posterior(joint), expected / expected.sum(1, keepdim=True), atol=1e-6)
    assert channel.heard(columns).tolist() == [True, True, False]
    said = [x.sum(dim=1).tolist() for x in channel.said(columns, logits)]
    assert said == [[1, 0, 0], [1, 1, 0]]
    output = output_of(logits)._replace(columns=columns)
    found = EStep(channel).annotate(output, np.array([0, 2, 3]), FACTS)
    assert found.items["labels"][2] == UNLABELLED
    assert (found.items["labels"][:2] >= 0).all()
    assert found.rows["nll"][1] == pytest.approx(0)
    labelled = EStep(channel, keep=False).annotate(output, np.array([0, 2, 3]), FACTS)
    assert (labelled.items["labels"] >= 0).all(), "text is labelled, whoever speaks about it"


def test_a_teacher_is_the_mean_of_those_who_speak() -> None:
    probs = {"anna.probs": torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]),
             "ben.probs": torch.tensor([[0, 1.0, 0, 0], [0, 1.0, 0, 0]])}  # fmt: skip
    logits = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0]])
    loss = MatchTeacher(("anna", "ben"), (3.0, 1.0), "mse")
    found = loss.loss(output_of(logits), batch_of([0, 0], columns=probs))["loss"].item()
    teacher = np.array([[0.75, 0.25, 0, 0], [0, 1, 0, 0]])
    assert found == pytest.approx(((teacher - 0.25) ** 2).mean(axis=1).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_labellers_stand_beside_sources(name: str, tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    outcome = run(name, driver)
    assert driver.titles("votes") == ["anna", "ben"]
    assert set(outcome.sources) == {"s", "t", "u"}
    assert outcome.with_sources == {}
    if name in ("mrt", "lvm", "kd_re"):
        last = driver.call("train", "a M-step 1" if name != "kd_re" else "a").parts[0]
        assert {f"{x}.probs" for x in ("s", "t", "u", "anna", "ben")} <= set(
            last.rows().column_names
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_labellers_are_enough(name: str, tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    driver.labellers = ("anna",)
    outcome = run(name, driver, labellers_only=True)
    assert not [x for x in driver.titles("train") if x.startswith("source")]
    assert outcome.sources == {}
    assert "No source model" in outcome.notes[0]
    title = "a" if "a" in driver.titles("train") else "a M-step 1"
    rows = driver.call("train", title).parts[0].rows()
    assert all(int(x[1:]) % 3 for x in rows["id"].to_pylist()), "rows without votes are left out"
    assert (items_of(rows["labels"])[0] >= 0).all()


@pytest.mark.slow
def test_one_labeller_is_one_source(tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    driver.labellers = ("anna",)
    run("hard", driver, labellers_only=True)
    with pytest.raises(ConfigError, match="hard learns from one source, and a has s, t, u, anna"):
        run("hard", driver)


@pytest.mark.parametrize(
    ("labellers", "options", "message"),
    [
        ((), {"labellers_only": True}, "labellers_only: there are none; name one"),
        (("anna",), {"labellers_only": True, "given": {"s": "x.jsonl"}}, r"method\.given: stands"),
        (("anna",), {"predict": "q"}, "labellers .anna. speak about the unlabelled text alone"),
    ],
)
def test_what_does_not_fit_is_said(
    labellers: tuple[str, ...], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    driver = Labelled(tmp_path)
    driver.labellers = labellers
    with pytest.raises(ConfigError, match=message):
        run("lvm", driver, **options)


@pytest.mark.slow
def test_a_prior_is_of_the_words_that_are_spoken_of(tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    votes = driver.votes("anna")
    labels, probs = (items_of(votes.table([x])[x])[0] for x in ("labels", "probs"))
    wanted = (probs[labels >= 0].astype(np.float64).sum(axis=0) + 1) / ((labels >= 0).sum() + C)
    options: dict[str, Any] = {"columns": ["probs"], "num_classes": C}
    table = votes.table(["language"])
    assert set(table["language"].to_pylist()) == {"a", "b"}
    found = [mean_of(votes, language=x, **options)[1]["prior"] for x in "ab"]
    counts = [(labels >= 0)[_of(votes, x)].sum() + C for x in "ab"]
    total = np.array(found).T @ np.array(counts) - 1
    assert total / ((labels >= 0).sum() + C) == pytest.approx(wanted, abs=1e-3)


def _of(votes: Any, language: str) -> np.ndarray:
    rows = votes.table(["language", "labels"])
    sizes = [len(x) for x in rows["labels"].to_pylist()]
    return np.repeat([x == language for x in rows["language"].to_pylist()], sizes)


@pytest.mark.slow
def test_j_is_of_the_words_that_are_spoken_of(tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    driver.labellers = ("anna",)
    run("mrt", driver, labellers_only=True, epochs=1)
    facts = [x.result.info for x in driver.calls if x.title == "a E-step 1 likelihood" and x.result]
    votes = driver.votes("anna")
    labels = items_of(votes.table(["labels"])["labels"])[0]
    assert facts[0]["items"] == (labels >= 0)[_of(votes, "a")].sum()
