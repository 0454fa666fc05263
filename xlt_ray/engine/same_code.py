"""The check that every process of a run sees the same store, and has the same code and libraries.

A node that writes to a disk of its own would have its rows missing from a result. A worker with
other code or libraries would commit what they compute under the names of the driver's. So the
driver leaves a random word in the run's folder. Every process that works for it must find the word
there, and must have the same versions. All nodes are asked before a run begins; nodes that join
later are asked with their first task.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import pyarrow.fs as pafs
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.local_ray import is_own
from xlt_ray.store.artifacts import Store
from xlt_ray.store.fingerprint import package_digest
from xlt_ray.store.libraries import versions

P = ParamSpec("P")
R = TypeVar("R")

ANSWER = 300.0
"""Seconds that a node has to start a process and answer."""
_WORD = "word-"


class OtherCodeError(RuntimeError):
    """This process sees another store than the driver, or is of another make."""


@dataclass(frozen=True)
class CodeCheck:
    """What a process must find to work for a driver.

    Attributes:
        root: Root of the store.
        place: A file of the store, below the root.
        word: What is in it.
        code: Digest of the driver's code.
        versions: Versions of the driver's libraries.
        patience: Seconds until all that share a file system see a new file.
    """

    root: str
    place: str
    word: str
    code: str
    versions: Mapping[str, str]
    patience: float = 5.0

    def check(self) -> None:
        """Raise `OtherCodeError` if this process may not work for the driver; asked once."""
        if self.word in _passed:
            return
        if fault := self._other_store() or self._other_make():
            raise OtherCodeError(f"node {_node()} {fault}")
        _passed.add(self.word)

    def _other_store(self) -> str | None:
        shown, until = redacted(self.root), time.monotonic() + self.patience
        while True:
            try:
                store = Store(self.root)
                found = store.read(f"{store.base}/{self.place}")
            except (OSError, ValueError) as error:
                return f"cannot read the store {shown}: {redacted(str(error))}"
            if found == self.word.encode():
                return None
            if time.monotonic() > until:
                return (
                    f"does not see the driver's store: {shown} is another folder there. store.root "
                    "has to be in a bucket, or on a file system that all nodes share; see "
                    "docs/cluster.md"
                )
            time.sleep(self.patience / 20)

    def _other_make(self) -> str | None:
        own = versions()
        for name in sorted(self.versions.keys() & own.keys()):
            here, there = _public(name, own[name]), _public(name, self.versions[name])
            if here != there:
                advice = "install the same on all nodes, see docs/cluster.md"
                return f"has {name} {here}, and the driver {there}: {advice}"
        if package_digest() != self.code:
            return "has other code of xlt_ray than the driver had when it began; start it again"
        return None


_passed: set[str] = set()
"""Words of the drivers that this process may work for."""


def _public(name: str, version: str) -> str:
    """A version without the build: PyTorch for CPUs and for GPUs are of one version. Of Python
    patches are left out: bytes do not depend on them."""
    if name == "python":
        return ".".join(version.split(".")[:2])
    return version.partition("+")[0]


def _node() -> str:
    return ray.util.get_node_ip_address() if ray.is_initialized() else "of the driver"


class _Here:
    """The check of the run that this process drives, if it drives one."""

    code_check: CodeCheck | None = None

    def __init__(self) -> None:
        self.asked: set[tuple[str, str, str]] = set()
        """Nodes that came in, with the store and the code."""


_here = _Here()


@contextmanager
def checking(store: Store, folder: str) -> Iterator[CodeCheck]:
    """Check every process that is begun within the block.

    Args:
        store: The store.
        folder: Folder of the run, which is this driver's own.
    """
    for left in store.fs.get_file_info(pafs.FileSelector(folder)):
        if left.base_name.startswith(_WORD):  # by a driver that was killed
            with suppress(FileNotFoundError):
                store.fs.delete_file(left.path)
    word = uuid.uuid4().hex
    path = f"{folder}/{_WORD}{word}"
    store.write(path, word.encode())
    place = path[len(store.base) + 1 :]
    before, _here.code_check = (
        _here.code_check,
        CodeCheck(store.root, place, word, package_digest(), versions()),
    )
    try:
        yield _here.code_check
    finally:
        _here.code_check = before
        with suppress(OSError):
            store.fs.delete_file(path)


@dataclass(frozen=True)
class Guarded(Generic[P, R]):
    """A function that processes of the cluster call once they have passed the check."""

    code_check: CodeCheck | None
    function: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function.

        Raises:
            OtherCodeError: this process may not work for the driver.
        """
        if self.code_check is not None:
            self.code_check.check()
            _here.code_check = (
                _here.code_check or self.code_check
            )  # whoever passed has others pass the same check
        return self.function(*args, **kwargs)


def guarded(function: Callable[P, R]) -> Guarded[P, R]:
    """The function, or class of actors, for the run that this process drives."""
    return Guarded(_here.code_check, function)


def check_nodes() -> None:
    """Check every node of a cluster before anything else is done.

    Nodes that passed before, with the same store and code, are not asked again.

    Raises:
        ConfigError: the nodes that may not work for this driver, a line each.
        RuntimeError: a node that is up does not answer.
    """
    code_check = _here.code_check
    if code_check is None or is_own():
        return
    asked = dict[Any, tuple[str, str]]()
    for node in ray.nodes():
        if node["Alive"] and (node["NodeID"], code_check.root, code_check.code) not in _here.asked:
            there: Any = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote: Any = ray.remote(num_cpus=0, scheduling_strategy=there)(_answer)
            asked[remote.remote(code_check)] = node["NodeID"], node["NodeManagerAddress"]
    if not asked:
        return
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER)
    broken = {asked[item]: f"no answer in {ANSWER:.0f} s" for item in silent}
    faults = list[str]()
    for item in done:
        try:
            fault = ray.get(item)
        except RayError as error:
            broken[asked[item]] = str(error).strip().splitlines()[-1]
            continue
        if fault:
            faults.append(fault)
        else:
            _here.asked.add((asked[item][0], code_check.root, code_check.code))
    if faults:
        raise ConfigError("\n".join(sorted(faults)))
    up = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    if left := [f"node {place}: {why}" for (name, place), why in broken.items() if name in up]:
        raise RuntimeError("; ".join(sorted(left)))


def _answer(code_check: CodeCheck) -> str | None:
    try:
        code_check.check()
    except OtherCodeError as error:
        return str(error)
    return None
