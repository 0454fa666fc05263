"""A local Ray of this process's own: it starts when something needs it, and is kept quiet.

What is little is read, tokenised, annotated and derived by the process itself, sooner than Ray and
its workers would have started; training in the process needs none either, nor does pre-training the
encoder of the embedded benchmark. And a Ray that idles is not for nothing: its processes wake up
hundreds of times a second, and threads that train in step with each other wait for every one of
these moments.

Ray Data leaves two actors behind once it has run anything, each of which wakes up a hundred times a
second. Both come back by themselves when there is something to run, which takes seconds of a core.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.util import list_named_actors

HELPERS = ("AutoscalingCoordinator", "datasets_stats_actor")
"""What Ray Data calls them."""
PATIENCE = 60.0
"""Seconds of training that helpers are let be."""


class _Here:
    """What is known of this process: how its Ray starts, the node that it started, the data sets
    that it runs."""

    def __init__(self) -> None:
        self.start: Callable[[], object] | None = None
        self.starting = threading.Lock()
        self.node, self.running, self.lock = "", 0, threading.Lock()


_here = _Here()


def expect(start: Callable[[], object]) -> None:
    """Have a Ray of this process's own started as soon as something needs it.

    Args:
        start: Starts it, and connects this process.
    """
    _here.start = start


def needed() -> None:
    """Before anything is asked of Ray: start the one that is expected, if it does not run yet."""
    with _here.starting:
        if _here.start is not None and not ray.is_initialized():
            _here.start()
            _here.node = ray.get_runtime_context().get_node_id()


def leave() -> None:
    """Stop the Ray of this process's own if it was started, and expect none any more."""
    _here.start = None
    ray.shutdown()


def is_own() -> bool:
    """Whether this process is connected to a Ray that it started, or will start its own."""
    if not ray.is_initialized():
        return _here.start is not None
    return ray.get_runtime_context().get_node_id() == _here.node


@contextmanager
def data_runs() -> Iterator[Any]:
    """Around whatever runs a data set; gives Ray Data, which takes a second to import."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = 0  # a block that fails may not be left out in silence
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with _here.lock:
        _here.running += 1
    try:
        yield ray.data
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
    if not (ray.is_initialized() and is_own()):
        return
    with _here.lock:
        if _here.running:
            return
        named: list[Any] = list_named_actors(all_namespaces=True)  # dicts, whatever its type says
        for actor in named:
            if actor["name"] in HELPERS:
                with suppress(ValueError):  # it has ended by itself
                    ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))
