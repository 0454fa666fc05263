"""A step is named by its task: what is in a fingerprint and what is not."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest
from pydantic import Field

from tests.step_tasks import LABELS, ONE, TASKS, others, task_classes
from xlt_ray.config.schema import Section, TrainConfig
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.engine.asking import AskTask
from xlt_ray.engine.backbone import Backbone
from xlt_ray.engine.given import GivenTask
from xlt_ray.engine.votes import VotesTask
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.steps import Step
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.fingerprint import RUNTIME, parameters
from xlt_ray.store.step_task import StepTask

OF_THE_RUN: dict[type[StepTask], tuple[str, ...]] = {
    Backbone: ("write",),
    GivenTask: ("row_bytes", "path", "key"),
    VotesTask: ("max_bad_fraction",),
    AskTask: (
        "module",
        "source",
        "batch_size",
        "timeout",
        "retries",
        "wait",
        "max_bad_fraction",
        "skipped",
    ),
}
"""What says where or how a step is computed, and changes no byte."""
IDS = [type(task).__name__ for task in TASKS]


def named(task: StepTask) -> str:
    return Step("title", task).fingerprint()


def marked(thing: Any) -> set[str]:
    return {item.name for item in fields(thing) if item.metadata.get("runtime")}


def test_every_kind_of_task_is_here() -> None:
    assert {type(task) for task in TASKS} == task_classes()


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_every_field_is_a_parameter_or_said_to_be_of_the_run(task: StepTask) -> None:
    names = {item.name for item in fields(task)}
    assert set(Step("title", task).params) == names - marked(task)
    assert marked(task) == {"attempt", *OF_THE_RUN.get(type(task), ())}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_another_value_is_another_step(task: StepTask) -> None:
    """Each change alone, and no two of them alike."""
    changed = list(changes(task))
    assert len({named(task), *(named(other) for other in changed)}) == len(changed) + 1


def changes(task: StepTask) -> Iterator[StepTask]:
    for item in fields(task):
        if item.name not in marked(task) and not (item.name == "labels" and task.kind == "text"):
            for value in others(item.name, getattr(task, item.name)):
                yield replace(task, **{item.name: value})


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_where_it_is_written_is_no_part_of_its_name(task: StepTask) -> None:
    assert named(task.into(Attempt("root", task.kind, "f", "f.tmp-1"))) == named(task)
    with pytest.raises(AssertionError, match="not being computed"):
        _ = task.out


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_it_reads_what_its_parameters_name(task: StepTask) -> None:
    assert {item.identity for item in task.inputs} == set(identities(Step("title", task).params))


def identities(value: Any) -> Iterator[str]:
    """Names of artifacts among parameters."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from identities(item)
    elif value in (ONE.identity, *(x.identity for task in TASKS for x in task.inputs)):
        yield value


def test_what_a_worker_is_told_of_itself_does_not_count() -> None:
    plain = TaskContext(LABELS, ("a",))
    there = replace(plain, num_items=9, total=lambda x: x, everyone=lambda x: x, worker=3)
    assert parameters(plain) == parameters(there)
    assert marked(plain) == {"num_items", "total", "everyone", "layout", "worker"}


def test_how_often_training_is_saved_does_not_count() -> None:
    assert parameters(TrainConfig()) == parameters(TrainConfig(checkpoint_seconds=0.0))
    assert set(parameters(TrainConfig())) == set(TrainConfig.model_fields) - {"checkpoint_seconds"}


def test_a_source_is_known_by_what_it_was() -> None:
    class Edited:
        language, split, reads = "a", "dev", 0

        def identity(self) -> dict[str, Any]:
            self.reads += 1
            return {"reads": self.reads}

    named = NamedSource.of(Edited())  # type: ignore[arg-type]
    assert parameters(named) == parameters(named)
    assert parameters(named) == {"reads": 1, "language": "a", "split": "dev"}


class Keys(Section, frozen=True):
    rate: float = 0.5
    pause: float = Field(default=1.0, json_schema_extra={**RUNTIME})


@dataclass(frozen=True)
class Pair:
    one: Any
    two: Any = field(default=None, metadata=RUNTIME)


def test_values_become_plain() -> None:
    name = f"{Pair.__module__}.Pair"
    assert parameters(Pair((1, "x", None))) == {"class": name, "fields": {"one": [1, "x", None]}}
    assert parameters({"a": Keys(pause=3.0)}) == {"a": {"rate": 0.5}}
    assert parameters(ONE) == ONE.identity
    assert parameters(named) == f"{__name__}.named"


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"x", {1: "x"}, lambda: 0, Pair, Pair([{"x": object()}])]
)
def test_what_cannot_be_told_apart_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be part of a fingerprint"):
        parameters(value)
