"""The verbs that a recipe is written in, and the view of a driver that shows nothing else."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, cast

from xlt_ray.config.schema import Split
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus, Mix, Model, Start
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


class Driver(Protocol):
    """The verbs that a recipe may use."""

    @property
    def backbone(self) -> Model:
        """The pre-trained encoder."""
        ...

    @property
    def context(self) -> TaskContext:
        """Classes and languages of the task."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the run."""
        ...

    @property
    def source_languages(self) -> tuple[str, ...]:
        """Languages, or domains, of the gold-labelled text."""
        ...

    @property
    def pools(self) -> tuple[str, ...]:
        """Languages of the unlabelled text."""
        ...

    @property
    def labellers(self) -> tuple[str, ...]:
        """Those who labelled the unlabelled text, in the configured order; perhaps none."""
        ...

    def start_from(self, reference: str) -> Start:
        """Models of a finished run, or a checkpoint of the task."""
        ...

    def source(self, split: Split, *languages: str) -> Corpus:
        """Gold-labelled text of the source languages, or of some of them; train text with the few
        labelled rows that targets may have."""
        ...

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Source languages that a target learns from: all but itself."""
        ...

    def dev(self, target: str | None = None, *, source: str | None = None) -> Corpus:
        """Gold-labelled dev text that chooses models: those of a target, the model of a source, or
        all."""
        ...

    def unlabelled(self) -> Corpus:
        """Text of the target languages, without labels."""
        ...

    def back_translated(self) -> Corpus | None:
        """That text translated there and back, as far as it is; None if nothing translates."""
        ...

    def train(
        self,
        title: str,
        mix: Mix,
        objective: Objective,
        *,
        start: Model,
        schedule: Schedule,
        dev: Corpus | None = None,
    ) -> Model:
        """Train a model, chosen on source dev.

        Args:
            title: What the reader of a ledger sees.
            mix: What it learns from.
            objective: What it minimises.
            start: Model to start from.
            schedule: How long, and which of its models is kept.
            dev: Gold-labelled dev text, some that :meth:`dev` gives; default: that for all models.
        """
        ...

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        ...

    def said(
        self, title: str, path: str, text: Corpus, *, languages: Sequence[str], key: str
    ) -> Artifact:
        """What a system outside says about a text: ``labels`` and ``probs`` of every item, read
        from a file of its predictions."""
        ...

    def votes(self, name: str) -> Artifact:
        """What a labeller says about the unlabelled text: ``labels`` and ``probs`` of every item,
        -100 and zeros where it says nothing."""
        ...

    def derive(
        self, title: str, function: "Derivation", *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """A small decision over whole columns: selection, thresholds, priors, weights."""
        ...

    def together(self, calls: "Sequence[Callable[[], R]]") -> "list[R]":
        """Results of calls that do not depend on each other; at once if the cluster has room."""
        ...

    def while_reading(self, call: "Callable[[], R]") -> "R":
        """The result of a call that trains on source text, while the unlabelled text is read; where
        trainings go on in the driver's own process it is read before."""
        ...


R = TypeVar("R")


Derivation = Callable[..., Any]
"""``function(*artifacts, **parameters)`` returning a table, or a table and facts about it."""


ALLOWED = frozenset(name for name in vars(Driver) if not name.startswith("_"))
"""The members of `xlt_ray.recipe.driver.Driver`."""


class _Verbs:
    """The allowed members of a driver: neither its configuration, which says where the files are,
    nor its store, nor a right to gold labels."""

    __slots__ = ("_member",)

    def __init__(self, driver: Driver):
        def member(name: str) -> Any:
            if name not in ALLOWED:
                raise AttributeError(f"a recipe has no {name}")
            return getattr(driver, name)

        self._member = member

    def __getattr__(self, name: str) -> Any:
        if name == "_member":  # of one that is being copied
            raise AttributeError(name)
        return self._member(name)

    def __dir__(self) -> Iterable[str]:
        return ALLOWED


def verbs_of(driver: Driver) -> Driver:
    """A driver as a recipe sees it."""
    return cast("Driver", _Verbs(driver))
