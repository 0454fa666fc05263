"""What a recipe is given: the verbs of a driver, and no way behind them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from xlt_ray.config import Split
from xlt_ray.data.corpus import Corpus, Mix, Model, Start
from xlt_ray.methods.base import Derivation, Driver
from xlt_ray.methods.facts import Facts, Schedule
from xlt_ray.methods.parts import Annotator, Objective
from xlt_ray.store import Artifact

R = TypeVar("R")


class Verbs:
    """A driver as a recipe sees it.

    It has the members of `xlt_ray.methods.base.Driver` and no others: neither the configuration,
    which says where the files are, nor the store, nor a right to gold labels.
    """

    __slots__ = ("_of",)

    def __init__(self, driver: Driver):
        self._of: Callable[[str], Any] = lambda name: getattr(driver, _allowed(name))

    @property
    def backbone(self) -> Model:
        """The pre-trained encoder."""
        return self._of("backbone")

    @property
    def facts(self) -> Facts:
        """Classes and languages of the task."""
        return self._of("facts")

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self._of("seed")

    @property
    def source_languages(self) -> tuple[str, ...]:
        """Languages, or domains, of the gold-labelled text."""
        return self._of("source_languages")

    @property
    def pools(self) -> tuple[str, ...]:
        """Languages of the unlabelled text."""
        return self._of("pools")

    def start_from(self, reference: str) -> Start:
        """Models of a finished run, or a checkpoint of the task."""
        return self._of("start_from")(reference)

    def source(self, split: Split, *languages: str) -> Corpus:
        """Gold-labelled text of the source languages, or of some of them."""
        return self._of("source")(split, *languages)

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Source languages that a target learns from: all but itself."""
        return self._of("sources_of")(target)

    def dev(self, target: str | None = None) -> Corpus:
        """Gold-labelled dev text that chooses models, of a target or of all."""
        return self._of("dev")(target)

    def unlabelled(self) -> Corpus:
        """Text of the target languages, without labels."""
        return self._of("unlabelled")()

    def back_translated(self) -> Corpus | None:
        """That text translated there and back, as far as it is; None if nothing translates."""
        return self._of("back_translated")()

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
        """Train a model, chosen on source dev."""
        return self._of("train")(title, mix, objective, start=start, schedule=schedule, dev=dev)

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        return self._of("annotate")(title, corpus, model, annotator)

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """A small decision over whole columns: selection, thresholds, priors, weights."""
        return self._of("derive")(title, function, *artifacts, **parameters)

    def together(self, calls: Sequence[Callable[[], R]]) -> list[R]:
        """Results of calls that do not depend on each other; at once if the cluster has room."""
        return self._of("together")(calls)


ALLOWED = frozenset(name for name in vars(Driver) if not name.startswith("_"))


def _allowed(name: str) -> str:
    if name not in ALLOWED:
        raise AttributeError(f"a recipe has no {name}")
    return name
