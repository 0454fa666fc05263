"""CLTP: its losses, its annotator and its recipe."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import digamma
from transformers import AutoModelForTokenClassification, XLMRobertaConfig

from tests.encoders import tokenised
from tests.recipes import FACTS, C, MemoryDriver, batch_of, ids, logits_of, output_of
from xlt_ray.engine.annotate import to_table
from xlt_ray.labels import LabelSet
from xlt_ray.methods.cltp.losses import EvidentialSetLoss, LeveragedWeightedLoss
from xlt_ray.methods.cltp.recipe import CLTP, CLTPConfig
from xlt_ray.methods.cltp.sets import CandidateAnnotator, SetRule
from xlt_ray.methods.shared.evidential import EvidentialAnnotator, EvidentialLoss
from xlt_ray.models.tagger import Tagger
from xlt_ray.ops import evidential
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext

Loss = TypeVar("Loss", bound=Objective)


def evidence_of(f: float) -> float:
    return f + 1 if f > 0 else math.exp(f)


# -- losses ---------------------------------------------------------------------------------------

TINY = XLMRobertaConfig(
    vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
)
TAGGER = Tagger(AutoModelForTokenClassification.from_config(TINY, trust_remote_code=False))


def prepared(objective: Loss) -> Loss:
    objective.prepare(FACTS, TAGGER)
    return objective


def lw(beta: float = 2.0, **fields: Any) -> LeveragedWeightedLoss:
    return prepared(LeveragedWeightedLoss(beta, **fields))


def evi(**fields: Any) -> EvidentialLoss:
    return prepared(EvidentialLoss(**fields))


def of_sets(of: Literal["each", "union"]) -> EvidentialSetLoss:
    return prepared(EvidentialSetLoss(of))


LOSSES = [evi(), evi(kind="squared"), lw(), of_sets("each"), of_sets("union")]


def test_the_evidential_loss_is_a_sum_over_labelled_items() -> None:
    """digamma(S) - digamma(e_y + 1), in a loop over float64."""
    logits, labels = logits_of(6), [1, -100, 0, 3, -100, 2]
    expected = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        if label != -100:
            e = [evidence_of(f) for f in row]
            expected += float(digamma(sum(e) + C) - digamma(e[label] + 1))
    found = evi().loss(output_of(logits), batch_of(labels, sets=[15] * 6))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_unlabelled_items_get_no_gradient() -> None:
    for objective in LOSSES:
        logits = logits_of(3).requires_grad_()
        objective.loss(output_of(logits), batch_of([1, -100, 2]))["loss"].backward()
        assert logits.grad is not None
        assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, True]


def test_a_batch_without_labels_has_loss_zero_and_a_gradient() -> None:
    for objective in LOSSES:
        for labels in ([-100, -100], []):
            logits = logits_of(len(labels)).requires_grad_()
            loss = objective.loss(output_of(logits), batch_of(labels))["loss"]
            loss.backward()
            assert loss.item() == 0


@pytest.mark.parametrize("of", ["each", "union"])
def test_the_evidential_losses_of_sets(of: Literal["each", "union"]) -> None:
    """Summed over the classes of the set, or with the set as one class; gold is a set of one."""
    logits, labels, sets = logits_of(5), [1, -100, 0, 3, 2], [0, 3, 0b0110, 0b1011, 0b0100]
    expected = 0.0
    for row, label, mask in zip(logits.tolist(), labels, sets, strict=True):
        if label == -100:
            continue
        e = [evidence_of(f) for f in row]
        members = [c for c in range(C) if mask >> c & 1] or [label]
        alphas = [e[c] + 1 for c in members] if of == "each" else [sum(e[c] + 1 for c in members)]
        expected += sum(float(digamma(sum(e) + C) - digamma(alpha)) for alpha in alphas)
    found = of_sets(of).loss(output_of(logits), batch_of(labels, sets))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("of", ["each", "union"])
def test_a_set_of_one_has_the_evidential_loss(of: Literal["each", "union"]) -> None:
    logits, labels = logits_of(4), [0, 1, 2, 3]
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    of_sets(of).loss(output_of(one), batch_of(labels, [1, 2, 4, 8]))["loss"].backward()
    evi().loss(output_of(other), batch_of(labels))["loss"].backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_the_union_of_a_set_prefers_none_of_its_members() -> None:
    f = torch.tensor([[4.0, 1.0, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False, False]])
    e = evidential.evidence(f)
    (slope,) = torch.autograd.grad(evidential.evidential_nll_of_sets(e, mask).sum(), e)
    assert slope[0, 0] == slope[0, 1] < 0 < slope[0, 2] == slope[0, 3]
    full = torch.ones(1, C, dtype=torch.bool)
    assert evidential.evidential_nll_of_sets(e, full).item() == 0


@pytest.mark.parametrize("function", ["evidential_nll_of_sets", "evidential_nll_of_each"])
def test_gradients_of_the_losses_of_sets(function: str) -> None:
    e = torch.rand(6, C, generator=torch.Generator().manual_seed(3)).double() * 9 + 0.1
    mask = torch.tensor([[1, 0, 1, 0]] * 3 + [[0, 1, 1, 1]] * 3, dtype=torch.bool)
    assert torch.autograd.gradcheck(
        lambda x: getattr(evidential, function)(x, mask), (e.requires_grad_(),)
    )


def test_losses_record_the_evidence_of_entities_and_their_slopes() -> None:
    """Words outside entities, of class 0, are many and easy: they do not count."""
    f = torch.tensor([[9.0, 0, 0, 0], [-30.0, 20.0, 18.0, -30.0], [1.0, 0, 0, 5.0]])
    batch = batch_of([0, 1, 3], [0, 0b0110, 0])
    for objective in (of_sets("each"), of_sets("union"), lw()):
        objective.loss(output_of(f), batch)
        record = objective.progress()
        assert record["evidence"] == pytest.approx((21 + 6) / 2)
        assert objective.progress()["evidence"] == 0  # counted once
    inside, outside = record["slope_inside"], record["slope_outside"]
    leaf = f.clone().requires_grad_()
    objective = lw(lw_input="logit")
    objective.loss(output_of(leaf), batch)["loss"].backward()
    assert leaf.grad is not None
    record, slopes = objective.progress(), leaf.grad[1:].abs()
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    assert record["slope_inside"] == pytest.approx(slopes[mask].sum().item() / 2, rel=1e-5)
    assert record["slope_outside"] == pytest.approx(slopes[~mask].sum().item() / 2, rel=1e-5)
    assert inside < 1e-3 < outside  # with evidence of 20 the loss is flat on the candidates


def slow_weights(f: list[float], members: set[int]) -> list[float]:
    """Softmax of f within the set and, apart from it, outside (eq. 8)."""
    weights = [0.0] * len(f)
    for group in (members, set(range(len(f))) - members):
        total = sum(math.exp(f[c]) for c in group)
        for c in group:
            weights[c] = math.exp(f[c]) / total
    return weights


def slow_lw(f: list[float], members: set[int], omega: list[float], beta: float) -> float:
    """sum_{c in y} omega_c sigmoid(-f_c) + beta sum_{c not in y} omega_c sigmoid(f_c) (eq. 7)."""
    total = 0.0
    for c, value in enumerate(f):
        sign = -1 if c in members else 1
        weight = 1.0 if c in members else beta
        total += weight * omega[c] / (1 + math.exp(-sign * value))
    return total


@pytest.mark.parametrize("lw_input", ["evidence", "logit"])
def test_the_lw_loss_and_when_its_weights_change(lw_input: Any) -> None:
    """Three passes over items in changing order: omega is 1/C at first, then that of the last
    pass that saw the item; gold (no set) is a set of one; -100 neither counts nor changes it."""
    objective = lw(beta=1.5, lw_input=lw_input)
    omega = {item: [1 / C] * C for item in range(6)}
    passes: list[tuple[list[int], list[int], list[int]]] = [
        ([0, 1, 2, 3], [1, 2, -100, 0], [0, 0b0110, 0b0011, 0b1011]),
        ([3, 1, 5], [0, 2, 3], [0b1011, 0b0110, 0]),
        ([2, 3, 1, 0], [1, 0, -100, 1], [0b0011, 0b1001, 0b0110, 0]),
    ]
    for seed, (items, labels, sets) in enumerate(passes):
        logits = logits_of(len(items), seed)
        expected = 0.0
        for row, item, label, mask in zip(logits.tolist(), items, labels, sets, strict=True):
            if label == -100:
                continue
            f = [evidence_of(x) for x in row] if lw_input == "evidence" else row
            members = {c for c in range(C) if mask >> c & 1} or {label}
            expected += slow_lw(f, members, omega[item], 1.5)
            omega[item] = slow_weights(f, members)
        found = objective.loss(output_of(logits), batch_of(labels, sets, items))
        assert found["loss"].item() == pytest.approx(expected, rel=1e-5)
        parts = found["candidate"] + 1.5 * found["noncandidate"]
        assert found["loss"].item() == pytest.approx(parts.item(), rel=1e-5)
    expected_omega = torch.tensor([omega[item] for item in range(6)])
    torch.testing.assert_close(objective.omega, expected_omega, rtol=1e-5, atol=1e-7)


def test_the_weights_carry_no_gradient() -> None:
    objective = lw()
    logits = logits_of(2).requires_grad_()
    objective.loss(output_of(logits), batch_of([0, 1], [0b0011, 0b0110]))["loss"].backward()
    assert not objective.omega.requires_grad


def test_a_resumed_objective_goes_on_where_it_was() -> None:
    one, other = lw(), lw()
    batch = batch_of([0, 1, 2], [0b0011, 0b0110, 0])
    one.loss(output_of(logits_of(3, 1)), batch)
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    for objective in (one, other):
        objective.loss(output_of(logits_of(3, 2)), batch)
    assert torch.equal(one.omega, other.omega)
    loss = [x.loss(output_of(logits_of(3, 3)), batch)["loss"].item() for x in (one, other, lw())]
    assert loss[0] == loss[1] != loss[2]


# -- the annotator --------------------------------------------------------------------------------


def slow_dissonance(b: Sequence[float]) -> float:
    total = 0.0
    for i, mass in enumerate(b):
        others = [x for j, x in enumerate(b) if j != i]
        if sum(others) > 0:
            balance = [1 - abs(x - mass) / (x + mass) if x and mass else 0.0 for x in others]
            conflict = sum(x * y for x, y in zip(others, balance, strict=True)) / sum(others)
            total += mass * conflict
    return total


def slow_set(row: list[float], rule: SetRule) -> tuple[int, float]:
    """Bit mask and gamma of the candidate set of one word, by trying all of them (eq. 6)."""
    e = [evidence_of(f) for f in row]
    b = [x / (sum(e) + C) for x in e]
    if rule.top_k is not None:
        order = sorted(range(C), key=lambda c: -e[c])
        tried = [tuple(order[: rule.top_k])]
    else:
        tried = [(max(range(C), key=lambda c: e[c]),)]
        tried += [y for k in range(2, C) for y in itertools.combinations(range(C), k)]
    best = (math.inf, 0, 0.0)
    for y in tried:
        merged = 1 - math.prod(1 - b[c] for c in y)
        gamma = slow_dissonance([*(b[c] for c in range(C) if c not in y), merged])
        more = len(y) - 1
        growth = rule.lam**more if rule.penalty == "power" else rule.lam * more
        score = gamma * (growth + rule.tau) * rule.tau ** (more - 1)
        best = min(best, (score, sum(1 << c for c in y), gamma))
    return best[1], best[2]


RULES = [
    SetRule(4.0, 10.0, "power"),
    SetRule(1.5, 1.5, "power"),
    SetRule(1.0, 1.1, "linear"),
    SetRule(4.0, 10.0, "power", 2),
]


@pytest.mark.parametrize("rule", RULES)
def test_sets_and_gamma_against_trying_all(rule: SetRule) -> None:
    logits = logits_of(60, seed=4, spread=2.0)
    columns = CandidateAnnotator(rule).annotate(output_of(logits), np.array([0, 20, 60]), FACTS)
    expected = [slow_set(row, rule) for row in logits.double().tolist()]
    assert columns.items["candidates"].tolist() == [mask for mask, _ in expected]
    np.testing.assert_allclose(columns.items["gamma"], [g for _, g in expected], rtol=1e-5)
    assert columns.items["labels"].tolist() == logits.argmax(1).tolist()
    search = "fixed" if rule.top_k is not None else "exact"
    assert columns.rows["search"].tolist() == [search, search]


def test_without_a_rule_a_set_is_the_likeliest_class() -> None:
    logits = logits_of(9)
    columns = EvidentialAnnotator().annotate(output_of(logits), np.array([0, 4, 9]), FACTS)
    assert columns.items["candidates"].tolist() == (1 << logits.argmax(1)).tolist()
    e = [[evidence_of(f) for f in row] for row in logits.double().tolist()]
    gamma = [slow_dissonance([x / (sum(row) + C) for x in row]) for row in e]
    np.testing.assert_allclose(columns.items["gamma"], gamma, rtol=1e-5)
    assert columns.rows["search"].tolist() == ["one-hot", "one-hot"]


def words(*tags: str, sure: float = 6.0) -> torch.Tensor:
    """Logits that spell some tags, the more surely the larger ``sure``."""
    logits = torch.full((len(tags), C), -1.0)
    for row, tag in enumerate(tags):
        logits[row, FACTS.labels.index(tag)] = sure
    return logits


def test_orphans_and_words_without_evidence_make_a_sentence_invalid() -> None:
    vacuous = torch.full((1, C), -30.0)
    logits = torch.cat(
        [words("B-X", "I-X"), words("O", "I-X"), words("B-X"), vacuous, words("O"), words("B-Y")]
    )
    columns = CandidateAnnotator(RULES[0]).annotate(
        output_of(logits), np.array([0, 2, 4, 6, 8]), FACTS
    )
    assert columns.rows["valid"].tolist() == [True, False, False, True]


def test_the_evidence_floor_is_a_strict_bound() -> None:
    """The evidence of C words of exp(f) each adds C exp(f) to S: with floor 0.1, f = log(0.1 / C)
    is on the edge."""
    edge = math.log(0.1 / C)
    for shift, valid in ((1e-3, True), (-1e-3, False)):
        logits = torch.full((1, C), edge + shift)
        columns = EvidentialAnnotator(evidence_floor=0.1).annotate(
            output_of(logits), np.array([0, 1]), FACTS
        )
        assert columns.rows["valid"].tolist() == [valid]


def test_sentences_are_ranked_by_the_label_or_by_the_instance() -> None:
    """A set takes the conflict of its classes out of gamma; the instance keeps it."""
    logits = torch.tensor([[-8.0, 5.0, 4.5, -8.0], [5.0, -8.0, -8.0, -8.0]])
    offsets = np.array([0, 2])
    rule = SetRule(1.0, 1.1, "power")
    by_label = CandidateAnnotator(rule, "label").annotate(output_of(logits), offsets, FACTS)
    by_instance = CandidateAnnotator(rule, "instance").annotate(output_of(logits), offsets, FACTS)
    assert by_label.items["candidates"].tolist() == [0b0110, 0b0001]
    one_hot = EvidentialAnnotator().annotate(output_of(logits), offsets, FACTS)
    assert by_label.rows["score"][0] == pytest.approx(by_label.items["gamma"][0], rel=1e-6)
    assert by_instance.rows["score"][0] == pytest.approx(one_hot.items["gamma"][0], rel=1e-6)
    assert by_label.rows["score"][0] < by_instance.rows["score"][0]
    np.testing.assert_array_equal(by_label.items["gamma"], by_instance.items["gamma"])
    np.testing.assert_allclose(by_label.rows["type_scores"], [[by_label.rows["score"][0], np.nan]])


ANNOTATORS = [EvidentialAnnotator(), CandidateAnnotator(RULES[0]), CandidateAnnotator(RULES[3])]


@pytest.mark.parametrize("annotator", ANNOTATORS)
def test_a_shard_without_rows(annotator: Annotator) -> None:
    columns = annotator.annotate(output_of(torch.zeros(0, C)), np.array([0]), FACTS)
    table = to_table(tokenised([]), np.array([0]), columns)
    assert len(table) == 0
    full = annotator.annotate(output_of(words("B-X")), np.array([0, 1]), FACTS)
    schema = to_table(tokenised([[[1]]]), np.array([0, 1]), full).schema
    assert table.schema == schema


def test_the_search_is_bounded_beyond_nine_classes() -> None:
    names = ("O", *(f"{p}-{t}" for t in "UVWXY" for p in "BI"))
    context = TaskContext(LabelSet(names), ("a",))
    logits = torch.randn(4, 11, generator=torch.Generator().manual_seed(0))
    columns = CandidateAnnotator(RULES[0]).annotate(output_of(logits), np.array([0, 4]), context)
    assert columns.rows["search"].tolist() == ["top-7"]


# -- the recipe -----------------------------------------------------------------------------------


def run(driver: MemoryDriver, **options: Any) -> Outcome:
    values = {"rounds": 4, "one_hot_rounds": 2, "ratio": 0.1, **options}
    return CLTP(CLTPConfig.model_validate(values)).run(driver)


def test_the_order_of_the_steps(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run(driver, rounds=2, one_hot_rounds=1)
    assert [(call.verb, call.title) for call in driver.calls] == [
        ("train", "source"),
        ("annotate", "round 1"),
        ("derive", "round 1 selection"),
        ("train", "round 1"),
        ("annotate", "round 2"),
        ("derive", "round 2 selection"),
        ("derive", "round 2 earlier"),
        ("train", "round 2"),
        ("derive", "all selections"),
        ("train", "final"),
    ]
    assert outcome.zero_shot.artifact == driver.call("train", "source").result
    assert outcome.final.artifact == driver.call("train", "final").result
    assert [item.number for item in outcome.rounds] == [1, 2]


def test_pools_shrink_by_what_was_selected(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver)
    left = set(driver.call("annotate", "round 1").pool)
    assert len(left) == 50
    for number in range(1, 5):
        assert set(driver.call("annotate", f"round {number}").pool) == left
        selected = ids(driver.call("derive", f"round {number} selection").result)
        assert selected
        assert selected <= left
        left -= selected


def test_the_pool_is_refilled_after_the_warm_up_if_asked_for(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, reset_pool_after_warmup=True)
    sizes = [len(call.pool) for call in driver.calls if call.verb == "annotate"]
    assert sizes[0] == sizes[2] == 50
    assert sizes[1] < 50
    assert sizes[3] < 50


def test_one_class_first_and_sets_afterwards(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, beta=3.0, lw_input="logit", rank_by="instance", tau=9, **{"lambda": 2})
    losses = {title: driver.call("train", title).objective for title in driver.titles("train")}
    weighted = LeveragedWeightedLoss(3.0, "logit")
    assert losses == {
        "source": EvidentialLoss(),
        "round 1": EvidentialLoss(),
        "round 2": EvidentialLoss(),
        "round 3": weighted,
        "round 4": weighted,
        "final": weighted,
    }
    one_hot = EvidentialAnnotator("dissonance", 1e-3)
    partial = CandidateAnnotator(SetRule(2.0, 9.0, "power"), "instance", 1e-3)
    annotators = [call.annotator for call in driver.calls if call.verb == "annotate"]
    assert annotators == [one_hot, one_hot, partial, partial]


def test_the_loss_of_the_rounds_and_of_the_sets(tmp_path: Path) -> None:
    """round_loss=multi_hot is Algorithm 1: L_EVI in the loop, the loss of sets in the last pass."""
    union, each = EvidentialSetLoss("union"), EvidentialSetLoss("each")
    weighted = LeveragedWeightedLoss(2.0)
    for options, expected in (
        ({"round_loss": "multi_hot"}, (each, weighted)),
        ({"set_loss": "dirichlet"}, (union, union)),
        ({"round_loss": "multi_hot", "set_loss": "dirichlet"}, (each, union)),
        ({"label": "one_hot"}, (EvidentialLoss(), EvidentialLoss())),
    ):
        driver = MemoryDriver(tmp_path / str(options))
        run(driver, rounds=2, one_hot_rounds=1, **options)
        assert driver.call("train", "round 1").objective == EvidentialLoss()
        found = tuple(driver.call("train", x).objective for x in ("round 2", "final"))
        assert found == expected


@pytest.mark.parametrize(
    "options", [{"round_loss": "multi_hot"}, {"set_loss": "dirichlet"}, {"set_lr": 1e-6}]
)
def test_a_loss_of_sets_needs_sets(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="label one_hot has none"):
        CLTPConfig.model_validate({"label": "one_hot", **options})


def parts_of(outcome: Outcome) -> dict[str, Mechanism]:
    return {item.part.split(",")[0]: item for item in outcome.mechanisms}


def test_a_run_says_how_far_its_parts_were_at_work(tmp_path: Path) -> None:
    outcome = run(MemoryDriver(tmp_path), tau=1.5, **{"lambda": 1.5})
    parts = parts_of(outcome)
    ranking = parts["ranking"]
    assert list(ranking.figures) == ["round 1", "round 2", "round 3", "round 4"]
    for item, value in zip(outcome.rounds, ranking.figures.values(), strict=True):
        assert value == sum(item.selected.values()) / sum(item.picked.info["eligible"].values())
    assert ranking.figures["round 1"] < 1
    sets = parts["candidate sets"]
    picked = [item.picked.info for item in outcome.rounds[2:]]
    several = [1 - x["set_sizes"].get("1", 0) / sum(x["set_sizes"].values()) for x in picked]
    rows = sum(x["rows_with_sets"] for x in picked) / 50
    assert list(sets.figures.values()) == pytest.approx([*several, rows])
    assert several[0] > 0
    assert {item.warning for item in parts.values()} == {None}


def test_parts_that_were_not_at_work_are_warned_of(tmp_path: Path) -> None:
    """All rows taken at once; no set before the rounds end; the best round is one without sets."""
    few = parts_of(run(MemoryDriver(tmp_path / "few"), ratio=1.0, rounds=2))
    assert "the ranking decided nothing" in (few["ranking"].warning or "")
    assert "before the first one with candidate sets" in (few["candidate sets"].warning or "")
    single = parts_of(run(MemoryDriver(tmp_path / "one"), tau=1e9))
    assert "several classes" in (single["candidate sets"].warning or "")
    early = run(MemoryDriver(tmp_path / "early", scores=[0.1, 0.9, 0.8, 0.7, 0.6]), final_epochs=0)
    chosen = parts_of(early)["checkpoint chosen on source dev"]
    assert chosen.figures == {"after round": 1, "rounds": 4}
    assert "before round 3" in (chosen.warning or "")
    nothing = parts_of(run(MemoryDriver(tmp_path / "none", talk=outside)))
    assert "no row was selected" in (nothing["ranking"].warning or "")
    assert "source alone" in (nothing["checkpoint chosen on source dev"].warning or "")


def test_a_loss_that_is_flat_on_the_candidates_is_warned_of(tmp_path: Path) -> None:
    class Recorded(MemoryDriver):
        def _model(self, name: str, info: Mapping[str, Any]) -> Model:
            own = {"evidence": 16.0, "slope_inside": 4e-6, "slope_outside": 1.9e-2}
            return super()._model(name, {**info, "history": [{"own": own}]})

    parts = parts_of(run(Recorded(tmp_path)))
    assert parts["evidence of labelled entities or texts"].figures["round 4"] == 16
    slope = parts["LW loss"]
    assert slope.figures["round 4"] == pytest.approx(4e-6 / 1.9e-2)
    assert "flat on the candidates" in (slope.warning or "")


def test_every_model_starts_from_the_one_before(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, rounds=2)
    source, first = (driver.call("train", title) for title in ("source", "round 1"))
    assert source.start == driver.backbone
    assert first.start is not None
    assert first.start.artifact == source.result
    for verb in ("annotate", "train"):
        second = driver.call(verb, "round 2")
        assert second.start is not None
        assert second.start.artifact == first.result


@pytest.mark.parametrize(("dev", "wins"), [(0.89, "round 2"), (0.9, "final"), (0.95, "final")])
def test_a_final_pass_that_is_worse_on_source_dev_is_not_the_result(
    tmp_path: Path, dev: float, wins: str
) -> None:
    driver = MemoryDriver(tmp_path, scores=[0.4, 0.5, 0.9, 0.6, dev])
    outcome = run(driver, rounds=3)
    assert outcome.final.artifact == driver.call("train", wins).result


def test_the_final_pass_starts_from_the_best_round(tmp_path: Path) -> None:
    """The earliest on ties; the source model and the last round do not count."""
    driver = MemoryDriver(tmp_path, scores=[0.99, 0.6, 0.8, 0.8, 0.7])
    run(driver)
    final = driver.call("train", "final")
    assert final.start is not None
    assert final.start.artifact == driver.call("train", "round 2").result


def test_what_a_round_trains_on(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, src_ratio=0.5)
    assert [len(part.rows()) for part in driver.call("train", "source").parts] == [10]
    first, second = (driver.call("train", f"round {n}").parts for n in (1, 2))
    assert len(first) == 2
    assert len(first[0].rows()) == 5
    assert first[0].seed != second[0].seed
    picked = [driver.call("derive", f"round {n} selection").result for n in (1, 2)]
    assert set(first[1].rows()["id"].to_pylist()) == ids(picked[0])
    gold, new, earlier = second
    assert len(gold.rows()) == 5
    assert set(new.rows()["id"].to_pylist()) == ids(picked[1])
    assert set(earlier.rows()["id"].to_pylist()) <= ids(picked[0])
    final = driver.call("train", "final").parts
    every = set().union(
        *(ids(driver.call("derive", f"round {n} selection").result) for n in (1, 2, 3, 4))
    )
    assert [len(part.rows()) for part in final] == [10, len(every)]


def test_earlier_selections_can_be_left_out(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, prev_ratio=0)
    assert not [title for title in driver.titles("derive") if "earlier" in title]
    assert {len(call.parts) for call in driver.calls if call.verb == "train"} == {1, 2}


def test_schedules(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(
        driver, rounds=1, source_lr=1e-3, source_epochs=7, round_lr=1e-4, round_epochs=2,
        final_epochs=5, final_patience=2,
    )  # fmt: skip
    assert driver.call("train", "source").schedule == Schedule(1e-3, 7)
    assert driver.call("train", "round 1").schedule == Schedule(1e-4, 2, keep="last")
    assert driver.call("train", "final").schedule == Schedule(1e-4, 5, patience=2)


def test_what_learns_from_sets_has_a_rate_of_its_own(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, round_lr=2e-5, set_lr=2e-7, rounds=2, one_hot_rounds=1)
    rates = {call.title: call.schedule.lr for call in driver.calls if call.schedule}
    assert rates["round 1"] == 2e-5
    assert rates["round 2"] == rates["final"] == 2e-7


@pytest.mark.parametrize(
    ("scores", "patience", "rounds"),
    [
        ([0.9, 0.5, 0.4, 0.6, 0.7], 1, 2),
        ([0.9, 0.5, 0.4, 0.6, 0.7], 2, 4),
        ([0.9, 0.5, 0.5, 0.5, 0.7], 2, 3),
        ([0.9, 0.5, 0.4, 0.3, 0.2], None, 4),
    ],
)
def test_rounds_end_when_they_bring_nothing(
    tmp_path: Path, scores: list[float], patience: int | None, rounds: int
) -> None:
    driver = MemoryDriver(tmp_path, scores=scores)
    assert len(run(driver, patience=patience).rounds) == rounds
    assert driver.titles("train")[-1] == "final"


def outside(name: str, size: int) -> torch.Tensor:
    return words(*["O"] * size)


def one_entity(name: str, size: int) -> torch.Tensor:
    return words(*["B-X", "O", "O"][:size])


def test_without_any_selection_the_source_model_is_the_result(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, talk=outside)
    outcome = run(driver)
    assert outcome.zero_shot == outcome.final
    assert not outcome.rounds
    assert driver.titles("train") == ["source"]


def test_no_rounds_are_zero_shot(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run(driver, rounds=0)
    assert outcome.final == outcome.zero_shot
    assert [call.title for call in driver.calls] == ["source"]


def test_rounds_end_when_the_pool_is_exhausted(tmp_path: Path) -> None:
    """Half of every pool in the first two rounds, and nothing is left for the third."""
    driver = MemoryDriver(tmp_path, talk=one_entity)
    outcome = run(driver, ratio=0.5)
    assert [dict(item.selected) for item in outcome.rounds] == [{"a": 10, "b": 15}] * 2
    assert driver.call("annotate", "round 3").pool == ()
    assert driver.titles("train") == ["source", "round 1", "round 2", "final"]


def test_the_released_codes_rule_starts_with_the_sets(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, selection="repo_tail", ratio=0.02)
    rules = [
        driver.call("derive", f"round {n} selection").parameters["selection_rule"]
        for n in range(1, 4)
    ]
    assert rules == ["per_class", "per_class", "repo_tail"]


def test_quotas_stay_those_of_the_first_pool(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver)
    for number in range(1, 5):
        parameters = driver.call("derive", f"round {number} selection").parameters
        assert parameters["pool_sizes"] == {"a": 20, "b": 30}
        assert parameters["ratio"] == 0.1


def test_the_report_of_a_round(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    for item in run(driver).rounds:
        picked = driver.call("derive", f"round {item.number} selection").result
        assert picked is not None
        assert sum(item.selected.values()) == len(ids(picked))
        sets = [x for row in picked.table()["candidates"].to_pylist() for x in row]
        assert sum(item.set_sizes.values()) == len(sets)
        if item.number <= 2:
            assert set(item.set_sizes) == {"1"}


@pytest.mark.parametrize(
    "values",
    [
        {"lambda": 0.9},
        {"tau": 1.0},
        {"beta": -1},
        {"ratio": 0},
        {"set_lr": 0},
        {"ratio": 1.1},
        {"top_k": 0},
        {"label": "one_hot", "selection": "repo_tail"},
    ],
)
def test_values_without_a_meaning_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CLTPConfig.model_validate(values)


def test_k_counts_where_it_is_used() -> None:
    """A binary task has no set of two; k is 2 unless it is given."""
    CLTPConfig().check_classes(2)
    CLTPConfig(label="top_k").check_classes(3)
    with pytest.raises(ValueError, match="top_k: 2, but has to be below the number of classes, 1"):
        CLTPConfig(label="top_k").check_classes(2)


def test_a_refilled_pool_follows_a_warm_up_that_emptied_it(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    options = {"ratio": 1.0, "one_hot_rounds": 3, "rounds": 5, "reset_pool_after_warmup": True}
    outcome = run(driver, **options)
    assert [item.number for item in outcome.rounds][:2] == [1, 4]
    sizes = [len(call.pool) for call in driver.calls if call.verb == "annotate"]
    assert sizes[3] == sizes[0] == 50
