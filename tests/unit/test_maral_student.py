"""MARAL's objectives on batches by hand: which spans count, which labels move, what is kept."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.encoders import commit, tokenised, write_encoder
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.data.batches.layout import SpanItems, layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.engine.train.batches import WorkerShare, own_examples
from xlt_ray.labels import LabelSet
from xlt_ray.methods.maral.student import MaralStudentLoss
from xlt_ray.methods.maral.student_config import StudentConfig
from xlt_ray.methods.maral.teacher import (
    SpanCrossEntropy,
    SpanProbabilities,
    TagSpans,
    even_weights,
)
from xlt_ray.models.classifier import Output
from xlt_ray.models.span_tagger import SpanHead, SpanTagger, load_span_tagger, unit
from xlt_ray.ops import refinement, vmf
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Store

LABELS = LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y"))
HEAD = SpanHead(max_len=2, q=4, scores="vmf", means=True, temp=0.1)
GOLD = [[1, 2, 0], [3, 0, 0]]
"""X over two words and O; Y and O."""
K = 3


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def corpus(tmp_path: Path) -> Mix:
    """Two source sentences of three words and two target sentences of two."""
    store = Store(str(tmp_path))
    source = tokenised([[[10], [11], [12]], [[13], [14], [15]]], ids=["s0", "s1"], labels=GOLD)
    target = tokenised([[[20], [21]], [[22], [23]]], ids=["t0", "t1"])
    gold = commit(store, "gold", "s", {"p0": source.select(["id", "labels"])})
    tokens = commit(store, "tokens", "s", {"p0": source.drop_columns(["labels"])})
    text = commit(store, "tokens", "t", {"p0": target})
    q = [[[0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.2, 0.2, 0.6]]] * 2
    said = pa.table({"id": ["t0", "t1"], "q": pa.array(q, pa.list_(pa.list_(pa.float32())))})
    columns = JoinedColumns("teacher", commit(store, "annotation", "t", {"p0": said}), ("q",))
    return Mix(Corpus(tokens).labelled(gold), paired=Corpus(text).with_columns(columns))


@pytest.fixture
def examples(corpus: Mix, encoder: Path) -> Examples:
    """5 + 5 + 3 + 3 spans."""
    items = SpanItems(HEAD.max_len, LABELS)
    layout = layout_of(load_tokenizer(str(encoder)), 16, spans=items)
    return own_examples(corpus, WorkerShare(0, 1), layout, ())


def objective(**changes: Any) -> MaralStudentLoss:
    weights = changes.pop("source_weights", None)
    values: dict[str, Any] = {"epochs": 4, "k": 3, "outside": 1.0, **changes}
    return MaralStudentLoss(
        HEAD, 0.0, 0.25, 1, StudentConfig(**values),
        source_prior=(0.7, 0.2, 0.1), target_prior=(0.6, 0.3, 0.1), source_weights=weights,
    )  # fmt: skip


class Bench:
    """An objective with a model and examples, driven by hand."""

    def __init__(self, encoder: Path, examples: Examples, **changes: Any):
        self.examples = examples
        self.loss = objective(**changes)
        head = HEAD if self.loss.margin else replace(HEAD, scores="softmax")
        self.loss.head = head
        self.model = load_span_tagger(encoder, LABELS.names, head, seed=1).eval()
        context = TaskContext(LABELS, (), examples.num_items, layout=examples.layout)
        self.loss.prepare(context, self.model)
        self.loss.on_examples(examples)
        self.number = 0

    def step(self, rows: list[int] | None = None) -> tuple[dict[str, Tensor], Output, Batch]:
        torch.manual_seed(self.number)
        batch = self.loss.transform_batch(self.examples.collate(rows or [0, 1, 2, 3]))
        self.loss.before_step(OptimiserStep(self.number, 9, batch.num_items, batch.num_paired))
        output = self.model(batch)
        found = self.loss.loss(output, batch)
        self.loss.after_step()
        self.number += 1
        return found, output, batch

    def epoch(self, steps: int = 1) -> dict[str, Any]:
        for _ in range(steps):
            self.step()
        self.loss.after_epoch()
        return self.loss.progress()


Benches = Callable[..., Bench]


@pytest.fixture
def bench(encoder: Path, examples: Examples) -> Benches:
    return lambda **changes: Bench(encoder, examples, **changes)


def test_the_companion_text_has_the_teachers_labels(examples: Examples, bench: Benches) -> None:
    memory = bench().loss.memory
    assert examples.num_items == 16
    assert memory.target_N.tolist() == [False] * 10 + [True] * 6
    assert memory.y_N.tolist() == [0, 1, 0, 0, 0, 2, 0, 0, 0, 0, *[1, 0, 2] * 2]
    assert memory.p_NK[:10].abs().sum() == 0


def test_the_first_step_is_m11_with_every_target_span(bench: Benches) -> None:
    """Scores by the random first means; 10 source spans and 6 target spans, each a mean."""
    b = bench()
    found, output, batch = b.step()
    rho, z = output.logits.double(), unit(output.features)
    start = load_span_tagger_means(b)
    pi_s = torch.tensor([0.7, 0.2, 0.1]).double().log()
    pi_t = torch.tensor([0.6, 0.3, 0.1]).double().log()
    own, y = ~batch.paired, b.loss.memory.y_N
    source = -(rho[own] + pi_s).log_softmax(1).gather(1, y[:10, None]).mean()
    target = -(rho[~own] + pi_t).log_softmax(1).gather(1, y[10:, None]).mean()
    torch.testing.assert_close(found["loss"].double() / 10, source + target, rtol=1e-5, atol=0)
    fit = vmf.concentration(start)
    wanted = vmf.scores(z, fit.mu_KQ, fit.kappa_K, HEAD.temp)
    torch.testing.assert_close(rho, wanted, rtol=1e-5, atol=1e-5)


def load_span_tagger_means(b: Bench) -> Tensor:
    """The means that the model began with."""
    assert b.model.classes is not None
    fresh = type(b.model.classes)(K, HEAD, 1)
    return fresh.mean


def test_class_means_are_plain_means_of_all_spans(bench: Benches) -> None:
    """Of both texts, by gold and by pseudo-label; a step counts after it was scored."""
    b = bench()
    _, output, _ = b.step()
    z, y = unit(output.features).detach().double(), b.loss.memory.y_N
    assert b.model.classes is not None
    for number in range(K):
        torch.testing.assert_close(b.model.classes.mean[number], z[y == number].mean(dim=0))
    assert b.model.classes.count.tolist() == [(y == k).sum().item() for k in range(K)]
    b.step()
    assert b.model.classes.count.sum() == 32


def test_means_are_over_two_epochs_at_most(bench: Benches) -> None:
    b = bench()
    assert b.model.classes is not None
    counts = []
    for _ in range(3):
        b.epoch(steps=2)
        counts.append(b.model.classes.count.sum().item())
        b.step()
        counts.append(b.model.classes.count.sum().item())
        b.loss.next_mean_KQ.zero_()
        b.loss.next_count_K.zero_()
        b.loss.is_new = False
    assert counts[0] == 32, "the first epoch alone"
    assert counts[1] == 48, "that of the epoch before, and a step"


def test_an_epoch_later_unreliable_spans_are_not_learnt_from(bench: Benches) -> None:
    b = bench()
    for _ in range(2):
        b.epoch()
    memory = b.loss.memory
    memory.reliable_N = memory.target_N.clone()
    memory.reliable_N[torch.tensor([10, 14])] = False
    before = memory.p_NK.clone()
    found, output, batch = b.step()
    rho = output.logits[batch.paired].double() + vmf.log_prior(b.loss.pi_t_K)
    kept = torch.tensor([1, 2, 3, 5])
    labels = before[10:].argmax(dim=1)
    wanted = -rho[kept].log_softmax(1).gather(1, labels[kept, None]).sum()
    torch.testing.assert_close(found["target"].double(), wanted, rtol=1e-5, atol=0)
    changed = (memory.p_NK != before).any(dim=1).nonzero()[:, 0].tolist()
    assert set(changed) <= {10, 14}
    assert torch.equal(memory.y_N[10:], memory.p_NK[10:].argmax(dim=1))


def test_labels_move_by_means_and_neighbours(bench: Benches) -> None:
    """Span 10 by hand, with means that its scores are above for the class Y alone."""
    b = bench()
    for _ in range(2):
        b.epoch()
    memory = b.loss.memory
    memory.reliable_N[10] = False
    assert memory.index is not None
    batch = b.examples.collate([2])
    with torch.no_grad():
        output = b.model(batch)
    rho, z = output.logits.double(), unit(output.features)
    memory.score_mean_K = torch.tensor([math.inf, math.inf, -math.inf]).double()
    memory.near_mean_K = torch.tensor([math.inf, -1.0, math.inf]).double()
    p = memory.p_NK[10].double()
    b.step([0, 2])
    d_c = torch.tensor([[rho[0].argmax() == 0, False, True]])
    d_n = torch.tensor([[False, True, False]])
    wanted = refinement.refine(p[None], d_c, d_n, 0.95)[0]
    torch.testing.assert_close(memory.p_NK[10].double(), wanted, rtol=1e-6, atol=1e-7)
    near = memory.near(torch.tensor([10]), z[:1])
    assert near.sum() == 3


def test_a_moved_label_counts_into_the_means_of_its_own_step(bench: Benches) -> None:
    """The next step is scored by them: neighbours cannot be looked for later than in the step."""
    b = bench(refinement="global")
    for _ in range(2):
        b.epoch()
    memory = b.loss.memory
    memory.reliable_N[10] = False
    memory.p_NK[10], memory.y_N[10] = torch.tensor([0.0, 0.51, 0.49]), 1
    memory.score_mean_K = torch.tensor([math.inf, math.inf, -math.inf]).double()
    _, output, batch = b.step([0, 2])
    assert memory.y_N[10] == 2
    y_N = memory.y_N[batch.item_ids]
    z_NQ = unit(output.features).detach().double()
    assert b.loss.next_count_K.tolist() == torch.bincount(y_N, minlength=K).tolist()
    torch.testing.assert_close(b.loss.next_mean_KQ[2], z_NQ[y_N == 2].mean(dim=0))
    assert (batch.item_ids[y_N == 2] == 10).any()


@pytest.mark.parametrize(
    ("refinement", "classes"),
    [("none", []), ("global", [2]), ("local", [1]), ("both", [1, 2])],
)
def test_each_vote_can_be_left_out(bench: Benches, refinement: str, classes: list[int]) -> None:
    b = bench(refinement=refinement)
    for _ in range(2):
        b.epoch()
    memory, before = b.loss.memory, b.loss.memory.p_NK[10].clone()
    memory.reliable_N[10] = False
    memory.score_mean_K = torch.tensor([math.inf, math.inf, -math.inf]).double()
    memory.near_mean_K = torch.tensor([math.inf, -1.0, math.inf]).double()
    b.step([0, 2])
    if not classes:
        assert torch.equal(memory.p_NK[10], before)
    else:
        towards = (memory.p_NK[10] - 0.95 * before) / 0.05
        voted = set((towards > 0.1).nonzero()[:, 0].tolist())
        assert voted - {0} == set(classes), "O may have a vote of its own"
    assert (memory.index is None) == (refinement in ("none", "global"))


def test_without_filtering_all_target_spans_stay(bench: Benches) -> None:
    b = bench(filtering=False)
    for _ in range(3):
        b.epoch()
    assert torch.equal(b.loss.memory.reliable_N, b.loss.memory.target_N)
    said = torch.tensor([[0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.2, 0.2, 0.6]])
    assert not torch.allclose(b.loss.memory.p_NK[10:13], said), "labels move all the same"


def test_spans_of_o_may_all_stay_reliable(bench: Benches) -> None:
    """Twenty spans of each class, half of them far below the others."""
    memory = bench().loss.memory
    scores_N = torch.cat([torch.linspace(0.0, 1.0, 20), torch.linspace(9.0, 10.0, 20)])
    memory.target_N = torch.ones(80) > 0
    memory.y_N = torch.arange(80) % 2
    memory.score_N = scores_N.repeat_interleave(2)
    for outside in (True, False):
        memory.reliable_N = torch.zeros(80) > 0
        memory.filter(outside=outside)
        by_class = [memory.reliable_N[number::2].tolist() for number in (0, 1)]
        assert by_class[0] == [not outside] * 20 + [True] * 20
        assert by_class[1] == [False] * 20 + [True] * 20
        assert memory.score_mean_K[:2].tolist() == pytest.approx([5.0, 5.0])


def test_the_settings_say_whether_the_spans_of_o_are_filtered(bench: Benches) -> None:
    asked = []
    for outside in (True, False):
        b = bench(filter_outside=outside, warmup=1)
        b.loss.memory.filter = lambda *, outside: asked.append(outside)  # type: ignore[method-assign]
        b.epoch()
    assert asked == [True, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"filtering": False, "filter_outside": False},
        {"predict_prior": True, "loss": "scl"},
        {"predict_prior": True, "loss": "cross_entropy"},
    ],
)
def test_what_would_have_no_effect_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"filter_outside|predict_prior"):
        StudentConfig(**changes)


def test_cross_entropy_in_place_of_the_margin(bench: Benches) -> None:
    """The linear layer learns; the means are kept for filter and refinement."""
    b = bench(loss="cross_entropy")
    assert b.model.linear is not None
    found, output, batch = b.step()
    own, y = ~batch.paired, b.loss.memory.y_N
    wanted = torch.nn.functional.cross_entropy(output.logits[own], y[:10])
    torch.testing.assert_close(found["source"] / 10, wanted)
    assert b.model.classes is not None
    assert b.model.classes.count.sum() == 16
    b.epoch()


def test_the_supervised_contrastive_loss_beside_cross_entropy(bench: Benches) -> None:
    b = bench(loss="scl")
    found, output, batch = b.step()
    own, y = ~batch.paired, b.loss.memory.y_N[:10]
    z = unit(output.features[own]).tolist()
    logits = output.logits.detach()
    total = float(torch.nn.functional.cross_entropy(logits[own], y, reduction="sum"))
    for i in range(10):
        near = [sum(a * c for a, c in zip(z[i], z[j], strict=True)) / 0.07 for j in range(10)]
        whole = math.log(sum(math.exp(x) for j, x in enumerate(near) if j != i))
        same = [j for j in range(10) if j != i and y[j] == y[i]]
        total -= sum(near[j] - whole for j in same) / max(len(same), 1)
    assert found["source"].item() == pytest.approx(total, rel=1e-4)


def test_the_control_learns_from_the_source_alone(bench: Benches) -> None:
    """The target spans are scored and counted all the same, and none of them is in a loss."""
    b = bench(target=False)
    found, *_ = b.step()
    assert found["target"].item() == 0
    assert b.loss.num_target == 0
    b.loss.after_epoch()
    stock = b.loss.progress()
    assert (stock["used"], stock["scored"]) == (0, 1)


def test_o_need_not_have_a_distribution(bench: Benches) -> None:
    """Its mean is zero and stays so: it scores every span alike."""
    b = bench(outside_class=False)
    _, output, _ = b.step()
    scores = output.logits[:, 0].detach()
    assert scores.max() - scores.min() < 1e-5
    assert scores[0] > 0
    b.epoch(2)
    assert b.model.classes is not None
    assert b.model.classes.mean[0].abs().sum() == 0
    assert b.model.classes.mean[1].abs().sum() > 0


@pytest.mark.parametrize("rule", [False, True])
def test_where_o_scores_highest_it_has_a_vote_by_the_codes_rule(bench: Benches, rule: bool) -> None:
    b = bench(outside_rule=rule, refinement="global")
    memory = b.loss.memory
    b.loss.epoch = b.loss.settings.warmup
    before = memory.p_NK[10].clone()
    rho = torch.tensor([[5.0, 1.0, 2.0]], dtype=torch.float64)
    memory.score_mean_K = torch.tensor([math.inf, math.inf, 0.0]).double()
    b.loss._refine(torch.tensor([10]), torch.zeros(1, 4), rho)
    towards = (memory.p_NK[10] - 0.95 * before) / 0.05
    wanted = [0.5, 0.0, 0.5] if rule else [0.0, 0.0, 1.0]
    torch.testing.assert_close(towards, torch.tensor(wanted), rtol=1e-4, atol=1e-4)


def test_moved_labels_in_losses_are_counted(bench: Benches) -> None:
    """Of six target spans in the loss two have another label than the teacher's."""
    b = bench()
    memory = b.loss.memory
    memory.p_NK[10] = torch.tensor([0.0, 0.0, 1.0])
    memory.p_NK[11] = torch.tensor([0.0, 1.0, 0.0])
    memory.y_N[10:12] = torch.tensor([2, 1])
    stock = b.epoch()
    assert (stock["used"], stock["moved_used"]) == (6, 2)
    assert (stock["scored"], stock["moved"]) == (1.0, pytest.approx(2 / 6))
    state = b.loss.state_dict()
    assert state["uses"].tolist() == [0, 0]


def test_shares_are_of_the_spans_that_were_scored(bench: Benches) -> None:
    """The epoch came to the first target sentence alone, all of whose spans are reliable."""
    b = bench()
    b.step([0, 2])
    b.loss.after_epoch()
    stock = b.loss.progress()
    assert stock["scored"] == 0.5
    assert stock["reliable"] == [1.0, 1.0, 1.0]


def test_the_codes_target_loss_has_a_second_softmax(bench: Benches) -> None:
    b = bench(target_loss="code", target_exponent=0.1)
    p = b.loss.memory.p_NK[10:].clone().double()
    found, output, batch = b.step()
    prior = 0.1 * torch.tensor([0.6, 0.3, 0.1]).double().log()
    twice = (output.logits[batch.paired].double() + prior).softmax(1).log_softmax(1)
    torch.testing.assert_close(found["target"].double(), -(p * twice).sum(), rtol=1e-5, atol=0)


def test_source_weights(bench: Benches) -> None:
    """X counts three times: one span of ten."""
    plain, weighted = bench().step()[0], bench(source_weights=(1.0, 3.0, 1.0)).step()[0]
    assert weighted["source"] > plain["source"]


def test_stock_of_an_epoch(bench: Benches) -> None:
    b = bench()
    first = b.epoch()
    assert first["alpha"] is None
    assert first["reliable"] == [1.0, 1.0, 1.0]
    assert np.array(first["cosines"]).shape == (K, K)
    assert np.diag(first["cosines"]) == pytest.approx([1.0] * K)
    assert first["pi_t"] == pytest.approx([0.4, 1.1 / 3, 0.7 / 3], abs=1e-6)
    assert first["gamma_all"] <= first["gamma_mean"]
    second, third = b.epoch(), b.epoch()
    assert second["recall"] == 1
    assert third["alpha"] == 0.95
    table = b.loss.findings(b.examples)["labels"]
    assert table["id"].to_pylist() == ["t0", "t1"]
    assert table["epoch-0"].to_pylist() == [[3, 1, 5], [3, 1, 5]]
    assert len(table.column_names) == 4


def test_a_checkpoint_within_an_epoch_restores_everything(
    encoder: Path, examples: Examples, bench: Benches
) -> None:
    """In the third epoch, after one of its two steps: the rest is the same to the last bit."""
    whole = bench()
    for _ in range(2):
        whole.epoch(steps=2)
    whole.step()
    kept = {name: value.clone() for name, value in whole.loss.state_dict().items()}
    weights = {name: value.clone() for name, value in whole.model.weights().items()}
    again = bench()
    again.model.take_weights(weights)
    again.loss.load_state_dict(kept)
    again.number = whole.number
    for one in (whole, again):
        one.step()
        one.loss.after_epoch()
        one.epoch(steps=2)
    for name, value in whole.loss.state_dict().items():
        assert torch.equal(again.loss.state_dict()[name].nan_to_num(7.0), value.nan_to_num(7.0)), (
            name
        )
    assert whole.model.classes is not None
    assert again.model.classes is not None
    assert torch.equal(whole.model.classes.mean, again.model.classes.mean)


def test_the_gradient_reaches_the_encoder_and_no_statistic(bench: Benches) -> None:
    b = bench()
    found, _, _ = b.step()
    found["loss"].backward()
    gradients = [p.grad for p in b.model.encoder.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0
    assert b.model.classes is not None
    assert not b.model.classes.mean.requires_grad


def test_the_teacher_guesses_hidden_tokens_of_target_rows_alone(
    encoder: Path, examples: Examples
) -> None:
    head = SpanHead(max_len=2, q=4, masked_lm=True)
    model = load_span_tagger(encoder, LABELS.names, head).eval()
    loss = SpanCrossEntropy(head, 0.5, 1.0, 1, (1.0, 2.0, 1.0))
    loss.prepare(TaskContext(LABELS, (), examples.num_items, layout=examples.layout), model)
    loss.on_examples(examples)
    plain = examples.collate([0, 2, 3])
    batch = loss.transform_batch(plain)
    assert batch.hidden is not None
    assert len(batch.input_ids) == 5, "a copy of each target row"
    assert batch.hidden.tokens.tolist() == [20, 21, 22, 23]
    assert torch.equal(batch.input_ids[:3], plain.input_ids)
    shown = batch.input_ids.flatten()[batch.hidden.positions]
    assert set(shown.tolist()) == {examples.layout.mask}
    loss.before_step(OptimiserStep(0, 1, batch.num_items, batch.num_paired))
    output = model(batch)
    found = loss.loss(output, batch)
    assert output.guessed is not None
    mlm = torch.nn.functional.cross_entropy(output.guessed, batch.hidden.tokens)
    weights = torch.tensor([1.0, 2.0, 1.0])
    own = ~batch.paired
    source = torch.nn.functional.cross_entropy(
        output.logits[own], batch.labels[own], weights, reduction="sum"
    )
    torch.testing.assert_close(found["loss"], source + 0.5 * 5 * mlm)
    no_mask = replace(examples.layout, mask=None)
    loss.prepare(TaskContext(LABELS, (), examples.num_items, layout=no_mask), model)
    with pytest.raises(ValueError, match=r"method\.w_mlm"):
        loss.transform_batch(plain)


def test_a_pass_without_target_rows_still_reaches_all_parameters(
    encoder: Path, examples: Examples
) -> None:
    """Workers average gradients: none may be without one."""
    head = SpanHead(max_len=2, q=4, masked_lm=True)
    model: SpanTagger = load_span_tagger(encoder, LABELS.names, head)
    loss = SpanCrossEntropy(head, 0.5, 0.25, 1)
    loss.prepare(TaskContext(LABELS, (), examples.num_items, layout=examples.layout), model)
    loss.on_examples(examples)
    batch = loss.transform_batch(examples.collate([0]))
    loss.before_step(OptimiserStep(0, 1, batch.num_items, 0))
    loss.loss(model(batch), batch)["loss"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


class Guesses:
    """A teacher that hides every token of the target rows, in each so-manieth step."""

    def __init__(self, encoder: Path, examples: Examples, every: int):
        head = SpanHead(max_len=2, q=4, masked_lm=True)
        self.examples, self.number = examples, 0
        self.model = load_span_tagger(encoder, LABELS.names, head, seed=1).eval()
        self.loss = SpanCrossEntropy(head, 0.5, 1.0, every)
        context = TaskContext(LABELS, (), examples.num_items, layout=examples.layout)
        self.loss.prepare(context, self.model)
        self.loss.on_examples(examples)

    def step(self, steps: int = 9) -> tuple[Batch, dict[str, Tensor]]:
        """A step of two passes, of which the second has no target row."""
        torch.manual_seed(self.number)
        batches = [self.loss.transform_batch(self.examples.collate(x)) for x in ([0, 2, 3], [1])]
        items = sum(batch.num_items for batch in batches)
        self.loss.before_step(OptimiserStep(self.number, steps, items, batches[0].num_paired))
        found, _ = [self.loss.loss(self.model(batch), batch) for batch in batches]
        self.loss.after_step()
        self.number += 1
        return batches[0], found


def test_tokens_are_hidden_in_each_so_manieth_step_with_so_many_times_the_weight(
    encoder: Path, examples: Examples
) -> None:
    """The sum over three steps is three times the term of the first."""
    always, seldom = (Guesses(encoder, examples, every) for every in (1, 3))
    for number in range(7):
        (full, by_full), (batch, found) = always.step(), seldom.step()
        assert batch.hidden is not None
        assert full.hidden is not None
        assert len(full.hidden.tokens) == 4
        term = (by_full["loss"] - by_full["source"]) / by_full["mlm"]  # 0.5 * 10 spans / 4 tokens
        assert term.item() == pytest.approx(0.5 * 10 / 4)
        if number % 3:
            assert len(batch.input_ids) == 3, "no copies"
            assert len(batch.hidden.tokens) == 0
            assert torch.equal(found["loss"], found["source"])
        else:
            assert torch.equal(batch.input_ids, full.input_ids)
            assert torch.equal(found["mlm"], by_full["mlm"])
            rest = found["loss"] - found["source"]
            assert rest.item() == pytest.approx(3 * term.item() * found["mlm"].item())
    assert seldom.loss.progress()["mlm"] == pytest.approx(always.loss.progress()["mlm"], rel=1e-6)


def test_a_step_without_hidden_tokens_reaches_all_parameters(
    encoder: Path, examples: Examples
) -> None:
    """Workers average gradients; that of the masked-LM head's own layers is zero."""
    b = Guesses(encoder, examples, 2)
    b.step()
    _, found = b.step()
    found["loss"].backward()
    gradients = {name: p.grad for name, p in b.model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    own = [gradients[f"model.lm_head.{name}"] for name in ("dense.weight", "layer_norm.weight")]
    assert not any(x.any() for x in own if x is not None)


def test_a_resumed_training_hides_tokens_in_the_same_steps(
    encoder: Path, examples: Examples
) -> None:
    whole, again = (Guesses(encoder, examples, 3) for _ in range(2))
    for _ in range(2):
        whole.step()
    again.loss.load_state_dict({k: v.clone() for k, v in whole.loss.state_dict().items()})
    again.number = whole.number
    for wanted in (0, 4, 0, 0, 4):
        for one in (whole, again):
            hidden = one.step()[0].hidden
            assert hidden is not None
            assert len(hidden.tokens) == wanted


def test_a_training_has_as_many_steps_as_tokens_are_hidden_in_one_of(
    encoder: Path, examples: Examples
) -> None:
    Guesses(encoder, examples, 3).step(steps=3)
    with pytest.raises(ValueError, match=r"method\.mlm_every: 4, but this training has 3 opt"):
        Guesses(encoder, examples, 4).step(steps=3)


def test_annotators_say_probabilities_and_tags() -> None:
    """a b c with spans a ab b bc c: ab is an X, bc a surer Y."""
    logits = torch.zeros(5, K)
    logits[:, 0], logits[1, 1], logits[3, 2] = 2.0, 5.0, 6.0
    output, offsets = Output(logits, torch.zeros(5, 1)), np.array([0, 5])
    context = TaskContext(LABELS, ())
    said = SpanProbabilities(HEAD).annotate(output, offsets, context).items["q"]
    assert said == pytest.approx(logits.softmax(1).numpy())
    pruned = SpanProbabilities(HEAD, prune=True).annotate(output, offsets, context).items["q"]
    assert pruned[1].tolist() == [1.0, 0.0, 0.0], "it overlaps a surer entity"
    assert pruned[[0, 2, 3, 4]] == pytest.approx(said[[0, 2, 3, 4]])
    tags = TagSpans(HEAD).annotate(output, offsets, context).words["labels"]
    assert tags.tolist() == [0, 3, 4]


def test_even_weights_have_a_mean_of_one() -> None:
    """1 / log 100 and 1 / log 10 over their mean; a class that is not there counts nowhere."""
    raw = [1 / math.log(x) for x in (100, 10)]
    assert even_weights([100, 10, 0]) == pytest.approx([*(2 * x / sum(raw) for x in raw), 1.0])
    assert even_weights([0]) == (1.0,)


def test_a_worker_without_target_rows(encoder: Path, corpus: Mix) -> None:
    """Of two workers the first has the source rows here, and the second the targets."""
    items = SpanItems(HEAD.max_len, LABELS)
    layout = layout_of(load_tokenizer(str(encoder)), 16, spans=items)
    parts = [own_examples(corpus, WorkerShare(rank, 2), layout, ()) for rank in range(2)]
    bare = [x for x in parts if x.num_parts == len(x)]
    assert bare, "some worker has no target row"
    b = Bench(encoder, bare[0])
    for _ in range(3):
        b.step(list(range(len(bare[0]))))
        b.loss.after_epoch()
    assert not b.loss.memory.target_N.any()
    assert b.loss.findings(bare[0])["labels"].num_rows == 0


def test_a_span_is_stored_once_with_what_it_was_last(bench: Benches) -> None:
    """An epoch that comes to the target twice; 3 in 10 of the O spans."""
    b = bench(outside=0.3)
    b.epoch()
    b.step()
    _, output, batch = b.step()
    memory = b.loss.memory
    z = unit(output.features.detach())
    state = memory.state_dict()
    ids = state["ids"].tolist()
    assert ids == sorted(set(ids))
    stored = [i for i in range(16) if memory.y_N[i] > 0 or memory.drawn_N[i]]
    assert ids == stored
    assert len(stored) < 16
    row = {item: place for place, item in enumerate(batch.item_ids.tolist())}
    assert torch.equal(state["z"], z[[row[item] for item in ids]].float())


def test_scores_of_an_earlier_epoch_count_no_more(bench: Benches) -> None:
    """The second sentence of the target is not come to: it stays as reliable as it was."""
    b = bench()
    for _ in range(2):
        b.epoch()
    memory = b.loss.memory
    assert memory.score_N.isnan().all()
    memory.reliable_N[13:] = torch.tensor([False, True, False])
    b.step([0, 1, 2])
    assert memory.score_N[10:13].isfinite().all()
    assert memory.score_N[13:].isnan().all()
    b.loss.after_epoch()
    assert memory.reliable_N[13:].tolist() == [False, True, False]


def test_a_class_that_has_lost_its_spans_has_no_threshold(bench: Benches) -> None:
    b = bench()
    for _ in range(2):
        b.epoch()
    memory = b.loss.memory
    assert memory.score_mean_K.isfinite().all()
    memory.p_NK[10:] = torch.tensor([0.9, 0.1, 0.0])
    memory.y_N[10:] = 0
    memory.reliable_N[10:] = True
    b.epoch()
    assert memory.score_mean_K.isfinite().tolist() == [True, False, False]
    assert memory.near_mean_K.isfinite().tolist() == [True, False, False]


def test_stock_is_told_at_the_end_of_an_epoch_alone(bench: Benches) -> None:
    b = bench()
    assert "cosines" in b.epoch()
    b.step()
    assert "cosines" not in b.loss.progress()


def test_the_teachers_labels_are_copied(examples: Examples, bench: Benches) -> None:
    before = examples.columns["teacher.q"].copy()
    b = bench()
    b.loss.memory.p_NK.zero_()
    b.loss.memory.y_N.zero_()
    assert np.array_equal(examples.columns["teacher.q"], before)
    assert examples.labels is not None
    assert (examples.labels[10:] == -100).all()
