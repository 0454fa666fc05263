"""The finished sweep: as data, as tables, as CSV, and the best configurations as YAML."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from xlt_ray.report.tables import markdown_table, percent
from xlt_ray.report.wide_table import WideTable
from xlt_ray.report.write import WriteBytes

_NOT_IN_BEST = ("run",)


@dataclass(frozen=True)
class SweepTrial:
    """One trial.

    Attributes:
        parameters: Values by key of the method.
        state: "done", "ended early" or "failed".
        scores: Source-dev score of every model that it trained, in order, in [0, 1].
        source_dev: Score of the final model; None if the trial did not get there.
        seconds: Wall time; None likewise.
        computed: Steps that it computed, by kind.
        found: Steps that it found in the store, by kind.
        run: Name of its run.
        error: Why it failed.
    """

    parameters: Mapping[str, Any]
    state: str
    scores: Sequence[float] = ()
    source_dev: float | None = None
    seconds: float | None = None
    computed: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    run: str = ""
    error: str | None = None

    def line(self) -> str:
        """The trial in one line of a log."""
        values = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                           for key, value in self.parameters.items())  # fmt: skip
        if self.source_dev is None:
            last = f"after {len(self.scores)} models" if self.scores else "at once"
            return f"{values}: {self.state} {last}" + (f": {self.error}" if self.error else "")
        steps = f"{sum(self.computed.values())} steps, {sum(self.found.values())} found"
        return f"{values}: source dev {percent(self.source_dev)} ({self.seconds:.0f} s, {steps})"


@dataclass(frozen=True)
class Scope:
    """The search for one set of targets.

    Attributes:
        name: Its name.
        targets: Its target languages.
        trials: All trials, in the order in which they were started.
    """

    name: str
    targets: Sequence[str]
    trials: Sequence[SweepTrial]

    @property
    def best(self) -> SweepTrial | None:
        """The finished trial of the highest source-dev score, the earliest of equals."""
        done = [trial for trial in self.trials if trial.source_dev is not None]
        return max(done, key=lambda trial: trial.source_dev or 0.0, default=None)

    @property
    def ranked(self) -> list[SweepTrial]:
        """Finished trials from the best on, then the others."""
        return sorted(
            self.trials,
            key=lambda trial: (trial.source_dev is None, -(trial.source_dev or 0.0)),
        )


@dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    Attributes:
        name: Name of its folder.
        keys: Keys that were searched.
        scopes: One search each.
        seconds: Wall time of the last session.
        config: The configuration.
    """

    name: str
    keys: Sequence[str]
    scopes: Sequence[Scope]
    seconds: float
    config: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return asdict(self)

    def steps(self) -> dict[str, dict[str, int]]:
        """Steps of all trials by kind: how many were computed, how many were found."""
        totals = {"computed": Counter[str](), "found": Counter[str]()}
        for scope in self.scopes:
            for trial in scope.trials:
                totals["computed"].update(trial.computed)
                totals["found"].update(trial.found)
        return {name: dict(sorted(counts.items())) for name, counts in totals.items()}


def write_sweep(
    sweep: Sweep, best: Mapping[str, Mapping[str, Any]], write_bytes: WriteBytes
) -> list[str]:
    """Write everything; returns the names of the files.

    Args:
        sweep: The sweep.
        best: Configuration of the best trial by name of the scope.
        write_bytes: Writes a file of the sweep's folder whole.
    """
    files = {"sweep.csv": table_csv(sweep)}
    for scope, config in best.items():
        name = "best.yaml" if len(sweep.scopes) == 1 else f"best-{scope}.yaml"
        files[name] = best_yaml(config)
    files["sweep.md"] = markdown(sweep)
    files["sweep.json"] = json.dumps(sweep.to_json(), sort_keys=True, indent=1) + "\n"
    for name, text in files.items():
        write_bytes(name, text.encode())
    return list(files)


def best_yaml(config: Mapping[str, Any]) -> str:
    """A configuration as a file for ``--config``: every key but the run's name."""
    kept = {key: value for key, value in config.items() if key not in _NOT_IN_BEST}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def table_csv(sweep: Sweep) -> str:
    """A line per trial in full precision; scores of stages are separated by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = ("source_dev", "state", "seconds", "steps_computed", "steps_found", "scores", "run")
    writer.writerow(["scope", *sweep.keys, *own])
    for scope in sweep.scopes:
        for trial in scope.trials:
            writer.writerow([
                scope.name,
                *(trial.parameters[key] for key in sweep.keys),
                trial.source_dev, trial.state, trial.seconds,
                sum(trial.computed.values()), sum(trial.found.values()),
                " ".join(map(str, trial.scores)), trial.run,
            ])  # fmt: skip
    return text.getvalue()


def _rows(sweep: Sweep, scope: Scope) -> list[list[str]]:
    rows = []
    for trial in scope.ranked:
        score = "-" if trial.source_dev is None else percent(trial.source_dev)
        seconds = "-" if trial.seconds is None else f"{trial.seconds:.0f}"
        computed, found = sum(trial.computed.values()), sum(trial.found.values())
        values = [f"{trial.parameters[key]}" for key in sweep.keys]
        rows.append([*values, score, trial.state, str(len(trial.scores)), seconds,
                     str(computed), str(found)])  # fmt: skip
    return rows


_COLUMNS = ("source dev", "state", "models", "seconds", "steps", "found")


def terminal_table(sweep: Sweep, scope: Scope) -> WideTable:
    """The trials of a scope from the best on, for a terminal."""
    title = f"{sweep.name}, {scope.name}: score on source dev, times 100"
    return WideTable(title, (*sweep.keys, *_COLUMNS), _rows(sweep, scope), left=0)


def markdown(sweep: Sweep) -> str:
    """The whole sweep as a Markdown page."""
    parts = [f"# {sweep.name}", "Trials from the best score on source dev on, times 100. No score "
             "of a target language was computed."]  # fmt: skip
    for scope in sweep.scopes:
        heads = [*sweep.keys, *_COLUMNS]
        parts.append(f"## {scope.name}: {', '.join(scope.targets)}")
        parts.append(markdown_table(heads, _rows(sweep, scope)))
        failed = [f"- {trial.line()}" for trial in scope.trials if trial.error]
        if failed:
            parts.append("\n".join(failed))
    steps = sweep.steps()
    kinds = sorted({*steps["computed"], *steps["found"]})
    rows = [
        [kind, str(steps["computed"].get(kind, 0)), str(steps["found"].get(kind, 0))]
        for kind in kinds
    ]
    parts += ["## Steps of all trials", markdown_table(["kind", "computed", "found"], rows)]
    parts.append(f"Wall time of the last session: {sweep.seconds:.0f} s.")
    parts.append("## Configuration\n\n```yaml\n" + best_yaml(sweep.config) + "```")
    return "\n\n".join(parts) + "\n"
