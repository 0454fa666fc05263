"""Options of MRT and LVM: closed forms, priors, the model that is kept, memory, the risk."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.encoders import commit
from tests.recipes import FACTS, C, SeveralSources, batch_of, logits_of, output_of
from tests.recipes import run_method as run
from xlt_ray.methods.lvm.channel import CHUNK, Channel, ChannelLoss, Confusions
from xlt_ray.methods.lvm.estep import EStep, mean_of
from xlt_ray.methods.lvm.settings import LVMConfig, MRTConfig
from xlt_ray.ops import confusion
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.store.artifacts import Store

NAMES = ("s", "t")


class Given:
    """Examples of which only the columns count."""

    def __init__(self, columns: dict[str, Tensor]):
        self.columns = {name: value.numpy() for name, value in columns.items()}
        self.num_items = len(next(iter(columns.values())))

    def columns_of(self, items: slice, device: torch.device) -> dict[str, Tensor]:
        return {name: torch.tensor(value[items]) for name, value in self.columns.items()}


def prepared(loss: ChannelLoss, own: Confusions | None) -> ChannelLoss:
    model = torch.nn.Linear(1, 1)
    model.own = own  # type: ignore[assignment]
    loss.prepare(FACTS, model)  # type: ignore[arg-type]
    return loss


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("strength", [0.0, 5.0])
def test_matrices_are_set_from_the_stored_posterior(soft: bool, strength: float) -> None:
    """sigma[i, j] = (sum of Q(j) over the words where i is said + strength start[i, j]) / sum."""
    count = CHUNK + 9  # more than are taken at once
    said = torch.tensor(np.random.default_rng(0).integers(0, C, (2, count)))
    q = logits_of(count, 5).softmax(-1)
    columns = {"posterior.q": q}
    for name, labels in zip(NAMES, said, strict=True):
        columns[f"{name}.labels"] = labels.to(torch.int16)
        columns[f"{name}.probs"] = torch.nn.functional.one_hot(labels, C).half()
    channel = Channel(NAMES, soft, tau_psi=2.0, tau_sigma=1.0)
    own = Confusions(2, C, 1.0, 0.5)
    loss = prepared(ChannelLoss(channel, "bound", strength=strength), own)
    loss.on_examples(Given(columns))  # type: ignore[arg-type]
    start = torch.softmax(torch.eye(C), dim=0).double()
    for number in range(2):
        counts = torch.zeros(C, C, dtype=torch.float64).index_add_(0, said[number], q.double())
        expected = counts + strength * start
        expected /= expected.sum(dim=0)
        assert own.raw[number].softmax(0).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert not own.raw.requires_grad
    loss.before_step(OptimiserStep(1, 3))
    logits = logits_of(3).requires_grad_()
    few = {name: value[:3] for name, value in columns.items()}
    loss.loss(output_of(logits), batch_of([0] * 3, columns=few))["loss"].backward()
    assert own.raw.grad is None
    assert loss.progress()["sigma_moved"] > 0.1


def test_matrices_that_are_trained_are_left_alone_beforehand() -> None:
    own = Confusions(2, C, 1.0, 0.5)
    loss = prepared(ChannelLoss(Channel(NAMES, False, 2.0, 1.0), "bound"), own)
    loss.on_examples(Given({"posterior.q": logits_of(3).softmax(-1)}))  # type: ignore[arg-type]
    assert own.raw.requires_grad
    assert loss.progress() == {"sigma_moved": 0.0, "lambda": 1.0}


def test_a_closed_form_has_no_rate(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    run("lvm", driver, matrices="closed", matrix_prior=7.0)
    call = driver.call("train", "a M-step 1")
    assert call.schedule is not None
    assert call.schedule.own is None
    assert isinstance(call.objective, ChannelLoss)
    assert call.objective.strength == 7.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"matrices": "closed", "matrix_lr": 0.1}, "matrices closed has no rate"),
        ({"matrices": "closed", "estep": "batch"}, "matrices closed needs the Q of the whole text"),
        ({"matrix_prior": 1}, "matrix_prior is one of matrices closed"),
        ({"divide_prior": True, "labels": "hard"}, "divide_prior is for probabilities"),
    ],
)
def test_options_that_would_do_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LVMConfig.model_validate(values)


def test_priors_count_once() -> None:
    """Sources that have seen nothing give their prior: the posterior is then the model's own."""
    prior = (0.7, 0.1, 0.1, 0.1)
    columns = {f"{name}.probs": torch.tensor([prior] * 3) for name in NAMES}
    logits = torch.tensor([[0.1, 0.9, 0.0, 0.0]]).repeat(3, 1)
    sharp: dict[str, Any] = {"tau_psi": 12.0}
    plain = Channel(NAMES, True, **sharp).log_joint(logits, columns, None, 1.0).softmax(-1)
    divided = Channel(NAMES, True, priors=(prior, prior), **sharp)
    found = divided.log_joint(logits, columns, None, 1.0).softmax(-1)
    assert plain.argmax(1).tolist() == [0] * 3  # the prior was counted twice more
    assert found.numpy() == pytest.approx(logits.softmax(-1).numpy(), abs=1e-4)


def test_the_prior_of_a_source_is_its_mean_over_a_language(tmp_path: Path) -> None:
    probs = [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]]
    kind = pa.list_(pa.list_(pa.float32()))
    table = pa.table({
        "id": ["a", "b", "z"], "language": ["xx", "xx", "yy"], "probs": pa.array(probs, kind)
    })  # fmt: skip
    said = commit(Store(str(tmp_path)), "annotation", "said", {"p0": table})
    _, facts = mean_of(said, columns=["probs"], language="xx", num_classes=2)
    assert facts["prior"] == pytest.approx([(1.5 + 1) / 5, (1.5 + 1) / 5])


@pytest.mark.slow
def test_priors_reach_the_training_and_the_labels_by_q(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("mrt", driver, divide_prior=True)
    estep = driver.call("annotate", "a E-step 1").annotator
    assert isinstance(estep, EStep)
    priors = estep.channel.priors
    assert priors is not None
    assert len(priors) == 3
    assert all(sum(prior) == pytest.approx(1.0) for prior in priors)
    assert len(set(priors)) == 3
    outcome.labeller(driver, "final test", driver.targets.of("a"), outcome.by_language["a"])
    last = driver.calls[-1].annotator
    assert isinstance(last, EStep)
    assert last.channel == estep.channel


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hard_cat", "hard_vote", "kd_re", "mrt", "lvm"])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_one_rule_keeps_the_models_of_all(name: str, keep: str, tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    options = {"estep": "batch"} if name in ("mrt", "lvm") else {}
    run(name, driver, keep=keep, **options)
    schedule = driver.call("train", "a").schedule
    assert schedule is not None
    assert schedule.keep == keep


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "kept"), [("last", 3), ("best", 2)])
def test_of_em_the_last_m_step_is_kept_or_the_best(keep: str, kept: int, tmp_path: Path) -> None:
    """Source dev of three source models, the start, and the M-steps."""
    driver = SeveralSources(tmp_path, scores=[0.5, 0.5, 0.5, 0.1, 0.3, 0.8, 0.6])
    driver.pools = ("a",)
    outcome = run("mrt", driver, keep=keep, stop="never")
    found = driver.call("train", f"a M-step {kept}").result
    assert outcome.by_language["a"].artifact == found


def test_sources_are_gone_through_one_after_the_other() -> None:
    """Memory does not grow with their number: no more than two of them are there at once."""
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def said(hard: bool) -> Iterator[Tensor]:
        nonlocal most
        for number in range(20):
            made = logits_of(6, number).softmax(-1)
            made = made.argmax(1) if hard else made
            alive.append(weakref.ref(made))
            most = max(most, sum(item() is not None for item in alive))
            yield made
            del made

    log_phi = confusion.log_columns(confusion.scaled_identity(2.0, C)).expand(20, C, C)
    soft = torch.stack([logits_of(6, number).softmax(-1) for number in range(20)])
    found = confusion.log_emission_soft(log_phi, said(hard=False))
    assert torch.allclose(found, (soft @ log_phi.exp()).log().sum(dim=0), atol=1e-5)
    hard = confusion.log_emission_hard(log_phi, said(hard=True))
    assert torch.allclose(hard, torch.stack([log_phi[0][x] for x in soft.argmax(-1)]).sum(dim=0))
    assert most <= 2


def test_the_risk_says_how_many_sentences_teach() -> None:
    """One word, whose probability is not small, and a sentence of 40, of which the product is."""
    labels = {f"{name}.labels": torch.zeros(41, dtype=torch.int16) for name in NAMES}
    channel = Channel(NAMES, False, 2.0)
    loss = prepared(ChannelLoss(channel, "risk"), None)
    batch = batch_of([0] * 41, columns=labels, sentences=[0] + [1] * 40)
    loss.loss(output_of(torch.zeros(41, C)), batch)
    kept = loss.state_dict()
    assert kept["means"].tolist() == [[1.0], [2.0]]
    again = prepared(ChannelLoss(channel, "risk"), None)
    again.load_state_dict(kept)
    assert again.progress() == {"teaching": 0.5}


def test_a_sentence_of_the_risk_counts_the_same_whatever_its_length() -> None:
    """Two words that are said as they are thought, in one sentence or in two of one word."""
    labels = {f"{name}.labels": torch.zeros(2, dtype=torch.int16) for name in NAMES}
    logits = torch.full((2, C), -20.0)
    logits[:, 0] = 20.0
    channel = Channel(NAMES, False, 12.0)
    found = [
        prepared(ChannelLoss(channel, "risk"), None)
        .loss(output_of(logits), batch_of([0, 0], columns=labels, sentences=sentences))["loss"]
        .item()
        for sentences in ([0, 0], [0, 1])
    ]
    assert found == pytest.approx([-1.0, -2.0], abs=1e-3)


def test_defaults_are_the_papers() -> None:
    config = LVMConfig()
    assert (config.matrices, config.strength, config.divide_prior) == ("gradient", None, False)
    assert (config.keep, MRTConfig().keep) == ("last", "last")
