"""What a train step is given."""

from dataclasses import dataclass

from xlt_ray.config.schema import TrainConfig
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass(frozen=True, kw_only=True)
class TrainTask(StepTask):
    """Everything a worker needs; it travels by value.

    Attributes:
        mix: What is learnt from.
        dev: Gold-labelled text that chooses the model.
        start: The model to start from.
        objective: What is minimised.
        schedule: How long, and which of the models is kept.
        train: How it is optimised.
        context: The task, as far as the objective looks at it.
        metric: What dev text is scored by.
        averages_dev: Whether each language of it is scored, and the mean chooses; else all at once.
        seed: Seed of everything random.
        arithmetic: How a worker computes.
        batch_tokens: Token budget of a batch of dev text.
        world: Workers that the rows are split over.
        seated: Whether these are seats, of however many processes.
        compiled: Whether the encoder is compiled.
    """

    kind = "model"

    mix: Mix
    dev: Corpus
    start: Artifact
    objective: Objective
    schedule: Schedule
    train: TrainConfig
    context: TaskContext
    metric: str
    averages_dev: bool = False
    seed: int
    arithmetic: Arithmetic
    batch_tokens: int
    world: int = 1
    seated: bool = False
    compiled: bool = False

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The model to start from, and the text."""
        return (self.start, *self.mix.inputs, *self.dev.inputs)

    @property
    def modules(self) -> tuple[str, ...]:
        """The loop and the objective."""
        return ("xlt_ray.engine.train.processes", type(self.objective).__module__)

    @property
    def batch_size(self) -> int:
        """Rows of an optimiser step, over all workers."""
        return self.schedule.batch_size or self.train.batch_size
