"""What a benchmark is: its task, its labels, and where its data can come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xlt_ray.config.schema import FilesConfig, FileSplit
from xlt_ray.data.readers import user_files
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet, Scheme

_SPLIT_NAMES = {"train": ("train",), "dev": ("validation", "dev"), "test": ("test",)}


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its task, its labels, and where its data can come from.

    Attributes:
        name: What ``benchmark.name`` says.
        task: Kind of task.
        metric: A name of `xlt_ray.metrics.METRICS`.
        labels: Class names; the position of a name is its class id.
        languages: Language codes, where the data comes from the hub or is generated.
        source: The source language unless the configuration names others.
        licence: Licence of the data.
        citation: What to cite.
        hub_id: Owner and name of the hub dataset; None if there is none.
        revision: Commit, branch or tag of it; None is the commit of ``main`` at the time.
        configs: Configuration of the hub dataset for each language whose code is not its name.
        columns: Dataset column of each field that has another name, see `HubSource`.
        split_names: Names that the hub dataset may use for each split, in order of preference.
        scheme: How the tags are written.
        strip_prefix: Whether the tokens of files are written as ``language:token``.
        types: Name among the labels of each entity type that the tags call otherwise, such as
            ``{"POS": "ASP"}`` to read ``B-POS`` as ``B-ASP``.
        is_sorted: Whether its files are sorted by class, so that a limit takes rows at random.
        toy: Task of the embedded benchmark that generates the data; None for real data.
        files: Files of the user's own that are the data, with their task, labels and scheme.
    """

    name: str
    task: Task
    metric: str
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    source: str
    licence: str
    citation: str
    hub_id: str | None = None
    revision: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    split_names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(_SPLIT_NAMES))
    scheme: Scheme = "bio"
    strip_prefix: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    is_sorted: bool = False
    toy: str | None = None
    files: FilesConfig | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The source languages unless the configuration names others."""
        return (self.source,) if self.files is None else user_files.labelled_in(self.files)

    def has(self, language: str, split: FileSplit) -> bool:
        """Whether a language may have a split; only of the user's own files is that known."""
        return self.files is None or split in self.files.paths.get(language, {})

    @property
    def label_set(self) -> LabelSet:
        """The labels as a `LabelSet`."""
        return LabelSet(self.labels)
