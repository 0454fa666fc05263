"""The corpora, the model and the cluster that benchmarks of the engine share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt_ray import cli
from xlt_ray.config import RunConfig
from xlt_ray.data.corpus import Mix, Model
from xlt_ray.driver import RayDriver
from xlt_ray.methods.facts import Schedule
from xlt_ray.methods.softmax import CrossEntropy


@dataclass(frozen=True)
class Setting:
    """A run that was begun.

    Attributes:
        driver: Its driver.
        model: A classifier of words whose head is not trained.
        root: Folder of its store.
    """

    driver: RayDriver
    model: Model
    root: Path

    @property
    def config(self) -> RunConfig[Any]:
        """Its configuration."""
        return self.driver.config


@contextmanager
def begun(
    folder: str, backbone: str, *, targets: str, rows: int, flags: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """A run on WikiANN in a store that goes when the block ends.

    Args:
        folder: WikiANN, a folder per language.
        backbone: The encoder.
        targets: Languages of the unlabelled text, comma separated.
        rows: Sentences of each at most.
        flags: More ``key=value`` settings.
    """
    values = {
        "benchmark": {
            "name": "wikiann", "root": folder, "source": ["en"], "targets": targets.split(","),
            "unlabelled_split": "train", "limit": {"train": rows, "dev": 500, "test": 500},
        },
        "backbone": backbone,
        "method": {"name": "bl_direct"},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1},
        "run": {"name": "bench"},
    }  # fmt: skip
    with TemporaryDirectory(prefix="xlt-bench-") as root:
        config = cli.configure({**values, "store": {"root": root}}, flags=flags)
        with cli.cluster(config), cli.session(config) as session:
            driver = RayDriver(config, session.runner, session.plan)
            schedule = Schedule(1e-4, epochs=0)
            mix = Mix(driver.source("train"))
            model = driver.train(
                "head", mix, CrossEntropy(), start=driver.backbone, schedule=schedule
            )
            yield Setting(driver, model, Path(root))
