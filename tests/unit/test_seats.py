"""Seats share a process; sums do not depend on how many processes there are."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.families import FAMILIES, Trial
from xlt_ray.engine.train.processes import run_seats, run_worker
from xlt_ray.engine.train.seats import (
    Node,
    Seat,
    Turns,
    joined,
    put,
    seats_of,
    shape_of,
    take_seats,
)
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.train.workers import Workers
from xlt_ray.methods.flexmatch import Consistency
from xlt_ray.methods.iwda.alignment import AlignmentLoss
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule

Whole = dict[str, tuple[bytes, dict[str, Any]]]
CPU = torch.device("cpu")
ALONE = Workers(0, 1, CPU)


def brackets(one: str, other: str) -> str:
    return f"({one}{other})"


def of_process(seats: range) -> list[Node[str]]:
    nodes = list[Node[str]]()
    for seat in seats:
        put(nodes, Node(seat, 1, "abcdefghij"[seat]), brackets)
    return nodes


@pytest.mark.parametrize(
    ("seats", "wanted"),
    [
        (1, "a"), (2, "(ab)"), (3, "((ab)c)"), (4, "((ab)(cd))"),
        (6, "(((ab)(cd))(ef))"), (7, "(((ab)(cd))((ef)g))"),
    ],
)  # fmt: skip
def test_what_is_joined_with_what_does_not_depend_on_processes(seats: int, wanted: str) -> None:
    for processes in range(1, seats + 1):
        parts = [seats_of(number, processes, seats) for number in range(processes)]
        assert [seat for part in parts for seat in part] == list(range(seats))
        nodes = [of_process(part) for part in parts]
        assert [shape_of(part) for part in parts] == [
            [(node.first, node.size) for node in found] for found in nodes
        ]
        assert joined([node for found in nodes for node in found], brackets) == wanted


def seat_of(number: int, turns: Turns, world: int = 3) -> Seat:
    return Seat(number, world, CPU, turns, ALONE)


def test_seats_run_by_turns_and_meet() -> None:
    said = list[str]()

    def work(number: int, turns: Turns) -> Any:
        seat = seat_of(number, turns)
        said.append(f"{number} begins")
        total = seat.total(torch.tensor([1e8, 1.0, -1e8][number]))
        rows = seat.everyone(torch.full((number,), number))
        said.append(f"{number} goes on")
        return total, rows.tolist(), seat.largest(-number), seat.sum([0.5, 1.0]), seat.leads

    found = take_seats(range(3), work)
    assert said == [f"{n} begins" for n in range(3)] + [f"{n} goes on" for n in range(3)]
    assert found == (torch.tensor(1e8) + 1.0 - 1e8, [1, 2, 2], 0, [1.5, 3.0], True)


def test_a_seat_has_a_random_state_of_its_own() -> None:
    drawn = dict[int, list[Tensor]]()

    def work(number: int, turns: Turns) -> None:
        seat = seat_of(number, turns)
        torch.manual_seed(number)
        drawn[number] = [torch.rand(2)]
        seat.wait()
        drawn[number].append(torch.rand(2))

    take_seats(range(3), work)
    for number, parts in drawn.items():
        torch.manual_seed(number)
        assert torch.equal(torch.cat(parts), torch.cat([torch.rand(2), torch.rand(2)]))


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_seat_that_fails_ends_the_others(fails: int) -> None:
    def work(number: int, turns: Turns) -> None:
        seat_of(number, turns).wait()
        if number == fails:
            raise ValueError(f"seat {number}")
        seat_of(number, turns).wait()
        raise AssertionError("went on")

    with pytest.raises(ValueError, match=f"seat {fails}"):
        take_seats(range(3), work)


def test_gradients_are_summed_and_those_that_are_missing_stay_away() -> None:
    def work(number: int, turns: Turns) -> list[Any]:
        shared[0].grad = torch.tensor(float(number + 1))
        shared[1].grad = None if number != 1 else torch.tensor(5.0)
        shared[2].grad = None
        seat_of(number, turns).sum_gradients(shared)
        return [None if item.grad is None else float(item.grad) for item in shared]

    shared = [torch.nn.Parameter(torch.zeros(())) for _ in range(3)]
    assert take_seats(range(3), work) == [6.0, 5.0, None]


# -- whole trainings -----------------------------------------------------------------------------


MATCHING = Consistency(t0=0.55, warmup=True, lambda_u=1.0, mask_rate=0.3, translated=0.0)
"""State for each text, draws, and sums that all seats take part in after every step."""
ALIGNING = AlignmentLoss(
    CriticSettings(critic_hidden=8, critic_steps=1, lr_iw=0.1), w0=(1.0, 1.0), prior=(0.5, 0.5)
)
"""Parameters and statistics of its own, and steps that leave the model as it is."""
LOSSES: dict[str, Objective] = {"FlexMatch": MATCHING, "IWDA": ALIGNING}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Rows of text, gold, and an encoder."""
    family = next(item for item in FAMILIES if item.name == "XLM-R")
    return Trial(family, "text", tmp_path_factory.mktemp("seats"))


def training(trial: Trial, name: str, loss: Objective, **changes: Any) -> TrainTask:
    """Three epochs of four seats."""
    task = trial.training(name, loss)
    mix = Mix(trial.corpus, paired=trial.corpus)
    return replace(
        task, mix=mix, schedule=Schedule(0.01, 3), world=4, seated=True,
        train=task.train.model_copy(update={"dropout": 0.1, "max_tokens": 64}), **changes,
    )  # fmt: skip


def in_group(rank: int, processes: int, task: TrainTask, file: str) -> None:
    """One process of a training."""
    device = task.arithmetic.take()  # and its threads, whatever this process had before
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=processes)
    try:
        run_seats(task, Workers(rank, processes, device))
    finally:
        dist.destroy_process_group()


def in_processes(count: int, task: TrainTask, folder: Path) -> None:
    arguments = (count, task, str(folder / "group"))
    start = torch.multiprocessing.start_processes
    start(in_group, arguments, nprocs=count, start_method="fork")


def weights(trial: Trial, task: TrainTask) -> bytes:
    return (trial.committed(task).local() / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(trial: Trial) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """All seats in one process."""
    found = {}
    for name, loss in LOSSES.items():
        task = training(trial, f"{name} whole", loss)
        facts = run_seats(task, Workers(0, 1, task.arithmetic.take()))
        found[name] = weights(trial, task), facts
    return found


def test_the_result_is_none_of_one_worker(trial: Trial, whole: Whole) -> None:
    """Four workers draw otherwise; each row is learned from once an epoch all the same."""
    task = replace(training(trial, "alone", MATCHING), world=1, seated=False)
    facts, (bytes_of_four, of_four) = run_worker(task), whole["FlexMatch"]
    assert weights(trial, task) != bytes_of_four
    assert (facts["rows"], facts["items"]) == (of_four["rows"], of_four["items"])


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_any_number_of_processes_gives_the_same_bytes(
    trial: Trial, whole: Whole, processes: int, name: str, tmp_path: Path
) -> None:
    task = training(trial, f"{name} of {processes}", LOSSES[name])
    in_processes(processes, task, tmp_path)
    assert weights(trial, task) == whole[name][0]


class Stopped(Exception):
    """A training that was killed."""


def stopping(loss: Objective) -> Objective:
    """The same, until the second step of the second epoch."""

    kind: Any = type(loss)

    class Stops(kind):
        steps = 0

        def after_step(self) -> None:
            super().after_step()
            self.steps += 1
            if self.steps == 5:
                raise Stopped

    return Stops(**{item.name: getattr(loss, item.name) for item in fields(loss)})


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_killed_training_goes_on_on_another_number_of_processes(
    trial: Trial, whole: Whole, name: str, tmp_path: Path
) -> None:
    task = training(trial, f"{name} killed", LOSSES[name])
    stops = replace(task, objective=stopping(LOSSES[name]))
    alone = Workers(0, 1, task.arithmetic.take())
    with pytest.raises(Stopped):
        run_seats(stops, alone)
    in_processes(2, task, tmp_path)
    assert weights(trial, task) == whole[name][0]
