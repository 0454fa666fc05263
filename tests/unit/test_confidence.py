"""How confident a model is of texts, of sentences and of their entities."""

import numpy as np
import pytest
import torch

from tests.recipes import FACTS, logits_of, output_of
from xlt_ray.methods.cltp.sets import CandidateAnnotator, SetRule
from xlt_ray.methods.shared.confidence import Confident, entity_mass
from xlt_ray.methods.shared.evidential import EvidentialAnnotator
from xlt_ray.methods.shared.softmax import SoftmaxAnnotator
from xlt_ray.ops import evidential
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.fingerprint import parameters

PAIRS = TaskContext(FACTS.labels, ("a", "b"), task="pair")


def test_texts_are_of_their_class() -> None:
    logits = logits_of(5)
    q = logits.double().softmax(1).numpy()
    found = Confident(PredictLabels()).annotate(output_of(logits), np.arange(6), PAIRS)
    said = q.argmax(axis=1)
    wanted = np.full((5, 4), np.nan)
    wanted[np.arange(5), said] = q.max(axis=1)
    np.testing.assert_allclose(found.rows["confidence"], wanted)
    np.testing.assert_allclose(found.rows["mass"], q)
    assert found.items["labels"].tolist() == said.tolist()


def test_sentences_have_one_class() -> None:
    logits = logits_of(3)
    best = logits.double().softmax(1).max(1).values.numpy()
    found = Confident(PredictLabels()).annotate(output_of(logits), np.array([0, 2, 3]), FACTS)
    wanted = [[(best[0] + best[1]) / 2], [best[2]]]
    np.testing.assert_allclose(found.rows["confidence"], wanted)
    assert found.rows["mass"].tolist() == [[1.0], [1.0]]


def certain(labels: list[int], size: float) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), 4).float() * size


def test_sentences_are_of_the_types_of_their_entities() -> None:
    """Classes O, B-X, I-X, B-Y. Words: [B-X I-X O], [O], [B-X O B-Y]."""
    labels = [1, 2, 0, 0, 1, 0, 3]
    sizes = torch.tensor([1.0, 2, 3, 4, 0.5, 1, 2])[:, None]
    logits = certain(labels, 1.0) * sizes
    q = logits.double().softmax(1).numpy()
    best = q.max(axis=1)
    annotator = Confident(SoftmaxAnnotator(), by_entity=True)
    found = annotator.annotate(output_of(logits), np.array([0, 3, 4, 7]), FACTS)
    wanted = [[(best[0] + best[1]) / 2, np.nan], [np.nan, np.nan], [best[4], best[6]]]
    np.testing.assert_allclose(found.rows["confidence"], wanted)
    of_x, of_y = q[:, 1] + q[:, 2], q[:, 3]
    mass = [
        [(of_x[0] + of_x[1]) / 2, (of_y[0] + of_y[1]) / 2],
        [0.0, 0.0],
        [(of_x[4] + of_x[6]) / 2, (of_y[4] + of_y[6]) / 2],
    ]
    np.testing.assert_allclose(found.rows["mass"], mass)
    assert found.rows["valid"].tolist() == [True, True, True], "the other annotator's are there"


def test_evidence_has_expected_probabilities() -> None:
    logits = logits_of(4)
    p = evidential.dirichlet(evidential.evidence(logits.double())).p_NC.numpy()
    annotator = Confident(EvidentialAnnotator(), is_evidential=True)
    found = annotator.annotate(output_of(logits), np.arange(5), PAIRS)
    np.testing.assert_allclose(np.nanmax(found.rows["confidence"], axis=1), p.max(axis=1))
    np.testing.assert_allclose(found.rows["mass"], p)


def test_a_candidate_set_has_the_probability_of_its_classes() -> None:
    logits = torch.tensor([[20.0, 19.0, -4.0, -4.0], [9.0, -3.0, -3.0, -3.0]])
    p = evidential.dirichlet(evidential.evidence(logits.double())).p_NC.numpy()
    annotator = Confident(CandidateAnnotator(SetRule(4, 10, "power")), is_evidential=True)
    found = annotator.annotate(output_of(logits), np.arange(3), PAIRS)
    assert found.items["candidates"].tolist() == [3, 1]
    got = found.rows["confidence"]
    np.testing.assert_allclose([got[0, 0], got[1, 0]], [p[0, 0] + p[0, 1], p[1, 0]])


def test_nothing_is_nothing() -> None:
    nothing = output_of(logits_of(0))
    for by_entity in (False, True):
        found = Confident(SoftmaxAnnotator(), by_entity=by_entity).annotate(
            nothing, np.array([0]), FACTS
        )
        assert len(found.rows["confidence"]) == len(found.rows["mass"]) == 0
    assert entity_mass(np.zeros(0, int), np.zeros((0, 4)), np.array([0]), FACTS.labels).shape == (
        0,
        2,
    )


def test_the_code_of_the_other_annotator_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = parameters(Confident(SoftmaxAnnotator()))
    assert one != parameters(Confident(SoftmaxAnnotator("max_probability")))
    assert one != parameters(Confident(SoftmaxAnnotator(), by_entity=True))
    module = "xlt_ray.methods.shared.confidence.code_digest"
    monkeypatch.setattr(module, lambda name: f"other {name}")
    changed = parameters(Confident(SoftmaxAnnotator()))
    assert changed["code"] == "other xlt_ray.methods.shared.softmax"
    assert {**changed, "code": one["code"]} == one
