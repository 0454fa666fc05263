"""What a run does where a dry run or the trial of a sweep does something else."""

from collections.abc import Callable, Sequence

from xlt_ray.engine.parallel import R, at_once
from xlt_ray.recipe.corpus import Model, Start
from xlt_ray.store.artifacts import Artifact


class RunPolicy:
    """What a driver asks where runs of different purpose differ; as it is here, that of a run.

    Attributes:
        judges_left_out: Whether the dev text of a target that is left out may choose its model.
            Only a search for settings does so, whose models nobody reports.
    """

    judges_left_out: bool = False

    def backbone(self, find: Callable[[], Model]) -> Model:
        """The encoder of the run.

        Args:
            find: Puts the one that the configuration names into the store, or raises ConfigError.
        """
        return find()

    def start(self, reference: str, find: Callable[[], Start]) -> Start:
        """The models that a method begins with.

        Args:
            reference: A finished run, or a checkpoint.
            find: Looks it up, or raises ConfigError.
        """
        return find()

    def unreadable(self, title: str, kind: str, error: ValueError) -> Artifact:
        """What stands for a text, or gold labels, that cannot be read.

        Args:
            title: Title of the step that would read it.
            kind: Kind of that step.
            error: Why not.
        """
        raise error

    def together(self, calls: Sequence[Callable[[], R]], most: int) -> list[R]:
        """Results of calls that do not depend on each other, so many at a time at most."""
        return at_once(calls, most=most)

    def beside(self, read: Callable[[], object], call: Callable[[], R]) -> R:
        """The result of a call that trains on other workers, while something is read.

        If what is read ends with an error, the training is waited for, since it is kept; then the
        error is raised.
        """
        found: list[R] = []
        at_once([read, lambda: found.append(call())], most=2)
        return found[0]

    def trained(self, model: Model) -> None:
        """Called after each train step."""
