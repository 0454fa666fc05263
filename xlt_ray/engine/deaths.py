"""What is known of the processes that died at a step's shards, in the store's work folder.

``<store>/work/<fingerprint>/`` of an annotate or translate step holds

``at/<shard>~<how>~<process>``    a process is at a shard, or was when it died: ``group`` with
                                  others, or ``single``
``parts/<shard>/<from>-<to>.parquet``   what is said of some rows of a shard that killed
``parts/<shard>/<from>-<to>.dead-<n>``  these rows killed a process, alone, for the nth time
``lost/<shard>.json``             the rows of a shard that are lost
``lived``                         a process has written shards and lived

A process leaves its mark before it begins, and takes it away when it has written or failed; one
that is killed cannot. So nobody has to be asked why a process is gone: not Ray, whose actors come
back without a word, and not the driver, who may be the one that died.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import ray

from xlt_ray.data.quarantine import LostRow, in_order
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.files import is_parquet, listed, open_root, read_bytes, write_bytes

AT_ONCE = 8
"""Most shards that a mark of a group is left for."""
STARTS = 3
"""How often an actor may die before it is ready, one time after another."""
FEW = 8
"""Shards that are given up, before any is written, until no other one is tried."""
_PROCESS = uuid.uuid4().hex
"""This process among those that leave marks."""


class Deaths:
    """Notes on one step; they go once the step is committed."""

    def __init__(self, root: str, fingerprint: str):
        self.fs, base = open_root(root)
        self.folder = f"{base}/work/{fingerprint}"

    @classmethod
    def of(cls, out: Attempt) -> "Deaths":
        """Those of the step that an attempt is at."""
        return cls(out.root, out.fingerprint)

    @contextmanager
    def at(self, names: Sequence[str], how: str) -> Iterator[None]:
        """Around work at shards: they stay marked if the process dies of it."""
        marks = [f"{self.folder}/at/{name}~{how}~{_PROCESS}" for name in names]
        self.fs.create_dir(f"{self.folder}/at", recursive=True)
        for mark in marks:
            with self.fs.open_output_stream(mark):
                pass
        try:
            yield
        finally:  # whoever comes here has not died
            for mark in marks:
                with suppress(FileNotFoundError):  # the step was finished by somebody else
                    self.fs.delete_file(mark)

    def any_marks(self) -> bool:
        """Whether any process died at a shard."""
        return bool(self.marked("group") or self.marked("single"))

    def marked(self, how: str) -> set[str]:
        """Names that processes were at when they died."""
        found = (item.rsplit("~", 2) for item in self._names("at"))
        return {name for name, kind, process in found if kind == how and process != _PROCESS}

    def num_marks(self, name: str) -> int:
        """How many processes died at a name."""
        return sum(item.startswith(f"{name}~") for item in self._names("at"))

    def live(self) -> None:
        """Note that a process has written shards and lived."""
        write_bytes(self.fs, f"{self.folder}/lived", b"")

    def any_lived(self) -> bool:
        """Whether any process has."""
        return self.fs.get_file_info(f"{self.folder}/lived").type == pafs.FileType.File

    def part(self, name: str, start: int, stop: int) -> pa.Table | None:
        """What is said of the rows ``start`` to ``stop`` of a shard, if that is known."""
        data = read_bytes(self.fs, self._part(name, start, stop)) or b""
        return pq.read_table(pa.BufferReader(data)) if is_parquet(data) else None

    def keep_part(self, name: str, start: int, stop: int, table: pa.Table) -> None:
        """Note what is said of some rows of a shard."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
        write_bytes(self.fs, self._part(name, start, stop), data)

    def killed(self, name: str, start: int, stop: int, times: int) -> None:
        """Note that some rows of a shard killed a process, now so many times."""
        path = self._part(name, start, stop).removesuffix("parquet")
        write_bytes(self.fs, f"{path}dead-{times}", b"")

    def kills(self, name: str, start: int, stop: int) -> int:
        """How many times some rows of a shard killed a process."""
        found = self._names(f"parts/{name}")
        return sum(item.startswith(f"{start}-{stop}.dead-") for item in found)

    def lose(self, name: str, rows: Sequence[LostRow]) -> None:
        """Note which rows of a shard are lost, before the shard is written without them."""
        data = json.dumps([asdict(row) for row in rows], ensure_ascii=False).encode()
        write_bytes(self.fs, f"{self.folder}/lost/{name}.json", data)

    def lost(self) -> list[LostRow]:
        """All rows that are lost."""
        files = [read_bytes(self.fs, f"{self.folder}/lost/{x}") for x in self._names("lost")]
        return in_order(LostRow(**row) for file in files for row in json.loads(file or b"[]"))

    def forgive(self, has: Callable[[str], bool]) -> None:
        """Forget who died at which rows: it was not the rows. Rows that written shards are without
        stay lost.

        Args:
            has: Whether a shard is written.
        """
        known = self._names("lost")
        kept = [name for name in known if has(name.removesuffix(".json"))]
        for folder in ("at", "parts") if kept else ("",):
            with suppress(FileNotFoundError):
                self.fs.delete_dir(f"{self.folder}/{folder}".rstrip("/"))
        for path in ("lived", *(f"lost/{name}" for name in known if name not in kept)):
            with suppress(FileNotFoundError):
                self.fs.delete_file(f"{self.folder}/{path}")

    def _names(self, folder: str) -> list[str]:
        found = listed(self.fs, f"{self.folder}/{folder}")
        return sorted(item.base_name for item in found if ".tmp-" not in item.base_name)

    def _part(self, name: str, start: int, stop: int) -> str:
        return f"{self.folder}/parts/{name}/{start}-{stop}.parquet"


class Watched:
    """Has shards written and leaves marks, so that one that kills is known afterwards.

    Shards that a process died at with others are taken singly; one that it died at singly is left
    alone, and has no file when all others have one.
    """

    def __init__(self, make: Callable[[Any], Any], here: bool, task: Any):
        """Make whoever writes shards.

        Args:
            make: Makes it of the task.
            here: Whether this is the driver's process.
            task: The step.

        Raises:
            RuntimeError: processes die before they are ready.
        """
        self._out = task.out
        self._deaths, self._lived = Deaths.of(task.out), False
        with starting(self._deaths, here=here):
            self._work = make(task)

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Have those shards written that do not kill."""
        missing = [name for name in map(str, shards["shard"]) if not self._out.has(name)]
        single, group = self._deaths.marked("single"), self._deaths.marked("group")
        if len(single) >= FEW and not self._deaths.any_lived():
            return shards
        fresh = [name for name in missing if name not in single | group]
        for at in range(0, len(fresh), AT_ONCE):
            self._write(fresh[at : at + AT_ONCE], "group")
        for name in missing:
            if name in group - single:
                self._write([name], "single")
        return shards

    def _write(self, names: Sequence[str], how: str) -> None:
        with self._deaths.at(names, how):
            self._work({"shard": np.array(names)})
        if not self._lived:
            self._lived = True
            self._deaths.live()


@contextmanager
def starting(deaths: Deaths, *, here: bool) -> Iterator[None]:
    """Around the start of an actor, which is not tried for ever.

    Raises:
        RuntimeError: it has died as often as it may, one time after another.
    """
    if here:
        yield
        return
    name = f"start-{ray.get_runtime_context().get_actor_id()}"  # the same when it comes back
    if (died := deaths.num_marks(name)) >= STARTS:
        raise RuntimeError(
            f"the process that should label text died {died} times while it loaded its model: its "
            "machine has too little memory, or its libraries do not work there; see docs/recover.md"
        )
    with deaths.at([name], "start"):
        yield
