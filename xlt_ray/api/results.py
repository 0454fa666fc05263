"""What runs, comparisons and sweeps leave in a store, as Python objects."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from xlt_ray.config.errors import ConfigError
from xlt_ray.report.record import Report
from xlt_ray.run.saved_models import run_named
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

if TYPE_CHECKING:
    from xlt_ray.api.model import Model


class _Finished:
    """A folder of results, which shows its page in a notebook."""

    page: str

    def __init__(self, name: str, store: str):
        self.name, self.store = name, Store(store).root
        self._folder = RunFolder(Store(store), name, create=False)
        self.folder = self._folder.path
        """Path of the folder, below the root of the store."""

    @property
    def report(self) -> str:
        """Path of the page, for a browser."""
        return f"{self.folder}/{self.page}"

    def _json(self, name: str) -> dict[str, Any]:
        found = self._folder.read_json(name)
        if found is None:
            raise ConfigError(f"{self.folder} has no {name}: there is no such result, or not yet")
        return found

    def _repr_html_(self) -> str:
        page = self._folder.store.read(self.report)
        if page is None:
            return f"<code>{self!r}</code>"
        text = page.decode().replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{text}" width="100%" height="600" style="border:0"></iframe>'

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, store={self.store!r})"


class Run(_Finished):
    """A finished run."""

    page = "report.html"

    @cached_property
    def _report(self) -> Report:
        return Report.from_json(self._json("report.json"))

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by language, in [0, 1]: those of the method by metric, and that of the zero-shot
        model as ``zero_shot``."""
        report = self._report
        found: dict[str, dict[str, float]] = {}
        for language in report.languages:
            scores = dict(report.final.get(language, {}))
            before = report.zero_shot.get(language)
            if before is not None:
                scores["zero_shot"] = before[report.metric]
            found[language] = scores
        return found

    @property
    def average(self) -> float | None:
        """Mean score of the target languages; None where none was scored."""
        return self._report.average

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole configuration, as plain values."""
        return self._report.config

    @property
    def notes(self) -> list[str]:
        """What the reader of the scores has to know."""
        return list(self._report.notes)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Targets that have a model of their own; empty where one model is for all."""
        start = run_named(Store(self.store), self.name, "run")
        return tuple(start.by_language) if start else ()

    @property
    def model(self) -> "Model":
        """The run's model, where one is for all languages; see `model_of`."""
        return self.model_of(None)

    def model_of(self, language: str | None) -> "Model":
        """The model of a target, in runs that have one for each."""
        from xlt_ray.api.calls import load

        return load(self.name, language=language, store=self.store)


class ComparisonResult(_Finished):
    """A finished comparison."""

    page = "compare.html"

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row per title: ``title``, and per language and for ``average`` the mean over seeds."""
        from xlt_ray.report.comparison import Comparison

        made = Comparison.from_json(self._json("compare.json"))
        return [
            {
                "title": row.title,
                "seeds": len(row.trials),
                **{language: row.score(language) for language in made.first.counted},
                "average": row.average,
            }
            for row in made.rows
        ]


class SweepResult(_Finished):
    """A finished sweep."""

    page = "sweep.md"

    @property
    def best(self) -> dict[str, dict[str, Any]]:
        """By scope, the parameters with the best source-dev score: ``all``, unless the sweep
        searched for each language or group."""
        found: dict[str, dict[str, Any]] = {}
        for scope in self._json("sweep.json")["scopes"]:
            done = [trial for trial in scope["trials"] if trial["source_dev"] is not None]
            if done:  # the earliest of equals
                best = max(done, key=lambda trial: trial["source_dev"])
                found[scope["name"]] = best["parameters"]
        return found

    @property
    def configs(self) -> list[str]:
        """Paths of the YAML files with the best configurations, for ``--config``."""
        store = Store(self.store)
        infos = store.fs.get_file_info(pafs.FileSelector(self.folder))
        return sorted(
            info.path
            for info in infos
            if info.base_name.startswith("best") and info.extension == "yaml"
        )
