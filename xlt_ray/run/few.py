"""Which targets have a few labelled rows, and what a report says of labels of targets."""

from collections.abc import Mapping, Sequence
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.benchmark import Benchmark
from xlt_ray.run.target_labels import TargetLabels


def few_of(
    config: RunConfig[Any], benchmark: Benchmark, sources: Sequence[str], targets: Sequence[str]
) -> dict[str, int | None]:
    """Labelled rows of each target that has some, in the order of the targets; None: as many as
    its files of them hold.

    Raises:
        ConfigError: a language has labelled rows and is no target, or is a source.
    """
    asked = config.benchmark.few
    others = [name for name in targets if name not in sources]
    drawn = dict.fromkeys(others, asked) if isinstance(asked, int) else dict(asked or {})
    given = [name for name, paths in config.files.paths.items() if "few" in paths]
    for name in (*drawn, *given):
        key = f"files.paths.{name}.few" if name in given else "benchmark.few"
        if name in sources:
            raise ConfigError(f"{key}: {name} is a source, all of its labelled rows are learned")
        if name not in targets:
            is_there = not benchmark.files or "unlabelled" in config.files.paths.get(name, {})
            raw = "" if is_there else f"; files.paths.{name}.unlabelled is missing"
            raise ConfigError(
                f"{key}: {name} is no target, there are: {', '.join(others) or 'none'}{raw}"
            )
    for name in drawn:
        if not benchmark.has(name, "few") and not benchmark.has(name, "train"):
            raise ConfigError(
                f"benchmark.few: {name} has no labelled rows to draw from, name them as "
                f"files.paths.{name}.few"
            )
    return {name: drawn.get(name) for name in targets if name in drawn or name in given}


def check_dev(benchmark: Benchmark, targets: Sequence[str]) -> None:
    """Whether every target has dev text.

    Raises:
        ConfigError: one has none.
    """
    missing = [name for name in targets if not benchmark.has(name, "dev")]
    if missing:
        raise ConfigError(
            f"benchmark.select_on: target_dev needs labelled dev rows of every target, name "
            f"{', '.join(f'files.paths.{name}.dev' for name in missing)}"
        )


def check_learned(rows: Mapping[str, int], few: Sequence[str], *, learned: bool) -> None:
    """Whether labelled rows of targets were learned from, if there are some.

    Args:
        rows: Rows of each target that were counted.
        few: Targets that have labelled rows.
        learned: Whether a training had them.

    Raises:
        ConfigError: no training had them, or a target has none of them.
    """
    if none := [name for name in few if rows.get(name) == 0]:
        raise ConfigError(f"benchmark.few: no labelled row of {', '.join(none)} was learned from")
    if few and not learned:
        raise ConfigError(
            f"benchmark.few: no training has source gold, which the labelled rows of "
            f"{', '.join(few)} would stand beside: method.given or method.start_from is there in "
            "place of it; leave out one of them"
        )


def few_words(rows: Mapping[str, int], weight: int) -> str:
    """A few labelled rows in words: how many of which target, and how often each counts."""
    counts = ", ".join(f"{count} of {name}" for name, count in rows.items())
    often = "once" if weight == 1 else f"{weight} times"
    return f"labelled rows of targets: {counts}, each counted {often}"


def label_notes(
    config: RunConfig[Any],
    rows: Mapping[str, int],
    begun: Mapping[str, TargetLabels],
    labellers: Sequence[str] = (),
) -> list[str]:
    """What the reader of a run's scores has to know of labels of its targets.

    Args:
        config: The configuration of the run.
        rows: Its own labelled rows, by target.
        begun: Labels that the models know that it started from, by run or checkpoint.
        labellers: Who labelled its unlabelled text.
    """
    notes = []
    if labellers:
        notes.append(
            "not zero-shot: labels of the unlabelled text were learned from, given by "
            f"{', '.join(labellers)}"
        )
    if rows:
        words = few_words(rows, config.benchmark.few_weight)
        notes.append(f"not zero-shot: {words}; the model before self-training learned them, too")
    if config.benchmark.select_on == "target_dev":
        notes.append(
            "models were chosen on labelled dev rows of the targets; what is called source dev is "
            "the score on these, averaged over the languages"
        )
    return notes + [note for name, known in begun.items() for note in known.notes(name)]
