"""Replicas of a model on Ray Serve, and how they are asked.

Serve keeps so many of them up, and spreads requests over them; its HTTP proxies are not used. What
a replica that died was at is asked of another one, since labelling twice does no harm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.util import list_named_actors

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.rows import Text
from xlt_ray.data.schema import Task
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.gather import PASSES, Answer, Gatherer
from xlt_ray.engine.labeller import Labeller
from xlt_ray.engine.local_ray import is_own, needed
from xlt_ray.engine.same_code import guarded
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.store.artifacts import Artifact

_CONTROLLER = "SERVE_CONTROLLER_ACTOR"
_PAUSE = 0.2
"""Seconds before a request is asked again."""


@dataclass(frozen=True)
class Served:
    """What a replica loads and how it labels; it travels by value.

    Attributes:
        model: The model in the store.
        labels: Names of its classes.
        task: Kind of task.
        max_length: Longest input in sub-words.
        dim_reduce: Fraction of its width that the head of a text classifier projects to first.
        annotator: What is said of text.
        arithmetic: How it computes.
        batch_tokens: Token budget of a forward pass.
        compiled: Whether its encoder is compiled.
        graph: Result of an int8 step for the model, if it computes in int8.
    """

    model: Artifact
    labels: tuple[str, ...]
    task: Task
    max_length: int
    dim_reduce: int | None
    annotator: Annotator
    arithmetic: Arithmetic
    batch_tokens: int
    compiled: bool = False
    graph: Artifact | None = None

    def load(self) -> Labeller:
        """The model on the device of this process."""
        return Labeller(
            self.model.local(),
            labels=self.labels,
            task=self.task,
            max_length=self.max_length,
            dim_reduce=self.dim_reduce,
            annotator=self.annotator,
            arithmetic=self.arithmetic,
            batch_tokens=self.batch_tokens,
            compiled=self.compiled,
            graph=self.graph,
        )


class Replica:
    """One process that labels: what waits for it is labelled together."""

    def __init__(self, load: Callable[[], Labeller], budget: int):
        self._gatherer = Gatherer(load, budget=budget)

    async def __call__(self, texts: Sequence[Text]) -> Answer:
        """Label the texts of a request."""
        return await self._gatherer.answer(texts)


@dataclass(frozen=True)
class Replicas:
    """The replicas of a service that runs.

    Attributes:
        name: What Serve calls the service.
        handle: Serve's way to them.
    """

    name: str
    handle: Any

    async def ask(
        self, texts: Sequence[Text], again: Callable[[], object], failed: type[Exception]
    ) -> Answer:
        """Label some texts; whoever asks says until when.

        Args:
            texts: The texts.
            again: Is called when a replica died, and another one is asked.
            failed: What is raised where the model fails.
        """
        from ray.serve.exceptions import RayServeException

        while True:
            asked = self.handle.remote(texts)
            try:
                return await asked
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # whoever asks has given up
                    asked.cancel()
                    raise
                again()  # Serve has given up by itself
            except RayTaskError as error:
                cause = error.cause if isinstance(error.cause, Exception) else error
                raise failed(f"{type(cause).__name__}: {_last_line(cause)}") from None
            except (RayError, RayServeException):  # a replica or its node died
                again()
            await asyncio.sleep(_PAUSE)

    async def up(self) -> int:
        """How many replicas are up."""
        return await asyncio.to_thread(self._up)

    def _up(self) -> int:
        from ray import serve

        try:
            found = serve.status().applications.get(self.name)
        except RayError:  # the controller is being started anew
            return 0
        parts = found.deployments.values() if found else ()
        return sum(part.replica_states.get("RUNNING", 0) for part in parts)  # pyrefly: ignore [no-matching-overload]


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


@contextmanager
def replicas_of(
    served: Served, *, name: str, count: int, cpus: int, gpus: float, at_once: int
) -> Iterator[Replicas]:
    """Replicas of a model, on the cluster at hand or a Ray that is started, until the block ends.

    Args:
        served: The model.
        name: What Serve calls the service; one of the same name is taken over.
        count: How many replicas.
        cpus: CPUs (threads) of one.
        gpus: GPUs of one.
        at_once: Requests at a time at most.

    Raises:
        ConfigError: a replica cannot load the model.
    """
    from ray import serve
    from ray.serve.schema import LoggingConfig

    needed()
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    told = LoggingConfig(log_level="ERROR", enable_access_log=False)
    is_new = not _is_running()
    serve.start(proxy_location="Disabled", logging_config=told)
    deployment = serve.deployment(
        Replica,
        name="model",
        num_replicas=count,
        ray_actor_options={"num_cpus": 0 if gpus else cpus, "num_gpus": gpus},
        max_ongoing_requests=at_once,
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=5.0,
        graceful_shutdown_wait_loop_s=0.1,
        logging_config=told,
    )
    load: Any = guarded(served.load)
    bound = deployment.bind(load, PASSES * served.batch_tokens)  # pyrefly: ignore [missing-attribute]
    try:
        try:
            handle = serve.run(bound, name=name, route_prefix=None, logging_config=told)
        except RuntimeError as error:
            raise ConfigError(f"serve.model: no replica could start: {_last_line(error)}") from None
        yield Replicas(name, handle)
    finally:
        if not is_own():  # a Ray of one's own ends with all that is in it
            serve.delete(name)
            if is_new and not serve.status().applications:
                with redirect_stdout(StringIO()):  # Ray prints that the controller was killed
                    serve.shutdown()


def _is_running() -> bool:
    """Whether somebody runs Serve on the cluster."""
    named: list[Any] = list_named_actors(all_namespaces=True)  # dicts, whatever its type says
    return any(actor["name"] == _CONTROLLER for actor in named)
