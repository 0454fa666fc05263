"""Seats: several workers of one training in a process, that take turns.

A training whose number of processes may change has a fixed number of seats. Each seat is a worker
with rows, draws and an objective's state of its own, and a process has some neighbouring ones. What
seats tell each other is joined in the order of a binary tree over all of them, so a sum has the
same bits on one process as on four.

The seats of a process are threads of which one runs at a time: each until it asks the others
something, then the next one. So they have one model and one random generator between them, whose
state is put aside with the seat.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from xlt_ray.engine.train.workers import Workers

T = TypeVar("T")
R = TypeVar("R")
Join = Callable[[T, T], T]
BUCKET = 1 << 26
"""Bytes of gradients that processes exchange at a time."""


class Node(NamedTuple, Generic[T]):
    """What neighbouring seats say, joined.

    Attributes:
        first: The first of them.
        size: How many there are.
        value: What they say.
    """

    first: int
    size: int
    value: T


def put(nodes: list[Node[T]], node: Node[T], join: Join[T]) -> None:
    """Add the node after the last, and join what are two halves of a node of the tree.

    A node of the tree has a power of two of seats, and begins at a multiple of their number.
    """
    while nodes and nodes[-1].size == node.size and nodes[-1].first % (2 * node.size) == 0:
        before = nodes.pop()
        node = Node(before.first, 2 * node.size, join(before.value, node.value))
    nodes.append(node)


def joined(nodes: Sequence[Node[T]], join: Join[T]) -> T:
    """All nodes in one: halves first, then what is left, from the last on.

    Args:
        nodes: Those of all seats, in order.
        join: Joins two neighbours.
    """
    found = list[Node[T]]()
    for node in nodes:
        put(found, node, join)
    *others, (_, _, value) = found
    for node in reversed(others):
        value = join(node.value, value)
    return value


def seats_of(process: int, processes: int, seats: int) -> range:
    """The seats of a process; the first processes have one more where they cannot have as many."""
    least, more = divmod(seats, processes)
    first = process * least + min(process, more)
    return range(first, first + least + (process < more))


def shape_of(seats: range) -> list[tuple[int, int]]:
    """First seat and size of each node that the seats of a process make by themselves."""
    nodes = list[Node[None]]()
    for seat in seats:
        put(nodes, Node(seat, 1, None), lambda *_: None)
    return [(node.first, node.size) for node in nodes]


class LeftError(RuntimeError):
    """Another seat of the process has failed."""


class Turns:
    """Who of the seats of a process runs, and what they meet to say.

    Args:
        seats: The seats.
    """

    def __init__(self, seats: range):
        self.seats = seats
        self._changed = threading.Condition()
        self._at = 0
        self._nodes = list[Node[Any]]()
        self._results: list[Any] = [None] * len(seats)
        self._failed = False

    def begin(self, seat: int) -> None:
        """Wait for the turn of a seat."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._at == seat - self.seats.start)
            if self._failed:
                raise LeftError

    def end(self, seat: int, *, failed: bool = False) -> None:
        """A seat has nothing more to do, or cannot go on."""
        with self._changed:
            self._failed = self._failed or failed
            self._at = (seat - self.seats.start + 1) % len(self.seats)
            self._changed.notify_all()

    def meet(self, seat: int, value: T, join: Join[T], finish: Callable[[list[Node[T]]], R]) -> R:
        """Say something, let the others come to the same place, and return what came out.

        Args:
            seat: Who says it.
            value: What.
            join: Joins what neighbours say.
            finish: Makes the result of the nodes of this process; the last seat calls it.
        """
        put(self._nodes, Node(seat, 1, value), join)
        at = seat - self.seats.start
        if at == len(self.seats) - 1:
            nodes, self._nodes = self._nodes, []
            self._results = [finish(nodes)] * len(self.seats)
        state = _random_state()
        self.end(seat)
        self.begin(seat)
        _set_random_state(state)
        found, self._results[at] = self._results[at], None
        return found


def take_seats(seats: range, work: Callable[[int, Turns], T]) -> T:
    """Have every seat of a process do some work, by turns; returns what the first one returns.

    The first seat runs in the calling thread.

    Args:
        seats: The seats.
        work: Is called with a seat and the turns.

    Raises:
        Exception: what a seat raised.
    """
    turns, faults = Turns(seats), list[BaseException]()
    first, *others = seats

    def sit(seat: int) -> None:
        torch.set_num_threads(threads)
        if device is not None:
            torch.cuda.set_device(device)
        with suppress(BaseException):  # the calling thread raises what is in `faults`
            _one(seat)

    def _one(seat: int) -> T:
        turns.begin(seat)
        try:
            found = work(seat, turns)
        except BaseException as error:
            if not isinstance(error, LeftError):
                faults.append(error)
            turns.end(seat, failed=True)
            raise
        turns.end(seat)
        return found

    threads = torch.get_num_threads()
    device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    beside = [threading.Thread(target=sit, args=(seat,), daemon=True) for seat in others]
    for thread in beside:
        thread.start()
    try:
        return _one(first)
    except LeftError:
        raise faults[0] from None
    finally:
        for thread in beside:
            thread.join()


def _random_state() -> tuple[Tensor, Tensor | None]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


@dataclass(frozen=True)
class Seat(Workers):
    """A seat, as it sees the others.

    Attributes:
        turns: Those of its process.
        processes: The process, among the others.
    """

    turns: Turns
    processes: Workers

    @property
    def leads(self) -> bool:
        """Whether it is the first of its process."""
        return self.rank == self.turns.seats.start

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor of the same shape on each seat."""

        def finish(nodes: list[Node[Tensor]]) -> Tensor:
            return joined(self._of_all(nodes), torch.add)

        return self.turns.meet(self.rank, tensor, torch.add, finish).clone()

    def everyone(self, tensor: Tensor) -> Tensor:
        """The rows [n, ...] of all seats, in the order of their numbers."""

        def finish(nodes: list[Node[Tensor]]) -> Tensor:
            return self.processes.everyone(torch.cat([node.value for node in nodes]))

        return self.turns.meet(self.rank, tensor, _rows, finish)

    def largest(self, value: int) -> int:
        """The largest of the seats' numbers."""

        def finish(nodes: list[Node[int]]) -> int:
            return self.processes.largest(max(node.value for node in nodes))

        return self.turns.meet(self.rank, value, max, finish)

    def wait(self) -> None:
        """Go on when all have come here."""
        self.turns.meet(self.rank, None, lambda *_: None, lambda _: self.processes.wait())

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Put the sum of the seats' gradients in place of each seat's own.

        A parameter without a gradient on any seat has none afterwards.
        """
        own = [item.grad for item in parameters]
        for item in parameters:
            item.grad = None
        found = self.turns.meet(self.rank, own, _both, self._gradients(parameters))
        if self.leads:
            for item, gradient in zip(parameters, found, strict=True):
                item.grad = gradient

    def _gradients(
        self, parameters: Sequence[torch.nn.Parameter]
    ) -> Callable[[list[Node[list[Tensor | None]]]], list[Tensor | None]]:
        def finish(nodes: list[Node[list[Tensor | None]]]) -> list[Tensor | None]:
            if self.processes.world == 1:
                return joined(nodes, _both)
            there = [
                any(node.value[i] is not None for node in nodes) for i in range(len(parameters))
            ]
            flags = torch.tensor(there, dtype=torch.int64, device=self.device)
            used = self.processes.total(flags).tolist()
            kept = [i for i, count in enumerate(used) if count]
            found: list[Tensor | None] = [None] * len(parameters)
            for part in _buckets([parameters[i] for i in kept]):
                names = [kept[i] for i in part]
                flat = [
                    Node(node.first, node.size, _flat([node.value[i] for i in names],
                                                      [parameters[i] for i in names]))
                    for node in nodes
                ]  # fmt: skip
                whole = joined(self._of_all(flat), torch.add)
                sizes = [parameters[i].numel() for i in names]
                for i, piece in zip(names, whole.split(sizes), strict=True):
                    found[i] = piece.view_as(parameters[i])
            return found

        return finish

    def _of_all(self, nodes: list[Node[Tensor]]) -> list[Node[Tensor]]:
        """The nodes of all processes, in order, given those of this one."""
        processes = self.processes
        if processes.world == 1:
            return nodes
        shapes = [
            shape_of(seats_of(number, processes.world, self.world))
            for number in range(processes.world)
        ]
        found: list[list[Node[Tensor]]] = [[] for _ in shapes]
        for at in range(max(map(len, shapes))):
            own = nodes[min(at, len(nodes) - 1)].value.contiguous()
            parts = [torch.empty_like(own) for _ in shapes]
            dist.all_gather(parts, own)
            for shape, place, part in zip(shapes, found, parts, strict=True):
                if at < len(shape):
                    place.append(Node(*shape[at], part))
        return [node for place in found for node in place]


def _rows(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other])


def _both(one: list[Tensor | None], other: list[Tensor | None]) -> list[Tensor | None]:
    """Sums of gradients; where one is missing, the other."""
    return [
        y if x is None else x if y is None else x.add_(y) for x, y in zip(one, other, strict=True)
    ]


def _flat(values: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Gradients in a row; zeros for what is missing."""
    return torch.cat([
        torch.zeros_like(x).reshape(-1) if value is None else value.reshape(-1)
        for value, x in zip(values, like, strict=True)
    ])  # fmt: skip


def _buckets(parameters: Sequence[Tensor]) -> list[list[int]]:
    """Places of neighbouring parameters of one type, of so many bytes together at most."""
    found, size, kind = list[list[int]](), 0, None
    for at, item in enumerate(parameters):
        own = item.numel() * item.element_size()
        if not found or size + own > BUCKET or item.dtype != kind:
            found.append([])
            size, kind = 0, item.dtype
        found[-1].append(at)
        size += own
    return found
