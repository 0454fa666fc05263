"""The timeline of a cluster's nodes."""

from xlt_ray.engine.nodes import Change, Nodes, Timeline, without_repeats


def test_a_change_reads_well() -> None:
    change = Change(12.34, Nodes(workers=2, busy=1, gpus=2.0, gpus_used=0.5))
    assert str(change) == "    12.3 s  head + 2 workers, 1 busy  0.5 of 2 GPUs in use"


def test_numbers_of_workers_are_told_once_each() -> None:
    timeline = Timeline("127.0.0.1:1")
    none, one = Nodes(0, 0, 0.0, 0.0), Nodes(1, 0, 1.0, 0.0)
    busy = Nodes(1, 1, 1.0, 1.0)
    timeline.changes = [Change(float(i), x) for i, x in enumerate([none, one, busy, one, none])]
    assert timeline.workers == [0, 1, 0]
    assert list(without_repeats([])) == []
    assert list(without_repeats([0, 0, 2, 2, 0])) == [0, 2, 0]
