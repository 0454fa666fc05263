"""What chaos tests share: a run that nobody disturbs, and the table at the end."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import ENTRIES, page, table
from tests.chaos.drivers import Reference
from tests.nodes import Cluster
from tests.world import SOURCE, World

LONG = os.environ.get("XLT_LONG") == "1"
TABLE = "XLT_CHAOS_TABLE"
"""Names a file that the table is written to."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it where it is asked for."""
    if not ENTRIES:
        return
    terminalreporter.section("faults injected")
    terminalreporter.write(table())
    if path := os.environ.get(TABLE):
        Path(path).write_text(page())


@pytest.fixture(scope="session")
def corpus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's files, with one bad row."""
    root = tmp_path_factory.mktemp("chaos") / "corpus"
    for path in world.corpus.rglob("*.txt"):
        copy = root / path.relative_to(world.corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        if path.parts[-2:] == (SOURCE, "train.txt"):
            text = text.replace("\tO\n", "\tOUT\n", 1)
        copy.write_text(text)
    return root


Values = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def values(world: World, corpus: Path) -> Values:
    """Makes the configuration of a small run, by the root of its store and a Ray's address."""

    def make(root: object, address: str | None, **resources: Any) -> dict[str, Any]:
        made = world.values(Path("unused"))
        made["benchmark"]["root"] = str(corpus)
        made["method"] |= {"rounds": 1, "one_hot_rounds": 0}
        if not LONG:  # some tests wait for a moment within the training
            made["method"] |= {"source_epochs": 2}
        made["train"]["checkpoint_seconds"] = 0.02
        made["resources"] = {"address": address, "annotators": 0, "train_workers": 0}
        made["resources"] |= {"train_cpus": 1, **resources}
        made["store"] = {"root": str(root)}
        return made

    return make


@pytest.fixture(scope="session")
def address() -> Iterator[str | None]:
    """Where a Ray listens that no test disturbs; few CPUs, since each new worker imports all.

    There is none for the tests that take seconds: a run that works in the driver's process starts
    none, and what disturbs it is done to that process and to its files.
    """
    if not LONG:
        yield None
        return
    cluster = Cluster(cpus=2)
    yield cluster.address
    cluster.stop()


@pytest.fixture(scope="session")
def undisturbed(
    address: str | None, values: Values, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    """A run that trains and annotates in the driver's process, and that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return Reference.of(values(folder / "store", address), folder)


@dataclass(frozen=True)
class Scene:
    """Where a run is disturbed.

    Attributes:
        folder: An empty folder.
        store: A store's folder in it.
        reference: The run as it is when nobody disturbs it.
        values: Makes its configuration, by the root of the store.
    """

    folder: Path
    store: Path
    reference: Reference
    values: Callable[[object], dict[str, Any]]


@pytest.fixture
def scene(address: str | None, values: Values, undisturbed: Reference, tmp_path: Path) -> Scene:
    """A run that works in the driver's process."""
    make = partial(values, address=address)
    return Scene(tmp_path, tmp_path / "store", undisturbed, make)
