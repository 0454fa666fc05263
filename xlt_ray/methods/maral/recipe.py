"""MARAL: maximum-margin contrastive span NER with a von Mises-Fisher distribution per class.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition". Every span
of up to a few words is classified by how well its unit vector fits the distribution of each class:

    L = mean over source spans of L_mmc(z, y, pi_s) + mean over reliable target spans of
        L_mmc(z, yhat, pi_t) + w_mlm masked LM of target text,
    L_mmc(z, y, pi) = -log softmax(log pi + rho(z))[y].

A teacher trained on the source labels the target spans. The student learns from all of them at
first, then from those of each class whose score is on the upper side of a mixture of two Gaussians,
and moves the labels of the others towards what class means and nearest neighbours say.

The objective is in student.py, the teacher's in teacher.py; departures are in docs/maral.md.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal, Self, TypeVar

import torch
from pydantic import Field, model_validator

from xlt_ray.config.schema import MethodConfig, part_of
from xlt_ray.methods.maral.mechanisms import SourceSpans, at_work, reach
from xlt_ray.methods.maral.neighbours import require_faiss
from xlt_ray.methods.maral.source_spans import LEAST_WORDS, count_spans
from xlt_ray.methods.maral.spelling import count_written, written
from xlt_ray.methods.maral.student import MaralStudentLoss
from xlt_ray.methods.maral.student_config import StudentConfig, Variant
from xlt_ray.methods.maral.teacher import (
    SpanCrossEntropy,
    SpanProbabilities,
    TagSpans,
    even_weights,
    mean_of,
)
from xlt_ray.methods.maral.voted import check_teacher, voted_spans
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.ops import vmf
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.store.artifacts import Artifact

CODE: dict[str, Any] = {
    "target_exponent": 0.1,
    "kappa": "code",
    "target_loss": "code",
    "direction": "code",
    "schedule": "code",
    "outside_rule": True,
    "source_weights": True,
    "prune": True,
}
"""What the released code has in place of the paper's."""


class SpanConfig(MethodConfig, frozen=True):
    """Hyper-parameters of a model of spans that is trained on the source."""

    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=8, ge=1)
    """Epochs on the source gold; the best of them on source dev is kept."""
    batch_size: int = Field(default=32, ge=1)
    """Sentences per optimiser step, and as many of the target text where it is used."""
    max_len: int | None = Field(default=4, ge=1)
    """Words of the longest span; a longer entity cannot be found. None: the fewest that hold 99% of
    the entities of the source gold."""
    q: int = Field(default=64, ge=2)
    """Size of a span's vector."""
    w_mlm: float = Field(default=0.0, ge=0)
    """Weight of guessing hidden tokens of the target text."""
    mask_rate: float = Field(default=0.25, ge=0, le=1)
    """Share of its tokens that are hidden."""
    mlm_every: int = Field(default=1, ge=1)
    """Tokens are hidden in each so-manieth step, with so many times w_mlm."""
    morphology: bool = True
    """A span is described by how its words are written: in capitals, in digits. In scripts without
    capitals all words are written alike, as punctuation is, and few spans are entities."""
    even: bool = True
    """Weights of the classes in the source model's loss in proportion to 1 / log(count)."""

    @model_validator(mode="after")
    def _mlm(self) -> Self:
        if self.mlm_every > 1 and not self.w_mlm:
            raise ValueError("mlm_every: no token is hidden with w_mlm = 0, so only 1 is allowed")
        return self


class AdaptConfig(SpanConfig, frozen=True):
    """Hyper-parameters of how a student is made of it."""

    preset: Variant = "paper"
    """Defaults of the keys that the released code has otherwise: the paper's, or the code's."""
    joint: bool = False
    """All target languages make one model; else each its own."""
    epoch_of: Literal["source", "target"] = "source"
    """What an epoch of the student goes through at least once: the source gold, as in the paper,
    where the target text begins again when it ends; or the target text, too."""
    w_mlm: float = Field(default=0.01, ge=0)
    """Weight of guessing hidden tokens of the target text."""
    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of the student."""


S = TypeVar("S", bound=SpanConfig)


class MARALConfig(StudentConfig, AdaptConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["maral"] = "maral"
    """Name of the method."""
    teacher: Literal["model", "labellers"] = "model"
    """Who gives target spans the classes that the student begins with: the model that is trained on
    the source; or labellers, and that model where none of them has labelled a word of the span."""
    temp: float = Field(default=0.07, gt=0, le=1)
    """Temperature of the vMF score."""
    kappa: Variant = "paper"
    """Concentration R (q - R^2) / (1 - R^2), or R q / (1 - R^2)."""
    source_weights: bool = False
    """Weights of the classes in the student's source loss, as for the teacher."""
    prune: bool = False
    """A span that overlaps a likelier entity of the teacher's is certain to be none."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        is_code = isinstance(values, dict) and values.get("preset") == "code"
        return {**CODE, **values} if is_code else values


class MARAL(Method[MARALConfig]):
    """The recipe: a teacher, what it says of the target spans, a student."""

    Config = MARALConfig
    tasks = frozenset({"token"})
    needs_bio = True
    reads_spans = True
    learns_from_labellers = True

    def run(self, driver: Driver) -> Outcome:
        """A student for every target, or for all together."""
        check_teacher(driver, self.config.teacher)
        if self.config.refinement in ("both", "local"):
            require_faiss()  # and not after the teacher
        found = source_spans(driver, self.config)
        settled = MARAL(with_max_len(self.config, found))
        outcome = settled.adapt_all(driver, found.counts)
        parts = [reach(found), *at_work(outcome, settled.config)]
        if self.config.morphology:
            tokens = driver.unlabelled().tokens
            counted = driver.derive("how words are written", count_written, tokens)
            parts.append(written(counted.info))
        return replace(outcome, mechanisms=parts, longest=found.max_len)

    def adapt_all(self, driver: Driver, counts: list[int] | None) -> Outcome:
        """The students, given the spans of each class in the source gold."""
        c, text = self.config, driver.unlabelled()
        if c.joint:
            teacher, student = self.adapt(driver, None, text, counts)
            return self.outcome(teacher, student)
        calls = [partial(self.adapt, driver, x, text.of(x), counts) for x in driver.pools]
        models = dict(zip(driver.pools, driver.together(calls), strict=True))
        first, *others = models.values()
        teacher = first[0]
        student = teacher if others else first[1]
        return self.outcome(
            teacher,
            student,
            by_language={name: pair[1] for name, pair in models.items()},
            zero_shot_by_language={name: pair[0] for name, pair in models.items()},
        )

    def outcome(self, teacher: Model, student: Model, **by_language: Any) -> Outcome:
        """Models, and how they label text: each with its own kind of head."""
        before = [teacher, *by_language.get("zero_shot_by_language", {}).values()]
        teachers = {model.artifact.fingerprint for model in before}

        def label(driver: Driver, title: str, corpus: Corpus, model: Model) -> Artifact:
            is_teacher = model.artifact.fingerprint in teachers
            head = head_of(self.config) if is_teacher else self.head
            return driver.annotate(title, corpus, model, TagSpans(head))

        students = by_language.get("by_language") or {"": student}
        notes = [note for name, model in students.items() for note in epochs_of(name, model)]
        labellers = {"labeller": label, "plain_labeller": label}
        return Outcome(teacher, student, notes=notes, **labellers, **by_language)

    @property
    def head(self) -> SpanHead:
        """The student's head."""
        c = self.config
        scores = "vmf" if c.loss == "mmc" else "softmax"
        return replace(
            head_of(c),
            scores=scores,
            means=True,
            temp=c.temp,
            kappa=c.kappa,
            prior=c.predict_prior,
        )

    def adapt(
        self, driver: Driver, target: str | None, text: Corpus, counts: list[int] | None
    ) -> tuple[Model, Model]:
        """Teacher and student of a target language, or of all."""
        c, prefix = self.config, "" if target is None else f"{target} "
        teacher = train_on_source(driver, c, f"{prefix}teacher", text, counts)
        annotator = SpanProbabilities(head_of(c), c.prune)
        said = driver.annotate(f"{prefix}unlabelled", text, teacher, annotator)
        lost = said  # whose lost rows have no place beside them
        if c.teacher == "labellers":
            said = driver.derive(
                f"{prefix}voted spans",
                voted_spans,
                said,
                *(driver.votes(name) for name in driver.labellers),
                labels=list(driver.context.labels.names),
                max_len=self.head.max_len,
            )
        prior = driver.derive(f"{prefix}prior", mean_of, said, language=target).info["prior"]
        known = counts or [1]
        objective = MaralStudentLoss(
            self.head,
            c.w_mlm,
            c.mask_rate,
            c.mlm_every,
            settings=part_of(c, StudentConfig),
            source_prior=tuple(vmf.shares(torch.tensor(known)).tolist()),
            target_prior=tuple(prior or [1.0]),
            source_weights=even_weights(known) if c.source_weights else None,
            temp=c.temp,
        )
        labelled = text.with_columns(JoinedColumns("teacher", said, ("q",)))
        if lost is not said:
            labelled = labelled.with_columns(JoinedColumns("model", lost, ()))
        mix = Mix(driver.source("train"), paired=labelled)
        epoch_of = "paired" if c.epoch_of == "target" else "parts"
        schedule = Schedule(c.lr, c.epochs, batch_size=c.batch_size, epoch_of=epoch_of)
        student = driver.train(
            f"{prefix}student", mix, objective, start=driver.backbone, schedule=schedule
        )
        return teacher, student


def epochs_of(name: str, model: Model) -> list[str]:
    """Which epoch of a student is reported, and how the last one stands beside it."""
    history, chosen = model.history, model.artifact.info.get("chosen")
    if chosen is None or not history:  # only planned
        return []
    (best, last), student = (history[chosen], history[-1]), f"{name} student".strip()
    return [
        f"{student}: source dev {100 * best['source_dev']:.2f} in epoch {best['epoch']} of "
        f"{last['epoch']}, which is reported, and {100 * last['source_dev']:.2f} in the last"
    ]


def head_of(config: SpanConfig) -> SpanHead:
    """The head of a model that is trained on the source."""
    longest = config.max_len or LEAST_WORDS
    masked_lm, morphology = config.w_mlm > 0, config.morphology
    return SpanHead(longest, config.q, masked_lm=masked_lm, morphology=morphology)


def source_spans(driver: Driver, config: SpanConfig) -> SourceSpans:
    """Spans and entities of the source gold."""
    gold = driver.source("train").labels
    assert gold is not None
    names = list(driver.context.labels.names)
    found = driver.derive("source spans", count_spans, gold, labels=names, max_len=config.max_len)
    info = found.info
    longest = info["max_len"] if isinstance(info.get("max_len"), int) else config.max_len
    return SourceSpans(info["counts"], info.get("by_words") or {}, longest or LEAST_WORDS)


def with_max_len(config: S, found: SourceSpans) -> S:
    """A configuration whose ``max_len`` is settled."""
    return config.model_copy(update={"max_len": found.max_len})


def train_on_source(
    driver: Driver, config: SpanConfig, title: str, text: Corpus | None, counts: list[int] | None
) -> Model:
    """A model of spans by cross-entropy on source gold, which guesses hidden target tokens too."""
    c = config
    weights = even_weights(counts or [1]) if c.even else None
    objective = SpanCrossEntropy(head_of(c), c.w_mlm, c.mask_rate, c.mlm_every, weights)
    mix = Mix(driver.source("train"), paired=text if c.w_mlm else None)
    schedule = Schedule(c.source_lr, c.source_epochs, batch_size=c.batch_size)
    return driver.train(title, mix, objective, start=driver.backbone, schedule=schedule)
