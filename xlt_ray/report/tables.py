"""The report as tables: for a terminal and for Markdown. Scores are shown times 100."""

from collections.abc import Iterable, Mapping, Sequence

import yaml
from rich.console import Group
from rich.text import Text

from xlt_ray.metrics import METRICS
from xlt_ray.report.record import Report, Scores
from xlt_ray.report.wide_table import WideTable

Row = tuple[str, str, str, str, str]


def columns_of(report: Report) -> tuple[str, ...]:
    """Columns of the table of results."""
    return ("language", "support", report.before, "final", "difference")


def result_rows(report: Report) -> tuple[list[Row], Row]:
    """The result table as text.

    Args:
        report: The report.

    Returns:
        A row per language under `columns_of`, and the row of averages over the targets without the
        source.
    """
    rows = []
    for language in report.languages:
        name = f"{language} (source)" if language in report.sources_only else language
        before = _score_of(report.zero_shot, language, report.metric)
        after = _score_of(report.final, language, report.metric)
        support = (report.final.get(language) or report.zero_shot.get(language, {})).get("support")
        rows.append((name, "-" if support is None else str(support), *_compared(before, after)))
    count = len(report.counted)
    compared = _compared(report.zero_shot_average, report.average)
    return rows, (f"average of {count} target{'' if count == 1 else 's'}", "", *compared)


def counted_note(report: Report) -> str:
    """What is said of the languages that averages are over."""
    return (
        ", each learnt without its own gold" if report.leaves_one_out else " other than the source"
    )


NOTHING_SCORED = (
    "Nothing was scored: there are no test files, and dev text alone chose the model. Add "
    "files.paths.LANGUAGE.test to see how good it is."
)


def terminal_table(report: Report) -> Group:
    """The result table for a terminal, and below it what has to be known of the run."""
    title = f"{report.method} on {report.benchmark}: {metric_name(report.metric)}"
    rows, average = result_rows(report)
    table = WideTable(title, columns_of(report), list(rows), last=average)
    if not report.zero_shot and not report.final:
        table = Text(f"{title}\n{NOTHING_SCORED}")
    below = [*report.notes, *_course_line(report), *mechanism_lines(report)]
    return Group(table, *(Text(line, style="dim") for line in below))


def class_columns_of(report: Report) -> tuple[str, ...]:
    """Columns of the table of classes."""
    return ("language", "class", "support", "precision", "recall", "F1", f"{report.before} F1")


def class_rows(report: Report) -> list[tuple[str, ...]]:
    """Cells under `class_columns_of`: scores of each class, or entity type, of each language."""
    before = report.by_class.get("zero_shot", {})
    return [
        (
            language,
            name,
            str(found["support"]),
            *(percent(found[key]) for key in ("precision", "recall", "f1")),
            percent(before.get(language, {}).get(name, {}).get("f1")),
        )
        for language, classes in report.by_class.get("final", {}).items()
        for name, found in classes.items()
    ]


def _course_line(report: Report) -> list[str]:
    """The averages after each round, on one line, if there are any."""
    if all(value is None for value in report.course):
        return []
    return [f"average after each round: {', '.join(map(percent, report.course))}"]


def mechanism_lines(report: Report) -> list[str]:
    """A line for each part of the method: its figures, and a warning where it did not work."""
    return [
        item.line if item.warning is None else f"{item.line}. Not at work: {item.warning}"
        for item in report.mechanisms
    ]


def markdown(report: Report) -> str:
    """The whole report as a Markdown page. It holds no time of day."""
    rows, average = result_rows(report)
    scored = [
        f"Metric: {metric_name(report.metric)}, times 100, on the test splits. "
        f"The average is over the targets{counted_note(report)}.",
        markdown_table(
            columns_of(report),
            [*rows, tuple(f"**{cell}**" if cell else "" for cell in average)],
        ),
    ]
    parts = [
        f"# {report.run}",
        f"{report.method} on {report.benchmark}, from {', '.join(report.source)} "
        f"to {', '.join(report.targets)}.",
        "## Results",
        *(scored if report.zero_shot or report.final else [NOTHING_SCORED]),
        *(f"Note: {note}." for note in report.notes),
    ]
    if rows := class_rows(report):
        parts += ["## By class", markdown_table(class_columns_of(report), rows, left=2)]
    if report.mechanisms:
        lines = [f"- {line}" for line in mechanism_lines(report)]
        parts += ["## Parts at work", "\n".join(lines)]
    if report.rounds:
        parts += ["## Rounds", _rounds_table(report)]
    parts += [
        "## Steps",
        markdown_table(
            ("step", "kind", "fingerprint", "seconds", "cached"),
            [
                (
                    step.title,
                    step.kind,
                    f"`{step.fingerprint[:12]}`",
                    f"{step.seconds:.1f}",
                    "yes" if step.cached else "no",
                )
                for step in report.steps
            ],
            left=3,
        ),
        "## Configuration",
        f"```yaml\n{yaml.safe_dump(dict(report.config), allow_unicode=True)}```",
        "## Versions",
        markdown_table(("package", "version"), report.all_versions, left=2),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table.

    Args:
        columns: Column titles.
        rows: Cells as text; bars and line ends in them are made harmless.
        left: How many columns, from the first, are aligned to the left; the others to the right.
    """
    rule = [":--" if column < left else "--:" for column in range(len(columns))]
    lines = [columns, rule, *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def metric_name(metric: str) -> str:
    """A metric's name for readers."""
    return METRICS[metric].title if metric in METRICS else metric


def percent(value: float | None) -> str:
    """A fraction times 100 with two decimals."""
    return "-" if value is None else f"{100 * value:.2f}"


def _rounds_table(report: Report) -> str:
    scored = any(item.scores is not None for item in report.rounds)
    columns = ["round", "source dev", "selected", "set sizes", "per language"]
    rows = []
    for item in report.rounds:
        row = [
            str(item.round),
            percent(item.source_dev),
            str(sum(item.selected.values())),
            _listed(item.set_sizes),
            _listed(item.selected),
        ]
        if scored:
            mean = None if item.scores is None else report.average_of(item.scores)
            row.insert(2, percent(mean))
        rows.append(row)
    if scored:
        columns.insert(2, "test average")
    return markdown_table(columns, rows)


def by_number(name: str) -> tuple[int, int, str]:
    """Sorts names that are numbers by size, and others after them."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {counts[name]}" for name in sorted(counts, key=by_number)) or "-"


def _score_of(scores: Scores, language: str, metric: str) -> float | None:
    return scores[language][metric] if language in scores else None


def _compared(before: float | None, after: float | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return percent(before), percent(after), "-"
    return percent(before), percent(after), f"{100 * (after - before):+.2f}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
