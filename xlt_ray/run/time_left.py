"""How long a run still takes: its plan, and what its steps have taken so far."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlt_ray.config.schema import RunConfig
    from xlt_ray.engine.resources import Plan
    from xlt_ray.store.artifacts import Store

Name = tuple[str, str]
"""Title and kind of a step."""


def planned_work(
    config: "RunConfig[Any]", store: "Store", plan: "Plan", *, reads: bool = False
) -> dict[Name, float]:
    """Rows that the encoder will pass over in each step that is not in the store, as a dry run has
    them; rows that are trained on count three times.

    A run knows its text when the first of these steps is at work.

    Args:
        config: The configuration.
        store: Its store.
        plan: What it asks the cluster for.
        reads: Whether files are read whose text is not in the store.
    """
    from xlt_ray.run.dry_run import DryRun
    from xlt_ray.run.scoring import Scorer, all_gold
    from xlt_ray.run.session import run_recipe

    dry = DryRun(store, plan, reads=reads)
    driver = dry.driver(config)
    scorer = Scorer(driver, all_gold(driver))
    outcome = run_recipe(config, driver)
    scorer.zero_shot(outcome)
    scorer.final(outcome)
    return {
        (step["title"], step["kind"]): rows
        for step in dry.steps
        if not step["cached"] and (rows := 3 * step["trained"] + step["annotated"])
    }


@dataclass
class TimeLeft:
    """Tells how long a run still takes.

    A pass over a row is taken to last as long as it did on average in the steps of this session.
    What the rounds to come will select is not known, so that early answers are rough.

    Attributes:
        plan: Gives the steps that are not in the store; each step at work asks once.
        at_a_time: Trainings that are at work at a time.
    """

    plan: Callable[[], Mapping[Name, float]]
    at_a_time: int = 1
    _work: dict[Name, Mapping[Name, float]] = field(default_factory=dict)
    _seconds: float = 0.0
    _rows: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def finished(self, name: Name, seconds: float) -> None:
        """A step of this session is done.

        Args:
            name: Title and kind.
            seconds: What it took.
        """
        with self._lock:
            if rows := self._work.pop(name, {}).get(name):
                self._seconds, self._rows = self._seconds + seconds, self._rows + rows

    def after(self, name: Name, seconds: float, left: float) -> float | None:
        """Seconds until the run is done; None where the plan is not known.

        Args:
            name: Title and kind of a step that is at work.
            seconds: How long it is at work.
            left: How long it will be, by its own measure.
        """
        if name not in self._work:
            self._work[name] = self._planned()
        with self._lock:
            work = self._work[name]
            if name not in work:
                return None
            a_row = (self._seconds + seconds + left) / (self._rows + work[name])
            return left + a_row * (sum(work.values()) - work[name]) / self.at_a_time

    def _planned(self) -> Mapping[Name, float]:
        try:
            return self.plan()
        except Exception:  # nobody depends on it: what is wrong, the run says by itself
            return {}
