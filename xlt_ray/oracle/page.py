"""The findings of the oracle as plain values and as a Markdown page. Shares are shown times 100."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xlt_ray.oracle.measures import EVERY
from xlt_ray.report.figures import PARTS
from xlt_ray.report.tables import markdown_table, percent

Record = Mapping[str, Any]
STAGE_WORDS = {
    "source": ("Candidate sets by measure", "The source model of {} on all of the text"),
    "last round, k-hot": (
        "Candidate sets in the last round",
        "The model of {} at the start of its last round, on the text that was left",
    ),
    "last round, two-hot": (
        "Sets of two classes in the last round",
        "The same model of {} and text, and always the two likeliest classes, in the order of each "
        "measure; the bases play no part",
    ),
}
"""Title and words of each stage of the recall."""


@dataclass(frozen=True)
class Findings:
    """What gold says about the sets and selections of several runs.

    Attributes:
        name: Name of the folder.
        benchmark: Registry name of the benchmark.
        languages: Languages of the unlabelled text.
        split: The split whose text was used without its labels.
        seeds: Seeds of the runs.
        rows: Titles of what was run.
        rule: Row whose source model made the sets, and their lambda, tau and penalty; None where no
            method makes sets.
        recall: One row per seed, stage, language, part, measure and cut: counts and shares.
        accuracy: One row per run, round, language and part: counts and shares, ``model`` and
            ``test``.
    """

    name: str
    benchmark: str
    languages: Sequence[str]
    split: str
    seeds: Sequence[int]
    rows: Sequence[str]
    rule: Mapping[str, Any] | None
    recall: Sequence[Record]
    accuracy: Sequence[Record]

    def to_json(self) -> dict[str, Any]:
        """The findings as plain values."""
        return asdict(self)

    @property
    def where(self) -> str:
        """Benchmark and seeds, for headings."""
        word = "seeds" if len(self.seeds) > 1 else "seed"
        return f"{self.benchmark}, {word} {', '.join(map(str, self.seeds))}"


def markdown(findings: Findings) -> str:
    """The page; it holds no time of day."""
    parts = [
        f"# {findings.name}",
        f"{findings.where}: what gold labels of {', '.join(findings.languages)} say about "
        f"labels that were given to their {findings.split} split. The gold was read for this page, "
        "after the runs; nothing of it fed back. Numbers are means over seeds, or over those that "
        "have such a round or such sets; all languages are counted together.",
    ]
    if findings.recall:
        assert findings.rule is not None
        rule = ", ".join(f"{key} {value}" for key, value in findings.rule.items() if key != "row")
        for (stage,), rows in _grouped(findings.recall, "stage").items():
            title, words = STAGE_WORDS[stage]
            parts += [
                f"## {title}",
                f"{words.format(findings.rule['row'])}; {rule}.",
                *_recall_tables(findings, rows),
            ]
    if findings.accuracy:
        parts += [
            "## Newly selected labels",
            "What each round selected. Noise: items whose set lacks the gold class. Model: how "
            "often the model that gave the labels is right on all the text that it labelled. Test: "
            "average score on the test splits of the model that the round trained.",
            *_accuracy_tables(findings),
        ]
    silent = [row for row in findings.rows if row not in {r["row"] for r in findings.accuracy}]
    if silent:
        parts.append(f"Without rounds of selection: {', '.join(silent)}.")
    return "\n\n".join(parts) + "\n"


def _recall_tables(findings: Findings, recall: Sequence[Record]) -> list[str]:
    cuts = [row for row in recall if row["by"] == "share"]
    sizes = [row for row in recall if row["by"] == "size"]
    whole = [row for row in cuts if row["at"] == 100]
    shown = []
    for place, rows in _grouped(whole, "part", "measure").items():
        every = _in(EVERY, rows)
        shown.append([*_named(place), *_cells(every, "recall", "accuracy", "several"),
                      _number(every, "mean_size")])  # fmt: skip
    columns = ["part", "measure", "recall", "likeliest class", "sets of several", "mean size"]
    parts = [markdown_table(columns, shown, left=2)]
    shown = []
    for place, rows in _grouped(whole, "part", "measure").items():
        by_language = [_in(name, rows) for name in findings.languages]
        shown.append([*_named(place), *(_cells(items, "recall")[0] for items in by_language)])
    parts += [
        "Recall by language:",
        markdown_table(["part", "measure", *findings.languages], shown, left=2),
    ]
    shares = sorted({row["at"] for row in cuts})
    shown = []
    for place, rows in _grouped(_in(EVERY, cuts), "part", "measure").items():
        by_share = [[row for row in rows if row["at"] == share] for share in shares]
        shown.append([*_named(place), *(_cells(items, "recall")[0] for items in by_share)])
    columns = ["part", "measure", *(f"{share} %" for share in shares)]
    parts += [
        "Recall among the items of least u, by the share that is taken:",
        markdown_table(columns, shown, left=2),
    ]
    shown = []
    for place, of_place in _grouped(_in(EVERY, sizes), "part", "measure").items():
        for (size,), rows in sorted(_grouped(of_place, "at").items()):
            items = sum(row["items"] for row in rows) / len(findings.seeds)
            cells = [str(size), _decimals(items), *_cells(rows, "recall", "accuracy")]
            shown.append([*_named(place), *cells])
    columns = ["part", "measure", "classes", "items", "recall", "likeliest class"]
    return [*parts, "By the size of the set:", markdown_table(columns, shown, left=2)]


def _accuracy_tables(findings: Findings) -> list[str]:
    shown, by_language = [], []
    rounds = _grouped(findings.accuracy, "part", "row", "round")
    for (part, title, number), rows in rounds.items():
        start = [PARTS[part], title, str(number)]
        every = _in(EVERY, rows)
        shares = _cells(every, "accuracy", "recall", "noise", "several")
        own = [_known(every, "model"), _known(every, "test")]
        size = _number(every, "mean_size")
        shown.append([*start, _number(every, "items"), *shares, size, *own])
        cells = [_cells(_in(name, rows), "accuracy")[0] for name in findings.languages]
        by_language.append([*start, *cells])
    columns = ["part", "run", "round", "items", "right labels", "sets with gold", "noise",
               "sets of several", "mean size", "model", "test"]  # fmt: skip
    return [
        markdown_table(columns, shown, left=2),
        "Right labels by language:",
        markdown_table(["part", "run", "round", *findings.languages], by_language, left=2),
    ]


def _grouped(rows: Sequence[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    """Rows by the values of some keys, in the order of the first such row."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def _in(language: str, rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["language"] == language]


def _named(place: tuple[str, str]) -> list[str]:
    return [PARTS[place[0]], place[1].replace("_", " ")]


def _cells(rows: Sequence[Record], *names: str) -> list[str]:
    """Means over seeds, times 100; "-" without rows."""
    return [percent(_mean(rows, lambda row, name=name: row[name])) for name in names]


def _known(rows: Sequence[Record], name: str) -> str:
    return percent(_mean([row for row in rows if row[name] is not None], lambda row: row[name]))


def _number(rows: Sequence[Record], name: str) -> str:
    value = _mean(rows, lambda row: row[name])
    return "-" if value is None else _decimals(value)


def _decimals(value: float) -> str:
    return f"{value:.2f}".removesuffix(".00")


def _mean(rows: Sequence[Record], value: Callable[[Record], float]) -> float | None:
    return statistics.fmean(map(value, rows)) if rows else None
