"""One computation of a step in a cluster, however many drivers and trials ask for it at once.

A named actor hands out the right to compute a fingerprint. The holder renews it in the background;
a holder that died loses it after ``SECONDS``.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from xlt_ray.engine.local_ray import is_own
from xlt_ray.engine.nodes import HEAD

SECONDS = 20.0
NAME = "xlt_ray.gate"
_here: dict[str, AbstractContextManager[Any]] = {}
"""What threads of this process compute, or have computed, in a Ray of its own."""


class Rights:
    """Who computes what; state of the actor."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, float]] = {}

    def acquire(self, key: str, owner: str) -> bool:
        """Take or renew the right to compute; False while somebody else has it."""
        now = time.monotonic()
        holder, expires = self._held.get(key, (owner, 0.0))
        if holder != owner and expires > now:
            return False
        self._held[key] = (owner, now + SECONDS)
        return True

    def release(self, key: str, owner: str) -> None:
        """Give the right up."""
        if self._held.get(key, ("", 0.0))[0] == owner:
            del self._held[key]


def _actor() -> ActorHandle[Any]:
    # On the head: an actor that outlives its driver would keep any other node from being idle. And
    # not in the placement group of the trial that happens to come first, which has no room for it.
    remote: Any = ray.remote(num_cpus=0, resources={HEAD: 0.001})(Rights)
    return remote.options(
        name=NAME, namespace="xlt_ray", lifetime="detached", get_if_exists=True,
        scheduling_strategy="DEFAULT", max_restarts=-1, max_task_retries=-1,
    ).remote()  # fmt: skip


@contextmanager
def right_to(key: str, *, owner: str | None = None) -> Iterator[None]:
    """Wait until nobody else in the cluster computes ``key``, and hold it meanwhile.

    The right saves work and guards nothing. If it is lost, or its actor dies, the step goes on: the
    worst is that two compute it, and then the first commit wins. In a Ray that this process started
    for itself there are but its own threads, and no actor.

    Args:
        key: What is computed.
        owner: Who holds the right; the same owner need not wait for itself, as a run need not that
            was killed and is started again. None: nobody else.
    """
    if is_own():
        with _here.setdefault(key, threading.RLock()):
            yield
        return
    actor, owner, stop = _actor(), owner or uuid.uuid4().hex, threading.Event()
    while not ray.get(actor.acquire.remote(key, owner)):
        time.sleep(0.5)

    def renew() -> None:
        while not stop.wait(SECONDS / 4):
            with suppress(RayError):  # the actor is being restarted; it may be back in time
                if not ray.get(actor.acquire.remote(key, owner)):
                    return

    thread = threading.Thread(target=renew, name="gate", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(RayError):  # it expires by itself
            ray.get(actor.release.remote(key, owner))
