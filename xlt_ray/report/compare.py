"""The finished comparison as tables for a terminal, Markdown and LaTeX.

Measured and published numbers stand in tables of their own. Scores are shown times 100, published
numbers as printed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from xlt_ray.report.comparison import Comparison, Grid, mean_of
from xlt_ray.report.comparison_details import at_work_lines, course_grid, settings_grid
from xlt_ray.report.published import PublishedTable
from xlt_ray.report.record import Report
from xlt_ray.report.significance import TESTED, lines
from xlt_ray.report.tables import counted_note, markdown_table, metric_name, percent
from xlt_ray.report.wide_table import WideTable
from xlt_ray.report.write import WriteBytes

COURSE_CAPTION = (
    "The average over the targets, as in the table above, after each round, and of the checkpoint "
    "that was chosen: on source dev, unless `method.select` says otherwise. Where rows chose "
    "different rounds, compare them by the last round and by the mean over the rounds, too."
)
SETTINGS_CAPTION = "Keys that several rows have, and not all of them with the same value."
CODE = "xlt_ray code, "
"""What the row of a method's code begins with, in the table of versions."""
LATEX_COLUMNS = 11
"""Most columns of numbers side by side; wider tables go on below."""


def result_grid(comparison: Comparison) -> Grid:
    """Rows by languages, with average, standard deviation and wall time."""
    languages, source = comparison.languages, comparison.first.sources_only
    names = [f"{name} (source)" if name in source else name for name in languages]
    rows = [
        [
            row.title,
            *(percent(row.score(language)) for language in languages),
            percent(row.average),
            percent(row.std),
            duration(row.seconds),
            "-" if row.driver_mb is None else f"{row.driver_mb:,.0f}",
        ]
        for row in comparison.rows
    ]
    return Grid(["method", *names, "average", "std", "wall time", "driver, MB"], rows)


def seed_grid(comparison: Comparison) -> Grid:
    """The averages of every row, seed by seed."""
    rows = [
        [row.title, *(percent(trial.report.average) for trial in row.trials)]
        for row in comparison.rows
    ]
    return Grid(["method", *(f"seed {seed}" for seed in comparison.seeds)], rows)


def shared_grid(comparison: Comparison) -> Grid:
    """The trainings that several rows have in common."""
    rows = [
        [step.title, "; ".join(step.rows), str(step.seed), duration(step.seconds)]
        for step in comparison.shared
    ]
    return Grid(["training", "rows that need it", "seed", "wall time"], rows, labels=2)


def published_grid(table: PublishedTable, source: Sequence[str]) -> Grid:
    """A printed table, its source languages last.

    Args:
        table: The table.
        source: Source languages. Where they are among the columns, a mean without them is added,
            for rows that have a number in every column: measured averages leave them out.
    """
    codes = sorted(table.codes, key=lambda code: code in source)
    kept = [code for code in codes if code not in source]
    columns = ["method", "backbone"]
    columns += [f"{code} (source)" if code in source else code for code in codes]
    columns.append("average")
    has_mean = 0 < len(kept) < len(codes)
    if has_mean:
        columns.append("without source")

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.{table.decimals}f}"

    rows = []
    for row in table.rows:
        cells = [row.title, row.backbone, *(shown(row.scores.get(code)) for code in codes)]
        cells.append(shown(row.average))
        if has_mean:
            is_whole = all(code in row.scores for code in codes)
            values = [row.scores[code] for code in kept] if is_whole else [None]
            cells.append(shown(mean_of(values)))
        rows.append(cells)
    return Grid(columns, rows, labels=2)


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown page. It holds no time of day."""
    first = comparison.first
    parts = [
        f"# {comparison.name}",
        f"{first.benchmark}, from {', '.join(first.source)} to {', '.join(first.targets)}.",
        "## Measured",
        caption(comparison),
        _markdown(result_grid(comparison)),
    ]
    if len(comparison.seeds) > 1:
        parts += ["The averages seed by seed:", _markdown(seed_grid(comparison))]
    if comparison.tested:
        parts += ["## Differences", TESTED, _markdown(Grid(*lines(comparison.tested)))]
    if course := course_grid(comparison):
        parts += ["## Round by round", COURSE_CAPTION, _markdown(course)]
    if settings := settings_grid(comparison):
        parts += ["## Where the rows differ", SETTINGS_CAPTION, _markdown(settings)]
    if idle := at_work_lines(comparison):
        parts += ["## Parts not at work", "\n".join(f"- {line}" for line in idle)]
    if comparison.shared:
        parts += [
            "## Computed once",
            "Trainings that several rows need. The wall time of each of those rows has them in "
            "full; they were carried out once.",
            _markdown(shared_grid(comparison)),
        ]
    for table in comparison.published:
        parts += [
            f"## Published: {table.paper}, Table {table.table}, {table.dataset}",
            published_caption(table),
            _markdown(published_grid(table, first.sources_only)),
            *published_notes(table),
        ]
    config = {"rows": {row.title: dict(row.method) for row in comparison.rows}}
    parts += [
        "## Configuration",
        "All keys of the rows' methods, and the configuration that they share:",
        f"```yaml\n{_yaml(config)}{_yaml(comparison.config)}```",
        "## Versions",
        markdown_table(("package", "version"), versions_of(comparison), left=2),
        made_by_lines(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def versions_of(comparison: Comparison) -> list[tuple[str, str]]:
    """What computed the rows, for a table: packages, commits, and the code of each method. Of runs
    that several commits or codes computed, all of them."""
    reports, found = _reports(comparison), sorted(comparison.first.versions.items())
    commits = dict.fromkeys(report.made_by.get("commit") for report in reports)
    if known := [commit for commit in commits if commit]:
        found.append(("xlt_ray commit", ", ".join(known)))
    codes = dict[str, list[str]]()
    for name, code in _codes(reports):
        codes.setdefault(name, []).append(code)
    return [*found, *((f"{CODE}{name}", ", ".join(those)) for name, those in codes.items())]


def made_by_lines(comparison: Comparison) -> str:
    """What made a page of results, a line for each commit; ``make results-check`` reads them."""
    by_commit = dict[str, list[Report]]()
    for report in _reports(comparison):
        by_commit.setdefault(report.made_by.get("commit") or "unknown", []).append(report)
    lines = list[str]()
    for commit, reports in by_commit.items():
        packages = [f"{name} {value}" for name, value in sorted(reports[0].versions.items())]
        codes = [f"{name} `{code}`" for name, code in _codes(reports)]
        lines.append(
            f"Made by commit `{commit}` with {', '.join(packages) or 'unknown packages'}. "
            f"Code: {', '.join(codes) or 'unknown'}."
        )
    return "\n\n".join(lines)


def _reports(comparison: Comparison) -> list[Report]:
    return [trial.report for row in comparison.rows for trial in row.trials]


def _codes(reports: Sequence[Report]) -> list[tuple[str, str]]:
    """Each method of some runs with its code; several times if it had several."""
    named = ((x.config["method"]["name"], x.made_by.get("code")) for x in reports)
    return sorted({(name, code) for name, code in named if code})


def caption(comparison: Comparison) -> str:
    """What the measured table shows, in sentences."""
    first, seeds = comparison.first, comparison.seeds
    count = len(first.counted)
    over = "seeds" if len(seeds) > 1 else "seed"
    std = (
        "std: sample standard deviation of the average over the seeds."
        if len(seeds) > 1
        else "One seed has no standard deviation."
    )
    return (
        f"Metric: {metric_name(first.metric)}, times 100, on the test splits; mean of {over} "
        f"{', '.join(map(str, seeds))}. The average is over the {count} "
        f"target{'' if count == 1 else 's'}{counted_note(first)}. {std} "
        "Wall time: all steps that a row needs, summed."
    )


def published_caption(table: PublishedTable) -> str:
    """Where a printed table is from, in sentences."""
    return (
        f"{table.metric} as printed in Table {table.table} of {table.paper_title} ({table.paper}). "
        "Not measured here: comparable only with the same backbone, languages and amount of data. "
        "Average: as printed; without source: mean of the numbers printed for the other languages."
    )


def published_notes(table: PublishedTable) -> list[str]:
    """The notes of a printed table: at most one paragraph."""
    by_note: dict[str, list[str]] = {}
    for row in table.rows:
        if row.note:
            by_note.setdefault(row.note, []).append(row.title)
    notes = [f"{', '.join(titles)}: {note}." for note, titles in by_note.items()]
    return [" ".join(notes)] if notes else []


def terminal_tables(comparison: Comparison) -> WideTable:
    """The measured table for a terminal."""
    first = comparison.first
    seeds = ", ".join(map(str, comparison.seeds))
    title = f"{first.benchmark}: {metric_name(first.metric)}, seeds {seeds}"
    grid = result_grid(comparison)
    return WideTable(title, grid.columns, grid.rows, left=grid.labels)


def latex(comparison: Comparison) -> str:
    r"""The measured and the published tables as a LaTeX fragment for ``\input``."""
    first = comparison.first
    measured = f"{first.benchmark}, measured. {caption(comparison)}"
    parts = [
        "% Needs \\usepackage{booktabs}.",
        _latex_table(result_grid(comparison), measured),
    ]
    for table in comparison.published:
        words = " ".join([f"{table.dataset}.", published_caption(table), *published_notes(table)])
        parts.append(_latex_table(published_grid(table, first.sources_only), words))
    return "\n\n".join(parts) + "\n"


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is, in a table cell too."""
    return " ".join(text.split()).translate(_LATEX)


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def write_comparison(comparison: Comparison, write_bytes: WriteBytes) -> None:
    """Writes compare.md, compare.tex and compare.json.

    Args:
        comparison: The comparison.
        write_bytes: Writes a file of the comparison's folder, local or in object storage.
    """
    write_bytes("compare.md", markdown(comparison).encode())
    write_bytes("compare.tex", latex(comparison).encode())
    text = json.dumps(
        comparison.to_json(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False
    )
    write_bytes("compare.json", text.encode() + b"\n")  # last: who finds it finds all three


def _latex_table(grid: Grid, words: str) -> str:
    tables = []
    for part in grid.parts(LATEX_COLUMNS):
        head, *rows = (
            " & ".join(latex_text(cell) for cell in line) + r" \\"
            for line in (part.columns, *part.rows)
        )
        letters = "l" * part.labels + "r" * (len(part.columns) - part.labels)
        lines = [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        tables.append("\n".join([f"\\begin{{tabular}}{{{letters}}}", *lines, r"\end{tabular}"]))
    body = "\n\n\\smallskip\n\n".join(tables)
    size = "\\footnotesize\\setlength{\\tabcolsep}{3pt}\\renewcommand{\\arraystretch}{0.95}"
    caption_line = f"\\caption{{{latex_text(words)}}}\\smallskip"
    lines = [r"\begin{table}", r"\centering", size, caption_line, body, r"\end{table}"]
    return "\n".join(lines)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedblright{}",
        "[": "{[}",  # behind the \\ of a line it would begin an option
        "*": "{*}",  # and so would this
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
)


def _markdown(grid: Grid) -> str:
    return markdown_table(grid.columns, grid.rows, left=grid.labels)


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False)
