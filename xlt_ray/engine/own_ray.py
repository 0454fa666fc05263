"""A local Ray that this process started for itself: nobody else uses it, so it can be kept quiet.

Ray Data leaves two actors behind once it has run anything. An idle one wakes up a hundred times a
second, and threads that train in step with each other wait for every one of these moments. Both
come back by themselves when there is something to run, which takes seconds of a core.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.util import list_named_actors

HELPERS = ("AutoscalingCoordinator", "datasets_stats_actor")
"""What Ray Data calls them."""
PATIENCE = 60.0
"""Seconds of training that helpers are let be."""


class _Here:
    """What is known of this process: the node that it started, the data sets that it runs."""

    def __init__(self) -> None:
        self.node, self.running, self.lock = "", 0, threading.Lock()


_here = _Here()


def claim() -> None:
    """Note that this process has just started the Ray that it is connected to."""
    _here.node = ray.get_runtime_context().get_node_id()


def is_own() -> bool:
    """Whether this process is connected to a Ray that it started."""
    return ray.is_initialized() and ray.get_runtime_context().get_node_id() == _here.node


@contextmanager
def data_runs() -> Iterator[None]:
    """Around whatever runs a data set."""
    with _here.lock:
        _here.running += 1
    try:
        yield
    finally:
        with _here.lock:
            _here.running -= 1


@contextmanager
def quiet() -> Iterator[None]:
    """Around training in this process: when it has gone on for a while, helpers are dismissed."""
    timer = threading.Timer(PATIENCE, dismiss_helpers)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def dismiss_helpers() -> None:
    """End what Ray Data has left behind, in a Ray of this process's own and while none runs."""
    if not is_own():
        return
    with _here.lock:
        if _here.running:
            return
        named: list[Any] = list_named_actors(all_namespaces=True)  # dicts, whatever its type says
        for actor in named:
            if actor["name"] in HELPERS:
                with suppress(ValueError):  # it has ended by itself
                    ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))
