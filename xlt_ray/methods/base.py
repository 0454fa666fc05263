"""What a method is made of: recipe, objectives, annotators; and the driver as a recipe sees it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from xlt_ray.config import MethodConfig, Split
from xlt_ray.data.corpus import Corpus, Mix, Model
from xlt_ray.data.examples import Batch
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.store import Artifact


@dataclass(frozen=True)
class Schedule:
    """How long a train step runs and which of its models it keeps.

    Attributes:
        lr: Peak learning rate.
        epochs: Epochs at most.
        keep: "best": the model with the best source-dev score; "last": the one at the end.
        patience: Epochs without a better source-dev score after which training stops; None: never.
        batch_size: Rows per optimiser step; None: ``train.batch_size``.
    """

    lr: float
    epochs: int
    keep: Literal["best", "last"] = "best"
    patience: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Facts:
    """What an objective or an annotator is told about the task when it starts.

    Attributes:
        labels: Classes of the task.
        languages: Names by the language numbers of a batch.
        num_items: Items (words or texts) that this worker trains on; 0 when annotating.
        task: Kind of task.
    """

    labels: LabelSet
    languages: tuple[str, ...]
    num_items: int = 0
    task: Task = "token"

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.labels)


def describe(thing: Any) -> dict[str, Any]:
    """Class and fields of an objective, annotator or schedule, for a fingerprint."""
    assert is_dataclass(thing)
    assert not isinstance(thing, type)
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return {"class": name, "fields": asdict(thing)}


@dataclass
class Objective(ABC):
    """What a train step minimises.

    The fields are its configuration and travel to the workers. Anything that changes while
    training is set up in :meth:`prepare`, lives on the worker, and is named by :meth:`state_dict`,
    so that it is checkpointed with the model. An example stays on its worker, so state may be kept
    per item.
    """

    uses_languages: ClassVar[bool] = False
    """Whether it looks at the languages of a batch; only then are they known to it."""

    def build(self, facts: Facts, width: int) -> nn.Module | None:
        """Trainable parameters of its own, which are optimised, averaged over the workers and
        saved with the model; a later step that starts from the model and builds the same goes on
        with them.

        Args:
            facts: The task.
            width: H, the size of a feature.
        """
        return None

    def prepare(self, facts: Facts, model: Classifier) -> None:  # noqa: B027 - most have no state
        """Set up state on the model's device; ``model.own`` is what :meth:`build` made."""

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            output: Logits and features of the batch's items.
            batch: The batch, on the same device.

        Returns:
            ``"loss"``, summed over the labelled items, and any number of named terms for the log;
            the engine divides by the labelled items of the whole optimiser step.
        """

    def after_step(self) -> None:  # noqa: B027
        """Called after each optimiser step."""

    def after_epoch(self) -> None:  # noqa: B027
        """Called after each epoch."""

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Take up the tensors of a checkpoint."""


@dataclass
class Columns:
    """What an annotator says about some rows.

    Attributes:
        items: [N] (or [N, K]) array per column, one entry per item, stored as a list per row.
        rows: [S] (or [S, K]) array per column, one entry per row.
    """

    items: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Annotator(ABC):
    """What an annotate step computes per shard: model output in, small columns out."""

    uses_languages: ClassVar[bool] = False
    """Whether it looks at the languages of the facts; only then are they known to it."""

    def build(self, facts: Facts, width: int) -> nn.Module | None:
        """What an objective built that this annotator reads: a map of features [N, H] to [N, K];
        the model must have been trained with it.
        """
        return None

    @abstractmethod
    def annotate(self, output: Output, offsets: np.ndarray, facts: Facts) -> Columns:
        """Columns of some rows.

        Args:
            output: What the model says about all items, row after row; without features, and with
                the values of :meth:`build` as ``extra``.
            offsets: [S + 1] first item of each row, and N.
            facts: The task.
        """


@dataclass(frozen=True)
class PredictLabels(Annotator):
    """The class of the largest logit, lowest index on ties."""

    def annotate(self, output: Output, offsets: np.ndarray, facts: Facts) -> Columns:
        """One column, ``labels``."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        return Columns(items={"labels": labels.astype(np.int16)})


class Driver(Protocol):
    """The verbs that a recipe may use."""

    @property
    def backbone(self) -> Model:
        """The pre-trained encoder."""
        ...

    @property
    def facts(self) -> Facts:
        """Classes and languages of the task."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the run."""
        ...

    @property
    def pools(self) -> tuple[str, ...]:
        """Languages of the unlabelled text."""
        ...

    def source(self, split: Split) -> Corpus:
        """Gold-labelled text of the source languages."""
        ...

    def unlabelled(self) -> Corpus:
        """Text of the target languages, without labels."""
        ...

    def train(
        self, title: str, mix: Mix, objective: Objective, *, start: Model, schedule: Schedule
    ) -> Model:
        """Train a model, chosen on source dev."""
        ...

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        ...

    def derive(
        self, title: str, function: "Derivation", *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """A small decision over whole columns: selection, thresholds, priors, weights."""
        ...


Derivation = Callable[..., Any]
"""``function(*artifacts, **parameters)`` returning a table, or a table and facts about it."""


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


@dataclass(frozen=True)
class Outcome:
    """What a recipe hands to the report.

    Attributes:
        zero_shot: Model trained on the source languages alone.
        final: Model chosen by the method.
        rounds: The rounds between the two.
        by_language: Final model of a target language, where there is one for each.
    """

    zero_shot: Model
    final: Model
    rounds: Sequence[Round] = ()
    by_language: Mapping[str, Model] = field(default_factory=dict)


C = TypeVar("C", bound=MethodConfig)


class Method(ABC, Generic[C]):
    """A method: its configuration and its recipe."""

    Config: ClassVar[type[MethodConfig]]
    tasks: ClassVar[frozenset[str]]
    """Tasks that the method can do: "token", "sentence", "pair"."""
    needs_bio: ClassVar[bool] = False
    """Whether its token tasks must be about entities, with BIO labels; text tasks never are."""

    def __init__(self, config: C):
        self.config = config

    @abstractmethod
    def run(self, driver: Driver) -> Outcome:
        """The recipe."""


def best_on_source_dev(models: Sequence[Model]) -> Model:
    """The highest source-dev score wins, the earliest on ties; planned models count least."""
    return max(models, key=lambda model: -1.0 if model.source_dev is None else model.source_dev)


def stalled(scores: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` scores are no better than the ones before; None: never."""
    known = [score for score in scores if score is not None]
    if patience is None or len(known) <= patience:
        return False
    return max(known[-patience:]) <= max(known[:-patience])
