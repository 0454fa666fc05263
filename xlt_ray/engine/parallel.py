"""Several steps at once, from threads of the driver that wait for the cluster."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

R = TypeVar("R")

_PAUSE = 0.2


def at_once(calls: Sequence[Callable[[], R]], *, most: int) -> list[R]:
    """Results of some calls, in their order.

    After a call has failed no other is begun; those at work are waited for, since what they compute
    is kept, and then the failure of the earliest call is raised. An interrupt waits for nothing:
    the threads end with the process.

    Args:
        calls: What is called.
        most: Calls at a time; with 1 they are made one after the other in this thread.
    """
    if most < 2 or len(calls) < 2:
        return [call() for call in calls]
    results: dict[int, R] = {}
    faults: dict[int, BaseException] = {}
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(calls)):
        waiting.put(number)

    def work() -> None:
        while not faults:
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            try:
                results[number] = calls[number]()
            except BaseException as error:  # raised again below, in the thread of the caller
                faults[number] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(calls)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_PAUSE)  # a join without end would keep Ctrl-C out
    if faults:
        raise faults[min(faults)]
    return [results[number] for number in range(len(calls))]
