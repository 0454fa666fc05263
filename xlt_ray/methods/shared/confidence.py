"""How confident a model is of rows: what ST takes rows by, and what threshold rules look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xlt_ray.data.keyed import sorted_by_id, with_ids
from xlt_ray.labels import LabelSet
from xlt_ray.methods.shared.row_scores import class_scores, entity_scores
from xlt_ray.methods.shared.selection import one_class_sets
from xlt_ray.models.classifier import Output
from xlt_ray.ops import evidential, partial_labels, selection, uncertainty
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.fingerprint import code_digest, parameters


@dataclass(frozen=True)
class ConfidenceAnnotator(Annotator):
    """Labels of every item, and per row ``confidence``, the mean of the largest probabilities, and
    ``class``, the predicted class of a text and 0 for a sentence of words."""

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        best = uncertainty.max_probability(output.logits.double().softmax(-1)).cpu().numpy()
        classes = np.zeros(len(offsets) - 1, np.int64) if context.task == "token" else labels
        return Columns(
            items={"labels": labels.astype(np.int16)},
            rows={"confidence": row_means(best, offsets), "class": classes.astype(np.int16)},
        )


def row_means(values_N: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """[S] mean of the items of each row.

    Args:
        values_N: A value per item.
        offsets: [S + 1] first item of each row, none of which is empty, and N.
    """
    sizes = np.diff(offsets)
    if not len(sizes):
        return values_N[:0]
    return np.add.reduceat(np.append(values_N, 0.0), offsets[:-1]) / sizes


@dataclass(frozen=True)
class Confident(Annotator):
    """The columns of another annotator, and how confident the model is of each row.

    The confidence of an item is the probability of its label, or that of its candidate set, if it
    has one. Rows have two more columns, [K] each: ``confidence``, by class, NaN where the row is
    not of the class, and ``mass``, the mean probabilities of the classes.

    ===================  ================  ==========================================
    rows                 K                 confidence
    ===================  ================  ==========================================
    texts                the classes       that of the text
    words, by entities   types of entity   mean over the entities of the type, each the mean of
                                           its words; mass: mean over all words in entities
    words otherwise      1                 mean over the words; mass: 1
    ===================  ================  ==========================================

    Attributes:
        inner: The other annotator, which labels.
        is_evidential: Whether outputs are evidence, whose expected probabilities count.
        by_entity: Whether sentences of words are of the types of their entities.
    """

    inner: Annotator
    is_evidential: bool = False
    by_entity: bool = False

    def describe(self) -> dict[str, Any]:
        """Fields, and the code of the other annotator, which is in a module of its own."""
        return {
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            "inner": parameters(self.inner),
            "code": code_digest(type(self.inner).__module__),
            "is_evidential": self.is_evidential,
            "by_entity": self.by_entity,
        }

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """What the other annotator reads."""
        return self.inner.build(context, width)

    def feature_outputs(self, own: nn.Module | None, features: Tensor) -> Tensor | None:
        """What the other annotator makes of the features."""
        return self.inner.feature_outputs(own, features)

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        said = self.inner.annotate(output, offsets, context)
        labels_N = said.items["labels"].astype(np.int64)
        p_NC = _probabilities(output.logits.double(), is_evidential=self.is_evidential)
        sure_N = _confidence(p_NC, labels_N, said.items.get("candidates"))
        q_NC = p_NC.cpu().numpy()
        if context.task != "token":
            by_class, mass = class_scores(labels_N, sure_N, offsets, context)[0], q_NC
        elif self.by_entity:
            by_class = entity_scores(labels_N, sure_N, offsets, context)[0]
            mass = entity_mass(labels_N, q_NC, offsets, context.labels)
        else:
            by_class = row_means(sure_N, offsets)[:, None]
            mass = np.ones((len(offsets) - 1, 1))
        said.rows |= {"confidence": by_class, "mass": mass}
        return said


def _probabilities(logits_NC: Tensor, *, is_evidential: bool) -> Tensor:
    if is_evidential:
        return evidential.dirichlet(evidential.evidence(logits_NC)).p_NC
    return logits_NC.softmax(-1)


def _confidence(p_NC: Tensor, labels_N: np.ndarray, sets_N: np.ndarray | None) -> np.ndarray:
    """[N] probability of each item's candidate set, or else of its label."""
    if sets_N is None:
        labels = torch.from_numpy(labels_N).to(p_NC.device)
        return p_NC.gather(1, labels[:, None])[:, 0].cpu().numpy()
    mask_NC = partial_labels.from_bitmask(torch.from_numpy(sets_N).to(p_NC.device), p_NC.shape[1])
    return torch.where(mask_NC, p_NC, 0.0).sum(dim=1).cpu().numpy()


def entity_mass(
    labels_N: np.ndarray, q_NC: np.ndarray, offsets: np.ndarray, labels: LabelSet
) -> np.ndarray:
    """[S, T] mean probability of each entity type over the words of a sentence that are labelled as
    inside of any entity; 0 of a sentence without one.

    Args:
        labels_N: Class of each word, sentence after sentence.
        q_NC: Class probabilities of each word.
        offsets: [S + 1] first word of each sentence, and N.
        labels: The BIO classes.
    """
    types = labels.entity_types
    of_type_CT = np.array([[name == kind for kind in types] for name in labels.class_types], float)
    inside = np.array([name is not None for name in labels.class_types])[labels_N]
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[inside]
    mass = np.zeros((len(offsets) - 1, len(types)))
    np.add.at(mass, row, q_NC[inside] @ of_type_CT)
    return mass / np.maximum(np.bincount(row, minlength=len(mass)), 1)[:, None]


def select_confident(
    scored: Artifact,
    *,
    share: float,
    balanced: bool,
    num_classes: int,
    pool_sizes: Mapping[str, int],
) -> tuple[pa.Table, dict[str, Any]]:
    """Choose the most confident rows of each predicted class, separately per language.

    Args:
        scored: Annotations: ``confidence``, ``class``, ``labels``.
        share: Share of the language's first pool that all classes give together.
        balanced: Take equally many of every class that is predicted.
        num_classes: C; 1 where rows have no class.
        pool_sizes: Rows of each language's first pool; others are not looked at.
    """
    table = sorted_by_id(scored.table(["id", "language", "labels", "confidence", "class"]))
    language = np.array(table["language"].to_pylist(), dtype=object)
    order, chosen = np.arange(len(table)), np.zeros(len(table), bool)
    for name, size in sorted(pool_sizes.items()):
        chosen |= selection.balanced_top(
            table["confidence"].to_numpy(),
            classes_N=table["class"].to_numpy(),
            order_N=order,
            k=selection.quota(share, size, num_classes=num_classes),
            balanced=balanced,
            valid_N=language == name,
        )
    ids = table["id"].combine_chunks().filter(pa.array(chosen))
    return one_class_sets(with_ids(table, ids))
