"""The corpora, the model and the cluster that benchmarks of the engine share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.engine.environment import prepare
from xlt_ray.methods.shared.evidential import EvidentialLoss
from xlt_ray.models.pretrain import PretrainSettings, pretrain
from xlt_ray.recipe.corpus import Mix, Model
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.session import connected, open_run


@dataclass(frozen=True)
class Data:
    """What is read: WikiANN and an encoder of the user's, or what is embedded.

    Attributes:
        root: WikiANN, a folder per language; None: the embedded benchmark.
        backbone: The encoder: a folder, or "toy".
        targets: Languages of the unlabelled text.
    """

    root: str | None
    backbone: str
    targets: tuple[str, ...]

    def values(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Configuration of a run over so many rows of each split and language at most."""
        benchmark: dict[str, Any] = {"targets": list(self.targets), "unlabelled_split": "train"}
        if self.root is None:
            benchmark |= {"name": "toy", "toy": dict(sizes)}
        else:
            benchmark |= {"name": "wikiann", "root": self.root, "source": ["en"]}
            benchmark |= {"max_rows": dict(sizes)}
        return {"benchmark": benchmark, "backbone": self.backbone, "run": {"name": "bench"}}


def small_backbone(folder: Path) -> str:
    """Write an encoder of the embedded benchmark's shape, hardly pre-trained; gives the folder."""
    text = [words for name in LANGUAGES for words in unlabelled_text(name, size=4000)]
    settings = PretrainSettings(steps=20)
    pretrain(text, folder, settings=settings, seed=0, threads=1)
    return str(folder)


EMBEDDED = Data(None, "toy", ("nolu", "teska", "pavri"))


@dataclass(frozen=True)
class Setting:
    """A run that was begun.

    Attributes:
        driver: Its driver.
        model: A classifier of words.
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
    data: Data,
    sizes: Mapping[str, int],
    resources: Mapping[str, Any] | None = None,
    *,
    lr: float = 1e-4,
    epochs: int = 0,
) -> Iterator[Setting]:
    """A run in a store that goes when the block ends.

    Args:
        data: What is read.
        sizes: Rows of each split of each language at most.
        resources: What it asks for; default: everything in this process, one thread each.
        lr: Peak learning rate of the classifier.
        epochs: Its epochs on the source; 0: its head stays as it was drawn.
    """
    asked = {"annotators": 0, "train_workers": 0, "train_cpus": 1, **(resources or {})}
    values = {**data.values(sizes), "method": {"name": "bl_direct"}, "resources": asked}
    with TemporaryDirectory(prefix="xlt-bench-") as root:
        config = configure_run({**values, "store": {"root": root}})
        prepare(local=True)
        with connected(config), open_run(config) as begun:
            driver = RayDriver(config, begun.runner, begun.plan)
            schedule, mix = Schedule(lr, epochs), Mix(driver.source("train"))
            start, objective = driver.backbone, EvidentialLoss()
            model = driver.train("source", mix, objective, start=start, schedule=schedule)
            yield Setting(driver, model, Path(root))
