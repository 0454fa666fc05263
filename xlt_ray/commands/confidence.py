"""What a finished model says of text: labels, how sure it is, and of evidential models why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from xlt_ray.methods.lvm.channel import Channel, confusions
from xlt_ray.models.classifier import Output
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.ops import entities, evidential, spans, uncertainty
from xlt_ray.ops.confusion import posterior
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.task import TaskContext


@dataclass(frozen=True)
class Confident(Annotator):
    """The likeliest class of every item, and its probability.

    Attributes:
        evidential: Whether the output of the head is evidence: the probability is that which the
            Dirichlet distribution expects, and vacuity and dissonance, in [0, 1], are told, too.
    """

    evidential: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return ("confidence", "vacuity", "dissonance") if self.evidential else ("confidence",)

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """``labels`` and `columns`, all of items."""
        logits = output.logits.double()
        found: dict[str, np.ndarray] = {}
        labels = logits.argmax(dim=1)
        if self.evidential:
            opinion = evidential.dirichlet(evidential.evidence(logits))
            found["vacuity"] = opinion.vacuity_N.cpu().numpy()
            found["dissonance"] = uncertainty.dissonance(opinion.belief_NC).cpu().numpy()
            p_NC = opinion.p_NC
        else:
            p_NC = logits.softmax(dim=1)
        found["confidence"] = p_NC.gather(1, labels[:, None])[:, 0].cpu().numpy()
        numbers = {name: found[name].astype(np.float32) for name in self.columns}
        return Columns(items={"labels": labels.cpu().numpy().astype(np.int16), **numbers})


@dataclass(frozen=True)
class ConfidentPosterior(Annotator):
    """The likeliest class under Q of every item, with what sources say of it, and its probability.

    Attributes:
        channel: How the labels of the sources come about.
    """

    channel: Channel

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return ("confidence",)

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """The learned matrices."""
        return self.channel.build(context)

    @torch.no_grad()
    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """``labels`` and ``confidence``, of items."""
        logits, own = output.logits.double(), confusions(output.own)
        lam = 1.0 if own is None else float(own.lam)
        joint = self.channel.log_joint(logits, output.columns, own, lam)
        sure, labels = posterior(joint).max(dim=1)
        numbers = {"confidence": sure.cpu().numpy().astype(np.float32)}
        return Columns(items={"labels": labels.cpu().numpy().astype(np.int16), **numbers})


def channel_of(values: Mapping[str, Any]) -> Channel:
    """A channel from the plain values that a run has left of it."""
    priors = values["priors"]
    kept = None if priors is None else tuple(tuple(prior) for prior in priors)
    found: dict[str, Any] = {**values, "names": tuple(values["names"]), "priors": kept}
    return Channel(**found)


@dataclass(frozen=True)
class ConfidentSpans(Annotator):
    """BIO labels of words by the likeliest spans that do not overlap, and how sure they are.

    Of a word in an entity that is the probability of its span, of another word the least
    probability of being none among the spans that it is in.
    """

    head: SpanHead

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return ("confidence",)

    @property
    def span_head(self) -> SpanHead:
        """The span head."""
        return self.head

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """``labels`` and ``confidence``, of words."""
        counts_S = spans.num_words(np.diff(offsets), self.head.max_len)
        scores_NK, longest = output.logits, self.head.max_len
        labels_W = entities.tags_of_scores(scores_NK, counts_S, longest, context.labels)
        kept_M, classes_M = entities.kept_entities(scores_NK, counts_S, longest)
        spans_N2, offsets_S1 = spans.enumerate_many(counts_S, longest)
        spans_N2 = spans.end_to_end(spans_N2, counts_S, offsets_S1)
        q_NK = scores_NK.double().softmax(dim=1).cpu().numpy()
        sure_W = np.ones(len(labels_W))
        for offset in range(longest):
            word_N = spans_N2[:, 0] + offset
            inside_N = word_N <= spans_N2[:, 1]
            np.minimum.at(sure_W, word_N[inside_N], q_NK[inside_N, 0])
        for position, label in zip(kept_M, classes_M, strict=True):
            start, end = spans_N2[position]
            sure_W[start : end + 1] = q_NK[position, label]
        columns = {"labels": labels_W.astype(np.int16), "confidence": sure_W.astype(np.float32)}
        return Columns(words=columns)
