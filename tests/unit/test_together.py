"""Several calls at once: order of the results, room, failures, interrupts."""

import _thread
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from xlt_ray.engine.parallel import at_once


def test_results_keep_the_order_of_the_calls() -> None:
    def call(number: int) -> int:
        time.sleep(0.01 * (3 - number))
        return number

    assert at_once([lambda n=n: call(n) for n in range(4)], most=4) == [0, 1, 2, 3]
    assert at_once([], most=4) == []


def test_one_at_a_time_runs_in_the_callers_thread() -> None:
    mine = threading.get_ident()
    assert at_once([threading.get_ident] * 3, most=1) == [mine] * 3
    assert at_once([threading.get_ident], most=8) == [mine]
    assert mine not in at_once([threading.get_ident] * 3, most=2)


def test_no_more_at_a_time_than_there_is_room_for() -> None:
    lock, at_work, highest = threading.Lock(), [0], [0]

    def call() -> None:
        with lock:
            at_work[0] += 1
            highest[0] = max(highest[0], at_work[0])
        time.sleep(0.02)
        with lock:
            at_work[0] -= 1

    at_once([call] * 6, most=2)
    assert highest == [2]


def test_after_a_failure_nothing_is_begun_and_what_runs_is_waited_for() -> None:
    done: list[str] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append("slow")

    def broken() -> None:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        at_once([slow, broken, lambda: done.append("never")], most=2)
    assert done == ["slow"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, also by a process that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_does_not_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.1, _thread.interrupt_main).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        at_once([lambda: stop.wait(30)] * 2, most=2)
    assert time.monotonic() - began < 10
    stop.set()
