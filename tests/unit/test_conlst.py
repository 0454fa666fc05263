"""CoNLST, vanilla NL and FlexMatch: what they derive, what they minimise, and their recipes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.encoders import commit, tokenised
from tests.recipes import C, MemoryDriver, ids, run_method
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.labels import LabelSet
from xlt_ray.methods.conlst import negative_learning as negatives
from xlt_ray.methods.conlst import thresholding as stage2
from xlt_ray.methods.conlst.mechanisms import Adapted, diagnosed
from xlt_ray.methods.conlst.mixup import MixUp
from xlt_ray.methods.conlst.negative_learning import ContrastNegatives, NegativeLearning
from xlt_ray.methods.conlst.recipe import CoNLSTConfig
from xlt_ray.methods.conlst.smoothing import Smoothed
from xlt_ray.methods.flexmatch import Consistency, FlexMatchConfig
from xlt_ray.methods.flexmatch import diagnosed as of_flexmatch
from xlt_ray.models.classifier import Output
from xlt_ray.ops import contrastive, thresholds
from xlt_ray.recipe.corpus import Corpus, Start
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

LABELS = LabelSet(("x", "y", "z"))
LAYOUT = InputLayout(prefix=0, suffix=2, padding=1, max_length=32, task="sentence", mask=4)


def said_of(store: Store, rows: Sequence[tuple[str, str, Sequence[float]]]) -> Artifact:
    q = [list(row[2]) for row in rows]
    table = pa.table(
        {
            "id": [row[0] for row in rows],
            "language": [row[1] for row in rows],
            "labels": pa.array([[int(np.argmax(x))] for x in q], pa.list_(pa.int16())),
            "q": pa.array(q, pa.list_(pa.float64())),
        }
    )
    return commit(store, "annotation", f"said-{len(list(Path(store.root).rglob('said-*')))}",
                  {"p0": table})  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


ROWS = [
    ("a1", "a", [0.95, 0.03, 0.02]),
    ("a2", "a", [0.5, 0.3, 0.2]),
    ("b1", "b", [0.2, 0.5, 0.3]),
    ("b2", "b", [0.1, 0.2, 0.7]),
    ("b3", "b", [0.6, 0.3, 0.1]),
]


def test_a_language_that_is_nowhere_certain_lowers_gamma(store: Store) -> None:
    said = said_of(store, ROWS)
    table, facts = negatives.complements(
        said, language=None, num_classes=3, gamma=0.9, certain=False
    )
    lowered = float(np.percentile([0.5, 0.7, 0.6], 70))
    assert facts == {"gamma": 0.9, "gamma_lowered": {"b": lowered}, "certain": [1, 0, 1]}
    assert table["id"].to_pylist() == ["a1", "a2", "b1", "b2", "b3"]
    assert table["labels"].to_pylist() == [[0], [0], [1], [2], [0]]
    sets = [row[0] for row in table["candidates"].to_pylist()]
    assert sets == [0b110, 0b100, 0b001, 0b011, 0b100]
    pool, _ = negatives.complements(said, language=None, num_classes=3, gamma=0.9, certain=True)
    assert pool["id"].to_pylist() == ["a1", "b2"]


def test_one_language_is_looked_at_alone(store: Store) -> None:
    table, facts = negatives.complements(
        said_of(store, ROWS), language="a", num_classes=3, gamma=0.9, certain=True
    )
    assert (table["id"].to_pylist(), facts["gamma_lowered"]) == (["a1"], {})
    table, _ = negatives.complements(
        said_of(store, ROWS), language="c", num_classes=3, gamma=0.9, certain=False
    )
    assert len(table) == 0


def test_what_reaches_its_threshold_is_kept(store: Store) -> None:
    said = said_of(store, ROWS)
    rule: dict[str, Any] = {
        "language": None, "t0": 0.6, "warmup": False, "floor": 0.0, "is_fixed": False,
        "num_classes": 3,
    }  # fmt: skip
    kept, facts = stage2.reaching(said, **rule)
    assert facts["counts"] == [2, 0, 1]
    assert facts["beta"] == [1.0, 0.0, 0.5]
    assert facts["threshold"] == pytest.approx([0.6, 0.0, 0.2])
    assert kept["id"].to_pylist() == ["a1", "b1", "b2", "b3"]
    assert facts["selected"] == {"a": 1, "b": 3}
    assert facts["kept"] == 0.8
    assert stage2.reaching(said, **(rule | {"is_fixed": True}))[1]["kept"] == 0.6
    assert "changed" not in facts
    again = commit(store, "derived", "kept", {"p0": kept})
    assert stage2.reaching(said, again, **rule)[1]["changed"] == 0
    other = said_of(store, [("b1", "b", [0.2, 0.3, 0.5]), *ROWS[:2], *ROWS[3:]])
    # b1 has another label; nothing else changes
    assert stage2.reaching(other, again, **rule)[1]["changed"] == pytest.approx(1 / 5)
    assert stage2.reaching(said, again, **(rule | {"language": "a"}))[1]["changed"] == 1.5


def test_every_kept_text_is_masked_or_translated(store: Store) -> None:
    names = [f"t{i:02d}" for i in range(20)]
    table = pa.table(
        {
            "id": names,
            "language": ["a"] * 20,
            "labels": pa.array([[0]] * 20, pa.list_(pa.int16())),
            "candidates": pa.array([[1]] * 20, pa.list_(pa.int64())),
        }
    )
    picked = commit(store, "derived", "picked", {"p0": table})
    there = tokenised([[[1]]] * 12, ids=names[:12], languages=["a"] * 12)
    translated = commit(store, "tokens", "back", {"p0": there})
    parts = [
        stage2.copies(picked, translated, share=0.5, seed=seed, masked=masked)[0]["id"].to_pylist()
        for seed in (1, 2)
        for masked in (True, False)
    ]
    for masked, back in (parts[:2], parts[2:]):
        assert sorted(masked + back) == names
        assert len(back) == 6
        assert set(back) <= set(names[:12])
    assert parts[1] != parts[3], "drawn anew in every iteration"


# -- what is minimised ---------------------------------------------------------------------------


class Head(nn.Module):
    """A classifier without an encoder: what objectives look at."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.head = nn.Linear(width, classes).double()
        self.dropout = nn.Identity()
        self.own: nn.Module | None = None


def facts_of(num_items: int = 0) -> TaskContext:
    return TaskContext(LABELS, (), num_items, "sentence", layout=LAYOUT)


def texts(labels: Sequence[int], sets: Sequence[int], parts: Sequence[int]) -> Any:
    """Texts of one word each: first the parts, then the companion, then the pool."""
    table = tokenised([[[10 + i]] for i in range(len(labels))])
    column = pa.array([[label] for label in labels], pa.list_(pa.int64()))
    table = table.append_column("labels", column)
    table = table.append_column("candidates", pa.array([[x] for x in sets], pa.list_(pa.int64())))
    examples = examples_of(table, LAYOUT)
    examples.part = np.array(parts)
    examples.num_parts = int((examples.part < 1).sum())
    examples.first_pool = int((examples.part < 2).sum())
    return examples


def output_of(batch: Batch, model: Head, seed: int = 0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    width = model.head.in_features
    z = torch.randn(len(batch.labels), width, dtype=torch.float64, generator=generator)
    z.requires_grad_()
    return Output(model.head(z), z, encoded=z)


def contrast(**options: Any) -> ContrastNegatives:
    values: dict[str, Any] = {"lambda_clcs": 0.5, "clcs": "literal", "k_neg": 9, "temp": 2.0,
              "similarity": "neg_sq_l2", "scale": "raw", **options}  # fmt: skip
    return ContrastNegatives(**values)


def prepared(loss: Any, width: int = 4, num_items: int = 0) -> tuple[Any, Head]:
    torch.manual_seed(0)
    context, model = facts_of(num_items), Head(width, 3)
    model.own = loss.build(context, width)
    if model.own is not None:
        model.own.double()
    loss.prepare(context, model)
    loss.before_step(OptimiserStep(0, 10, items=3, paired=2))
    return loss, model


@pytest.mark.parametrize("similarity", ["neg_sq_l2", "neg_l2"])
@pytest.mark.parametrize("clcs", ["literal", "complementary"])
def test_stage_1_is_the_formula_text_by_text(similarity: str, clcs: str) -> None:
    loss, model = prepared(contrast(similarity=similarity, clcs=clcs))
    # three anchors, two source texts, four certain texts of classes 0, 0, 2, 1
    examples = texts(
        [0, 1, 2, 0, 1, 0, 0, 2, 1], [0b110, 0b001, 0b011, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 2, 2, 2, 2],
    )  # fmt: skip
    own = np.array([0, 3, 1, 4, 2])
    extra = loss.extra_rows(own, examples)
    assert extra[:3].tolist() == [0, 1, 2], "the anchors once more"
    assert sorted(extra[3:].tolist()) == [5, 6, 7, 8]
    batch = examples.collate(np.concatenate([own, extra]), extra=len(extra))
    assert (batch.num_items, batch.num_paired) == (3, 2)
    output = output_of(batch, model)
    torch.manual_seed(5)
    found = loss.loss(output, batch)
    h = model.own(output.features)  # type: ignore[misc]
    order = np.concatenate([own, extra]).tolist()
    expected = torch.zeros((), dtype=torch.float64)
    for anchor, place, positive in ((0, 0, 5), (1, 2, 6), (2, 4, 7)):
        rest = range(8, 12)
        allowed = [
            at for at in rest if examples.candidates[anchor] >> examples.labels[order[at]] & 1
        ]
        values = []
        for at in (positive, *allowed):
            d = (h[place] - h[at]).square().sum()
            values.append(-(d if similarity == "neg_sq_l2" else (d + 1e-12).sqrt()) / 2.0)
        together = torch.stack(values)
        expected = expected + torch.logsumexp(together, 0) - together[0]
    source = torch.tensor([1, 3])
    gold = torch.tensor([0, 1])
    if clcs == "literal":
        p = output.logits[source].softmax(-1)[torch.arange(2), gold]
        side = torch.log(1 - p).sum()
    else:
        torch.manual_seed(5)
        torch.randint(2**62, ())  # the draw of the negatives comes first
        other = contrastive.random_others(gold, 3)
        side = -torch.log(1 - output.logits[source].softmax(-1)[torch.arange(2), other]).sum()
    torch.testing.assert_close(found["target"], expected)
    torch.testing.assert_close(found["clcs"], side)
    # the engine divides by the three anchors
    torch.testing.assert_close(found["loss"] / 3, expected / 3 + 0.5 * side / 2)
    taken = loss.progress()
    assert taken["target"] == pytest.approx(expected.item() / 3)
    assert taken["clcs"] == pytest.approx(side.item() / 2)
    assert taken["without_negatives"] == 0


def test_an_empty_pool_leaves_the_source_alone() -> None:
    loss, model = prepared(contrast(clcs="complementary"))
    examples = texts([0, 1, 2], [0b110, 0b001, 0], [0, 0, 1])
    own = np.array([0, 1, 2])
    extra = loss.extra_rows(own, examples)
    assert extra.tolist() == [0, 1]
    batch = examples.collate(np.concatenate([own, extra]), extra=2)
    found = loss.loss(output_of(batch, model), batch)
    assert found["target"].item() == 0
    found["loss"].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in gradients)
    assert loss.progress()["without_negatives"] == 1


@pytest.mark.parametrize("own", [[3, 4], []])
def test_a_pass_without_anchors_has_the_source_alone(own: list[int]) -> None:
    loss, model = prepared(contrast(clcs="literal"))
    examples = texts([0, 1, 2, 0, 1, 0, 2], [0b110] * 7, [0, 0, 0, 1, 1, 2, 2])
    loss.extra_rows(np.array([0, 3]), examples)
    extra = loss.extra_rows(np.array(own, np.int64), examples)
    assert len(extra) == 0
    batch = examples.collate(np.array(own, np.int64))
    found = loss.loss(output_of(batch, model), batch)
    found["loss"].backward()
    assert found["target"].item() == 0
    assert model.own is not None
    assert all(p.grad is not None for p in model.own.parameters()), "other workers wait for them"
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.any() == bool(own)


def wide(scale: str, width: int = 256, **options: Any) -> tuple[Any, Batch, Output]:
    """Stage 1 of thirty texts of three classes, all certain, before its first step."""
    loss, model = prepared(contrast(scale=scale, temp=1.0, **options), width)
    labels = [i % 3 for i in range(30)]
    examples = texts([*labels, *labels], [0b111 ^ 1 << x for x in labels] * 2, [0] * 30 + [2] * 30)
    own = np.arange(30)
    extra = loss.extra_rows(own, examples)
    batch = examples.collate(np.concatenate([own, extra]), extra=len(extra))
    generator = torch.Generator().manual_seed(1)
    said = batch.input_ids[:, 1] - 10  # a text and its second view are alike
    noise = torch.randn(len(said), width, generator=generator, dtype=torch.float64) * 0.1
    z = torch.randn(60, width, generator=generator, dtype=torch.float64)[said] + noise
    return loss, batch, Output(model.head(z), z.requires_grad_(), encoded=z)


@pytest.mark.parametrize(("scale", "active"), [("raw", 0.0), ("median", 1.0), ("unit_norm", 1.0)])
def test_stage_1_has_a_loss_in_units_of_the_distances(scale: str, active: float) -> None:
    """At width 256 the positives are at about 2 and the negatives at 170: exp(-168) is left."""
    loss, batch, output = wide(scale)
    loss.loss(output, batch)
    assert loss.progress()["active"] == active


def test_the_unit_is_the_median_of_the_first_step() -> None:
    loss, batch, output = wide("median", k_neg=10)
    loss.loss(output, batch)
    h = loss.head(output.features)
    squares = torch.cdist(h[:30], h[60:]).square()
    labels = batch.labels
    others = labels[:30, None] != labels[60:]
    unit = loss.progress()["unit"]
    # each anchor has 10 of its 20
    assert unit == pytest.approx(squares[others].median().item(), rel=0.05)
    loss.context = replace(loss.context, total=lambda x: x + torch.tensor([3 * unit, 1.0]))
    loss.after_step()
    assert loss.unit == pytest.approx(2 * unit), "the mean of two workers"
    loss.after_step()
    loss.loss(Output(output.logits, output.features * 7), batch)
    assert loss.unit == pytest.approx(2 * unit), "it stays"
    again, _, _ = wide("median")
    again.load_state_dict(loss.state_dict())
    assert (again.unit, again.is_settled) == (loss.unit, True)


def test_a_run_knows_the_ratio_of_the_gradients() -> None:
    loss, model = prepared(contrast(clcs="literal"))
    examples = texts([0, 1, 2, 0, 1, 2], [0b110, 0b101, 0b011, 0, 0, 0], [0, 0, 1, 2, 2, 2])
    own = np.array([0, 1, 2])
    extra = loss.extra_rows(own, examples)
    batch = examples.collate(np.concatenate([own, extra]), extra=len(extra))
    output = output_of(batch, model)
    found = loss.loss(output, batch)
    norms = [
        torch.autograd.grad(term, output.features, retain_graph=True)[0].norm().item()
        for term in (found["target"], found["loss"] - found["target"])
    ]
    assert loss.progress()["gradient_ratio"] == pytest.approx(norms[0] / norms[1])
    loss, model = prepared(NegativeLearning(0.0, "complementary"))
    batch = texts([0, 1], [0] * 2, [0, 0]).collate([0, 1])
    loss.loss(output_of(batch, model), batch)
    assert "gradient_ratio" not in loss.progress(), "there is no source"


def test_a_run_warns_of_a_stage_without_a_loss() -> None:
    def model(active: float) -> Any:
        own = {"active": active, "gradient_ratio": 0.001, "without_negatives": 0.99}
        info = {"history": [{"own": own}, {"own": own}]}
        return SimpleNamespace(history=info["history"])

    found = diagnosed({"a": Adapted(model(0.02), model(0.02)), "b": Adapted(model(1), model(1.0))})
    assert [dict(item.figures) for item in found[:1]] == [{"a": 0.02, "b": 1.0}]
    texts_of = [str(item.warning) for item in found]
    assert "hardly any loss is left to learn from for a" in texts_of[0]
    assert "there are no negatives for a, b" in texts_of[1]
    assert "the source consistency alone moves the encoder of a, b" in texts_of[2]
    assert diagnosed({"a": Adapted(SimpleNamespace(history=[]))}) == []  # type: ignore[arg-type]


def test_what_is_said_of_one_target_does_not_hide_what_is_said_of_another() -> None:
    def model(ratio: float) -> Any:
        own = {"active": 1.0, "gradient_ratio": ratio}
        return SimpleNamespace(history=[{"own": own}])

    strong, weak = model(1000.0), model(0.001)
    found = diagnosed({"a": Adapted(strong, strong), "b": Adapted(weak, weak)})
    warning = str(found[-1].warning)
    assert "the source consistency alone moves the encoder of b" in warning
    assert "the source consistency hardly moves the encoder of a" in warning


def test_flexmatch_warns_of_texts_that_never_reach_a_threshold_or_always_do() -> None:
    def model(used: float) -> Any:
        return SimpleNamespace(history=[{"own": {"used": used}}])

    def warning(**used: float) -> str | None:
        (found,) = of_flexmatch({name: model(share) for name, share in used.items()})
        assert found.figures == used
        return found.warning

    assert warning(a=0.5, b=0.6) is None
    assert "nearly every text of a was used" in str(warning(a=0.99, b=0.5))
    assert "hardly any text of b was used" in str(warning(a=0.5, b=0.0))


@pytest.mark.parametrize("options", [{"floor": 0.5}, {"warmup": True}])
def test_a_fixed_threshold_has_no_floor_and_no_warm_up(options: dict[str, Any]) -> None:
    CoNLSTConfig.model_validate(options)
    with pytest.raises(ValidationError, match="threshold fixed is t0 for every class"):
        CoNLSTConfig.model_validate({"threshold": "fixed", **options})


def test_an_anchor_takes_k_neg_at_most() -> None:
    loss, _ = prepared(contrast(k_neg=2))
    labels = [0, *[1] * 10, *[2] * 10]
    examples = texts(labels, [0b110, *[0] * 20], [0, *[2] * 20])
    torch.manual_seed(1)
    drawn = {tuple(loss.extra_rows(np.array([0]), examples)[1:]) for _ in range(20)}
    assert all(len(rows) == 4 for rows in drawn), "two of each class for all anchors"
    assert len(drawn) > 10


def test_the_literal_consistency_is_bounded() -> None:
    logits = torch.tensor([[300.0, 0.0, 0.0]])
    found = negatives.cross_space(logits, torch.tensor([0]), "literal")
    assert found.item() == negatives.LITERAL_FLOOR


def test_vanilla_negative_learning_is_the_mean_over_the_texts() -> None:
    loss, model = prepared(NegativeLearning(0.0, "complementary"))
    examples = texts([0, 1, 2, 0], [0] * 4, [0, 0, 0, 1])
    batch = examples.collate([0, 1, 2, 3])
    output = output_of(batch, model)
    torch.manual_seed(2)
    found = loss.loss(output, batch)
    torch.manual_seed(2)
    others = contrastive.random_others(torch.tensor([0, 1, 2]), 3)
    p = output.logits[:3].softmax(-1)[torch.arange(3), others]
    torch.testing.assert_close(found["loss"], -torch.log(1 - p).sum())


def test_stage_2_without_mixtures_is_n10() -> None:
    loss, model = prepared(MixUp(lambda_u=0.7, alpha=None, mask_rate=0.0))
    examples = texts([0, 1, 2, 0, 1], [0] * 5, [0, 0, 0, 1, 1])
    batch = examples.collate(range(5))
    output = output_of(batch, model)
    nll = -output.logits.log_softmax(-1)[torch.arange(5), batch.labels]
    found = loss.loss(output, batch)["loss"] / 3
    torch.testing.assert_close(found, nll[3:].mean() + 0.7 * nll[:3].mean())
    taken = loss.progress()
    assert taken["source"] == pytest.approx(nll[3:].mean().item() * 1.5)
    assert taken["target"] == pytest.approx(nll[:3].mean().item() * 0.7)


def test_stage_2_mixes_features_and_labels_of_both_texts() -> None:
    loss, model = prepared(MixUp(lambda_u=1.0, alpha=4.0, mask_rate=0.0))
    loss.before_step(OptimiserStep(0, 10, items=3, paired=3))
    examples = texts([0, 1, 2, 0, 1, 2], [0] * 6, [0, 0, 0, 1, 1, 1])
    batch = examples.collate(range(6))
    output = output_of(batch, model)
    torch.manual_seed(3)
    found = loss.loss(output, batch)["loss"]
    torch.manual_seed(3)
    other = torch.randperm(6)
    m = torch.distributions.Beta(4.0, 4.0).sample((6,)).double()
    x = m[:, None] * output.features + (1 - m[:, None]) * output.features[other]
    one_hot = torch.eye(3, dtype=torch.float64)[batch.labels]
    y = m[:, None] * one_hot + (1 - m[:, None]) * one_hot[other]
    expected = -(y * model.head(x).log_softmax(-1)).sum()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert output.features.grad is not None
    assert (output.features.grad != 0).any(dim=1).all(), "embeddings carry gradient"


def test_words_of_the_first_part_alone_are_masked() -> None:
    loss, _ = prepared(MixUp(lambda_u=1.0, alpha=None, mask_rate=1.0))
    examples = texts([0, 1, 2, 0], [0] * 4, [0, 0, 1, 1])
    examples.part = np.array([0, 1, 2, 2])
    batch = examples.collate(range(4))
    found = loss.transform_batch(batch)
    assert found.input_ids.tolist() == [[0, 4, 2], [0, 11, 2], [0, 12, 2], [0, 13, 2]]
    assert batch.input_ids[0].tolist() == [0, 10, 2]


def test_masking_needs_a_mask_symbol() -> None:
    loss, _ = prepared(MixUp(lambda_u=1.0, alpha=None, mask_rate=0.15))
    loss.context = TaskContext(
        LABELS, (), task="sentence", layout=InputLayout(0, 2, 1, 32, task="sentence")
    )
    with pytest.raises(ValueError, match="no mask symbol"):
        loss.transform_batch(texts([0], [0], [0]).collate([0]))


def test_flexmatch_follows_its_example() -> None:
    """The worked example of sticky thresholds, through the objective."""
    steps = [
        ([(0, 0.95, 0), (1, 0.5, 1)], [True, True]),
        ([(2, 0.92, 0), (3, 0.91, 1)], [True, True]),
        ([(1, 0.94, 1), (4, 0.6, 2)], [True, True]),
        ([(0, 0.93, 2), (5, 0.4, 2)], [True, True]),
        ([(2, 0.89, 1), (3, 0.29, 0)], [False, False]),
    ]
    betas = [[0.2, 0, 0], [2 / 3, 1 / 3, 0], [1, 1, 0], [0.5, 1, 0.5], [0.5, 1, 0.5]]
    loss = Consistency(t0=0.9, warmup=True, lambda_u=2.0, mask_rate=0.15, translated=0.5)
    examples = texts([0, *[-100] * 6], [0] * 7, [0, *[1] * 6])
    loss, _ = prepared(loss, num_items=7)
    loss.before_step(OptimiserStep(0, 5, items=1, paired=2))
    for (rows, used), beta in zip(steps, betas, strict=True):
        chosen = np.array([0, *(1 + index for index, _, _ in rows)])
        extra = loss.extra_rows(chosen, examples)
        assert extra.tolist() == chosen[1:].tolist(), "copies, to be masked"
        batch = loss.transform_batch(examples.collate(np.concatenate([chosen, extra]), extra=2))
        logits = torch.zeros(5, 3, dtype=torch.float64)
        for place, (_, confidence, said) in enumerate(rows, start=1):
            rest = (1 - confidence) / 2
            logits[place] = math.log(rest)
            logits[place, said] = math.log(confidence)
        logits[3:] = torch.tensor([[0.3, -0.2, 0.1], [1.0, 0.0, 0.0]], dtype=torch.float64)
        gold = -logits[0].log_softmax(-1)[0]
        copies = [-logits[3 + i].log_softmax(-1)[rows[i][2]] for i in range(2)]
        found = loss.loss(Output(logits, logits), batch)
        unsupervised = sum(c.item() * u for c, u in zip(copies, used, strict=True))
        assert found["target"].item() == pytest.approx(unsupervised)
        assert found["loss"].item() == pytest.approx(gold.item() + 2.0 * unsupervised / 2)
        loss.after_step()
        assert loss.beta_C.tolist() == pytest.approx(beta)
    saved = {name: value.clone() for name, value in loss.state_dict().items()}
    fresh, _ = prepared(
        Consistency(t0=0.9, warmup=True, lambda_u=2.0, mask_rate=0.15, translated=0.5),
        num_items=7,
    )
    fresh.load_state_dict(saved)
    assert fresh.status_N.tolist() == [thresholds.NO_STATUS, 2, 1, 0, 1, -1, -1]
    assert fresh.beta_C.tolist() == loss.beta_C.tolist()


def test_a_copy_may_be_the_translation_of_its_text() -> None:
    loss = Consistency(t0=0.9, warmup=True, lambda_u=1.0, mask_rate=1.0, translated=1.0)
    loss, _ = prepared(loss, num_items=5)
    examples = texts([0, -100, -100, -100], [0] * 4, [0, 1, 1, 2])
    examples.ids = ["s", "one", "two", "two"]
    own = np.array([0, 1, 2])
    extra = loss.extra_rows(own, examples)
    assert extra.tolist() == [1, 3], "the first has no translation"
    batch = loss.transform_batch(examples.collate(np.concatenate([own, extra]), extra=2))
    assert batch.input_ids[:, 1].tolist() == [10, 11, 12, 4, 13]


# -- recipes -------------------------------------------------------------------------------------


def certain_talk(name: str, size: int) -> torch.Tensor:
    logits = torch.zeros(size, C)
    logits[:, int(name[1:]) % C] = 6.0 if int(name[1:]) % 2 else 0.5
    return logits


@pytest.fixture
def driver(tmp_path: Path) -> MemoryDriver:
    return MemoryDriver(tmp_path, talk=certain_talk, task="sentence")


def test_every_target_is_calibrated_and_trains_itself(driver: MemoryDriver) -> None:
    outcome = run_method("conlst", driver, least_change=0.0, iterations=2)
    assert driver.titles("train") == [
        "source",
        "a stage 1", "a iteration 1", "a iteration 2",
        "b stage 1", "b iteration 1", "b iteration 2",
    ]  # fmt: skip
    assert driver.titles("annotate")[0] == "unlabelled", "the source model, once for all targets"
    stage = driver.call("train", "a stage 1")
    assert isinstance(stage.objective, ContrastNegatives)
    assert stage.paired is not None
    assert stage.paired.labels is not None
    (anchors,), pool = stage.parts, stage.drawn_from
    assert ids(anchors.labels) == {f"a{i:02d}" for i in range(20)}
    assert pool is not None
    assert ids(pool.labels) == {f"a{i:02d}" for i in range(1, 20, 2)}, "the certain ones"
    assert stage.schedule is not None
    assert (stage.schedule.lr, stage.schedule.epochs, stage.schedule.keep) == (2e-6, 1, "last")
    first = driver.call("train", "b iteration 1")
    assert first.start is not None
    assert first.start.artifact == driver.call("train", "b stage 1").result
    assert isinstance(first.objective, MixUp)
    assert (first.objective.alpha, first.objective.lambda_u) == (4.0, 1.0)
    assert {row[0] for row in ids(first.parts[0].labels)} == {"b"}
    last = driver.call("train", "b iteration 2").result
    assert outcome.by_language["b"].artifact == last
    assert outcome.zero_shot.artifact == driver.call("train", "source").result
    assert outcome.notes == (
        "texts are changed by masking alone: no translation of them there and back is given",
    )


def test_an_iteration_that_changes_too_little_ends_the_second_stage(driver: MemoryDriver) -> None:
    run_method("conlst", driver, iterations=5)
    assert [x for x in driver.titles("train") if x.startswith("a")] == [
        "a stage 1",
        "a iteration 1",
    ]


def test_falls_of_source_dev_end_the_second_stage_if_asked(tmp_path: Path) -> None:
    scores = [0.5, 0.8, 0.6, 0.5, 0.4, 0.3, *[0.5] * 9]
    driver = MemoryDriver(tmp_path, scores=scores, talk=certain_talk, task="sentence")
    driver.pools = ("a",)
    outcome = run_method("conlst", driver, iterations=4, least_change=0.0)
    last = driver.call("train", "a iteration 4").result
    assert outcome.by_language["a"].artifact == last, "the paper knows no such end"
    assert not any("source dev" in (x.warning or "") for x in outcome.mechanisms)
    scores = [0.5, 0.8, 0.6, 0.5]
    driver = MemoryDriver(tmp_path / "b", scores=scores, talk=certain_talk, task="sentence")
    driver.pools = ("a",)
    outcome = run_method("conlst", driver, iterations=4, least_change=0.0, drops=2)
    assert driver.titles("train") == ["source", "a stage 1", "a iteration 1", "a iteration 2"]
    assert outcome.by_language["a"].artifact == driver.call("train", "a stage 1").result
    struck = [x for x in outcome.mechanisms if "source dev" in (x.warning or "")]
    assert [dict(x.figures) for x in struck] == [{"a": 2.0}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "share", "warning"),
    [
        ({"threshold": "fixed"}, 0.5, "None"),
        ({"t0": 0.34}, 1.0, "select nothing"),
        ({"warmup": True}, 1.0, "select nothing"),
        ({"threshold": "fixed", "t0": 0.9999}, 0.0, "no text of a, b"),
    ],
)
def test_a_run_says_what_share_was_kept(
    driver: MemoryDriver, options: dict[str, Any], share: float, warning: str
) -> None:
    """Half of each language is certain, at 0.993, the other half at 0.35."""
    outcome = run_method("conlst", driver, iterations=2, least_change=0.0, **options)
    (line,) = [x for x in outcome.mechanisms if "kept" in x.part]
    assert set(line.figures.values()) == {share}
    assert warning in str(line.warning)
    numbers = [item.number for item in outcome.rounds_by_language["a"]]
    assert numbers == ([1, 2] if share else [])


def test_a_floor_is_not_above_the_threshold() -> None:
    with pytest.raises(ValueError, match=r"^floor: has to be t0 = 0.9 at most, got 0.95"):
        CoNLSTConfig(floor=0.95).check_classes(3)


@pytest.mark.parametrize(
    ("options", "kind", "trained"),
    [
        ({"stage1": "negative"}, NegativeLearning, ["a stage 1", "a iteration 1"]),
        ({"stage1": "none"}, None, ["a iteration 1"]),
        ({"iterations": 0}, ContrastNegatives, ["a stage 1"]),
    ],
)
def test_stages_can_be_left_out(
    driver: MemoryDriver, options: dict[str, Any], kind: type | None, trained: list[str]
) -> None:
    outcome = run_method("conlst", driver, **options)
    assert [x for x in driver.titles("train") if x.startswith("a")] == trained
    if kind is not None:
        assert isinstance(driver.call("train", "a stage 1").objective, kind)
    assert bool(outcome.notes) == (options.get("iterations") != 0)


def test_mixtures_can_be_left_out(driver: MemoryDriver) -> None:
    run_method("conlst", driver, mixup=False)
    objective = driver.call("train", "a iteration 1").objective
    assert isinstance(objective, MixUp)
    assert objective.alpha is None


def test_all_targets_can_make_one_model(driver: MemoryDriver) -> None:
    outcome = run_method("conlst", driver, joint=True, iterations=2, least_change=0.0)
    assert driver.titles("train") == ["source", "stage 1", "iteration 1", "iteration 2"]
    pool = driver.call("train", "stage 1").drawn_from
    assert pool is not None
    assert {name[0] for name in ids(pool.labels)} == {"a", "b"}
    assert [item.number for item in outcome.rounds] == [1, 2]
    assert outcome.rounds[0].selected.keys() == {"a", "b"}
    assert outcome.by_language == {}
    start = Start(driver.backbone, {"a": driver.backbone, "b": driver.backbone})
    driver.starts["other"] = start
    with pytest.raises(ConfigError, match=r"method\.joint"):
        run_method("conlst", driver, joint=True, start_from="other")


def test_each_target_goes_on_from_its_own_model(driver: MemoryDriver) -> None:
    one, two = driver._model("one", {}), driver._model("two", {})
    driver.starts["run"] = Start(driver.backbone, {"a": one, "b": two})
    outcome = run_method("conlst", driver, start_from="run", iterations=1)
    assert driver.titles("train")[0] == "a stage 1", "no source model is trained"
    for target, model in (("a", one), ("b", two)):
        assert driver.call("train", f"{target} stage 1").start == model
        assert driver.call("annotate", f"{target} unlabelled").start == model
    assert outcome.zero_shot_by_language["a"] == one


def test_translated_texts_are_a_part_of_their_own(driver: MemoryDriver) -> None:
    rows = driver.targets.rows()
    back = commit(driver.store, "tokens", "back", {"p0": rows})
    driver.translated = Corpus(back)
    outcome = run_method("conlst", driver, iterations=1)
    masked, translated = driver.call("train", "a iteration 1").parts
    assert masked.tokens == driver.targets.tokens
    assert translated.tokens == back
    assert not ids(masked.labels) & ids(translated.labels)
    assert len(ids(translated.labels)) == len(ids(masked.labels) | ids(translated.labels)) // 2
    assert outcome.notes == ()
    driver.calls.clear()
    run_method("conlst", driver, iterations=1, translated=0.0)
    assert len(driver.call("train", "a iteration 1").parts) == 1


def test_a_robust_source_model_is_trained_with_noise(driver: MemoryDriver) -> None:
    run_method("conlst", driver, iterations=0, source_noise=0.1)
    assert driver.call("train", "source").objective == Smoothed(0.1)
    driver.starts["other"] = Start(driver.backbone)
    with pytest.raises(ConfigError, match=r"method\.source_noise"):
        run_method("conlst", driver, source_noise=0.1, start_from="other")


def test_noise_is_there_while_a_model_is_trained() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 8)

        def get_input_embeddings(self) -> nn.Embedding:
            return self.words

    encoder = Encoder()
    Smoothed(0.5).prepare(facts_of(), SimpleNamespace(encoder=encoder))  # type: ignore[arg-type]
    ids_of_words = torch.tensor([[1, 2]])
    still = encoder.words.weight[ids_of_words]
    encoder.train()
    moved = encoder.words(ids_of_words) - still
    assert (moved.norm(dim=-1) <= 0.5 * still.norm(dim=-1) + 1e-6).all()
    assert (moved.norm(dim=-1) > 0.2 * still.norm(dim=-1)).all(), "most of a ball is its rim"
    encoder.eval()
    torch.testing.assert_close(encoder.words(ids_of_words), still, rtol=0, atol=0)


def test_vanilla_nl_has_one_stage_and_no_pool(driver: MemoryDriver) -> None:
    outcome = run_method("nl", driver)
    assert driver.titles("train") == ["source", "a stage 1", "b stage 1"]
    call = driver.call("train", "a stage 1")
    assert isinstance(call.objective, NegativeLearning)
    assert call.objective.lambda_clcs == 0
    assert call.drawn_from is None
    assert outcome.by_language.keys() == {"a", "b"}


def test_flexmatch_sees_each_text_as_often_as_it_says(driver: MemoryDriver) -> None:
    outcome = run_method("flexmatch", driver, epochs=3, batch_size=8)
    call = driver.call("train", "b")
    assert call.schedule is not None
    assert (call.schedule.epochs, call.schedule.steps) == (0, 12)  # ceil(3 x 30 / 8)
    assert call.paired is not None
    assert call.paired.language == "b"
    assert call.drawn_from is None
    assert any("masking alone" in note for note in outcome.notes)


@pytest.mark.parametrize(("config", "name"), [(CoNLSTConfig, "gamma"), (CoNLSTConfig, "t0"),
                                              (FlexMatchConfig, "t0")])  # fmt: skip
def test_thresholds_are_above_an_even_guess(config: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: has to be above 1/C = 0.333"):
        config(**{name: 0.3}).check_classes(3)
    config(**{name: 0.34}).check_classes(3)
