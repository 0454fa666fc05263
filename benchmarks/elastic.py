"""Elastic training: what seats cost, against a worker with a process of its own.

    python -m benchmarks.elastic --wikiann FOLDER --backbone FOLDER --freeze

One process and one thread, the same rows, one epoch a turn. One worker takes a step's rows in one
go, several seats each a share of them; all seats of a process share its model and optimiser.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.measure import REPEATS, Contender, Timing, machine, take_turns, title
from benchmarks.setting import Data, Setting, begun
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.train.processes import run_seats, run_worker
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.train.workers import Workers
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.schedule import Schedule

SEATS = (2, 4)
SIZES = {"train": 320, "dev": 8, "unlabelled": 8, "test": 8}


def training(setting: Setting, seats: int, *, freeze: bool, batch: int) -> TrainTask:
    """One epoch on the source gold, without checkpoints."""
    driver = setting.driver
    given = {"checkpoint_seconds": 1e9, "freeze_embeddings": freeze, "batch_size": batch}
    quiet = setting.config.train.model_copy(update=given)
    attempt = driver.runner.store.attempt("model", f"bench-{time.monotonic_ns()}")
    return TrainTask(
        attempt=attempt, mix=Mix(driver.source("train")), dev=driver.source("dev"),
        start=setting.model.artifact, objective=CrossEntropy(), schedule=Schedule(1e-4, 1),
        train=quiet, context=driver.context, metric="f1", seed=0, arithmetic=Arithmetic(),
        batch_tokens=driver.plan.batch_tokens, world=seats, seated=seats > 1,
    )  # fmt: skip


def contenders(setting: Setting, *, freeze: bool, batch: int) -> list[Contender]:
    """One worker, and seats in one process."""
    made = partial(training, setting, freeze=freeze, batch=batch)

    def seated(seats: int) -> Callable[[], object]:
        return lambda: run_seats(made(seats), Workers(0, 1, torch.device("cpu")))

    alone = Contender("one worker", lambda: run_worker(made(1)))
    return [alone, *(Contender(f"{n} seats in one process", seated(n)) for n in SEATS)]


def main() -> None:
    """Print the comparison."""
    flags = argparse.ArgumentParser(description=title(__doc__))
    flags.add_argument("--wikiann", type=Path, required=True)
    flags.add_argument("--backbone", type=Path, required=True)
    flags.add_argument("--freeze", action="store_true", help="embeddings are not trained")
    flags.add_argument("--batch", type=int, default=32, help="rows of an optimiser step")
    flags.add_argument("--repeats", type=int, default=REPEATS)
    asked = flags.parse_args()
    torch.set_num_threads(1)
    data = Data(str(asked.wikiann), str(asked.backbone), ("de",))
    with begun(data, SIZES, lr=1e-4, epochs=0) as setting:
        ways = contenders(setting, freeze=asked.freeze, batch=asked.batch)
        before = os.getloadavg()[0]
        timings = take_turns(ways, repeats=asked.repeats, clock=time.process_time)
    print(machine())
    print(table(timings))
    print(f"\nload {before:.1f} before, {os.getloadavg()[0]:.1f} after")


def table(timings: Sequence[Timing]) -> str:
    """Processor seconds of each, and how many times those of the first they are."""
    first, lines = timings[0].median, ["| | processor seconds | times |", "|:--|--:|--:|"]
    lines += [f"| {x.name} | {x.median:.2f} | {x.median / first:.2f} |" for x in timings]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
