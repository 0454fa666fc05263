"""What a method is: its configuration, its recipe, and the outcome it hands to the report."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from xlt_ray.config.schema import MethodConfig
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.corpus import Corpus, Model
from xlt_ray.recipe.driver import Derivation, Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class Round:
    """One self-training round, for the report.

    Attributes:
        selected: Rows selected, per target language.
        set_sizes: Selected items by the size of their candidate set.
        model: Model at the end of the round.
        scored: Annotation of the pool that the round started from.
        picked: What was selected of it.
    """

    number: int
    selected: Mapping[str, int]
    set_sizes: Mapping[str, int]
    model: Model
    scored: Artifact
    picked: Artifact


def likeliest(driver: Driver, title: str, corpus: Corpus, model: Model) -> Artifact:
    """The class of the largest logit of every item."""
    return driver.annotate(title, corpus, model, PredictLabels())


@dataclass(frozen=True)
class WithSources:
    """How text is labelled by a final model together with source models.

    Attributes:
        sources: The source models that are asked, by name.
        many: Whether only the largest of their probabilities are kept.
        channel: How their labels come about from the true one, as plain values of the method.
    """

    sources: Mapping[str, Model]
    many: bool
    channel: Mapping[str, Any]


Labeller = Callable[[Driver, str, Corpus, Model], Artifact]
"""Annotation with a column ``labels`` of a corpus, under a title, by a model."""


@dataclass(frozen=True)
class Outcome:
    """What a recipe hands to the report.

    Attributes:
        zero_shot: Model trained on the source languages alone.
        final: Model chosen by the method.
        rounds: The rounds between the two.
        by_language: Final model of a target language, where there is one for each.
        zero_shot_by_language: Zero-shot model of a target language, where it has one of its own.
        sources: Models of the source languages, which score them, where each has one of its own.
        labeller: How a final model of a language labels text; its likeliest classes by default.
        with_sources: The same of languages whose text source models help to label, for others to
            repeat it.
        plain_labeller: How every other model does.
        notes: What the reader of the scores has to know.
        mechanisms: How far the parts of the method were at work.
        longest: Words of the longest entity that the models can find; None: of any length.
        rounds_by_language: The rounds of a target language, where each has its own.
    """

    zero_shot: Model
    final: Model
    rounds: Sequence[Round] = ()
    by_language: Mapping[str, Model] = field(default_factory=dict)
    zero_shot_by_language: Mapping[str, Model] = field(default_factory=dict)
    sources: Mapping[str, Model] = field(default_factory=dict)
    labeller: "Labeller" = likeliest
    plain_labeller: "Labeller" = likeliest
    with_sources: Mapping[str, WithSources] = field(default_factory=dict)
    notes: Sequence[str] = ()
    mechanisms: Sequence[Mechanism] = ()
    longest: int | None = None
    rounds_by_language: Mapping[str, Sequence[Round]] = field(default_factory=dict)


C = TypeVar("C", bound=MethodConfig)


class Method(ABC, Generic[C]):
    """A method: its configuration and its recipe."""

    Config: ClassVar[type[MethodConfig]]
    tasks: ClassVar[frozenset[str]]
    """Tasks that the method can do: "token", "sentence", "pair"."""
    needs_bio: ClassVar[bool] = False
    """Whether its token tasks must be about entities, with BIO labels; text tasks never are."""
    is_evidential: ClassVar[bool] = False
    """Whether the outputs of its final model are evidence, ELU(f) + 1, rather than logits."""
    reads_spans: ClassVar[bool] = False
    """Whether its models of token tasks are of spans, on the bare encoder of any family."""
    leaves_one_out: ClassVar[bool] = False
    """Whether every target has a model of its own, so that a source can be the target of others."""
    learns_from_labellers: ClassVar[bool] = False
    """Whether it makes use of labels that labellers give to the unlabelled text."""

    def __init__(self, config: C):
        self.config = config

    def read(self, driver: Driver) -> None:
        """Read the text that the recipe reads, so that bad text is found before anything else."""
        driver.source("train")
        driver.dev()
        if driver.pools:
            driver.unlabelled()

    @abstractmethod
    def run(self, driver: Driver) -> Outcome:
        """The recipe."""


class TargetGold(Protocol):
    """Gold labels of the unlabelled text, as an upper bound looks at them."""

    @property
    def gold(self) -> Artifact:
        """The labels."""
        ...

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """What a function makes of them, as a durable step."""
        ...


class UpperBound(ABC):
    """What sees gold labels of targets, and may stand beside methods to show what they miss."""

    sees: ClassVar[str]
    """What it sees of them, in words; its report says so."""

    @abstractmethod
    def see(self, gold: TargetGold) -> None:
        """Take what it sees, before it runs: gold labels of the unlabelled text, and no others."""
