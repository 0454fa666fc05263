"""Tables of kept runs in the pages of docs/results, and a picture of what the best row gains.

What stands between two marks of a page is written anew from the kept runs; its sentences are a
person's. A comparison without a page gets one of its tables alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.claims.kept import Kept
from benchmarks.claims.schema import ROOT, titles_of
from xlt_ray.commands.presets import preset
from xlt_ray.config.errors import ConfigError
from xlt_ray.report.compare import made_by_lines, result_grid, seed_grid
from xlt_ray.report.comparison import Comparison, ComparisonRow, Grid, ScoredRun
from xlt_ray.report.comparison_details import at_work_lines, course_grid
from xlt_ray.report.figures import COLOURS, new_figure, pictures_of
from xlt_ray.report.tables import markdown_table, metric_name, percent

RESULTS = ROOT / "docs/results"
BEGIN, END = "<!-- tables of the kept runs: benchmarks.claims tables -->", "<!-- end of them -->"


def comparisons_of(kept: Sequence[Kept]) -> Iterator[tuple[Comparison, list[str]]]:
    """Each comparison of some kept runs, and the titles of rows that lack a seed of the others.

    Rows stand in the order of the comparison's preset.
    """
    by_name: dict[str, dict[str, dict[int, Kept]]] = defaultdict(lambda: defaultdict(dict))
    for run in kept:
        by_name[run.comparison][run.title][run.seed] = run
    for name, rows in sorted(by_name.items()):
        order = _order(name)
        titles = sorted(rows, key=lambda title: order.index(title) if title in order else -1)
        seeds = max((sorted(found) for found in rows.values()), key=len)
        whole = [title for title in titles if sorted(rows[title]) == seeds]
        trials = {
            title: [ScoredRun(rows[title][seed].report, {}) for seed in seeds] for title in whole
        }
        found = [ComparisonRow(title, trials[title]) for title in whole]
        yield (
            Comparison(name, found, (), found[0].trials[0].report.config),
            [title for title in titles if title not in whole],
        )


def tables(comparison: Comparison, lacking: Sequence[str], kept: Sequence[Kept] = ()) -> str:
    """Everything that stands between the marks.

    Args:
        comparison: The comparison.
        lacking: Titles of rows that lack a seed.
        kept: Its runs, for precision and recall.
    """
    first = comparison.first
    gains = [gain(row) for row in comparison.rows]
    grid = result_grid(comparison)
    at = grid.columns.index("average") + 1
    lines = [[*x[:at], gain, *x[at:]] for x, gain in zip(grid.rows, gains, strict=True)]
    whole = Grid([*grid.columns[:at], "gain", *grid.columns[at:]], lines)
    said = f"{metric_name(first.metric)} times 100, {_seeds(comparison)}; the gain is that over "
    parts = [said + f"the row's own {comparison.before} model.", _markdown(whole)]
    if lacking:
        parts.append(f"Not in the table, as they lack a seed: {', '.join(lacking)}.")
    parts.append(f"![{_best(comparison).title}, by language]({comparison.name}.png)")
    if len(comparison.seeds) > 1:
        parts += ["Averages by seed:", _markdown(seed_grid(comparison))]
    if both := precision_grid(comparison, kept):
        parts += ["Precision and recall, mean of the seeds:", _markdown(both)]
    if course := course_grid(comparison):
        parts += ["Averages by round, and of the model that source dev chose:", _markdown(course)]
    if idle := at_work_lines(comparison):
        parts += ["Parts that were not at work:", "\n".join(f"- {line}" for line in idle)]
    return "\n\n".join([*parts, made_by_lines(comparison)])


def precision_grid(comparison: Comparison, kept: Sequence[Kept]) -> Grid | None:
    """Precision and recall of the entities of each target; None of other metrics, and of runs
    without counts."""
    runs = {(run.title, run.seed): run.counts.get("final") for run in kept}
    names = [x for x in comparison.languages if x not in comparison.first.sources_only]
    lines = list[list[str]]()
    for row in comparison.rows:
        line = [row.title]
        for name in names:
            counts = [runs.get((row.title, seed)) for seed in comparison.seeds]
            sums = [found[name].sum(axis=0) for found in counts if found and name in found]
            if comparison.first.metric != "f1" or len(sums) < len(comparison.seeds):
                return None
            for whole in (1, 2):  # right, predicted and gold entities
                line.append(percent(sum(x[0] / max(x[whole], 1) for x in sums) / len(sums)))
        lines.append(line)
    parts = [f"{name}, {part}" for name in names for part in ("precision", "recall")]
    return Grid(["method", *parts], lines)


def write_tables(kept: Sequence[Kept], folder: Path = RESULTS) -> Iterator[Path]:
    """Write the tables of every comparison into its page, and its picture beside it."""
    for comparison, lacking in comparisons_of(kept):
        page = folder / f"{comparison.name}.md"
        own = [run for run in kept if run.comparison == comparison.name]
        page.write_text(rewritten(page, tables(comparison, lacking, own)), encoding="utf-8")
        (folder / f"{comparison.name}.png").write_bytes(picture(comparison))
        yield page


def rewritten(page: Path, block: str) -> str:
    """A page with other words between its marks; one that is not there has its name as title.

    Raises:
        ValueError: the page has no marks.
    """
    old = page.read_text("utf-8") if page.exists() else f"# {page.stem}\n\n{BEGIN}\n{END}\n"
    before, begins, rest = old.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise ValueError(f"{page}: no place for tables, needed: lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def picture(comparison: Comparison) -> bytes:
    """PNG: each target before and after, of the row with the best average."""
    row, metric = _best(comparison), comparison.first.metric
    names = [x for x in comparison.languages if x not in comparison.first.sources_only]
    reports = [trial.report for trial in row.trials]
    before, after = (
        [
            100 * sum(getattr(x, stage)[name][metric] for x in reports) / len(reports)
            for name in names
        ]
        for stage in ("zero_shot", "final")
    )
    heading = f"{row.title}: {comparison.first.benchmark}, {_seeds(comparison)}"
    with new_figure(6.4, 0.45 * len(names) + 1.4, heading, "") as figure:
        axes = figure.subplots()
        places = range(len(names))
        axes.hlines(places, before, after, color=COLOURS[5], linewidth=3)
        axes.plot(before, places, "o", color=COLOURS[1], label=comparison.before)
        axes.plot(after, places, "o", color=COLOURS[0], label="after self-training")
        for place, low, high in zip(places, before, after, strict=True):
            axes.annotate(f"{high - low:+.1f}", (max(low, high), place), xytext=(7, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        axes.set_yticks(list(places), names)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(xlabel=f"{metric_name(metric)} (%)")
        axes.legend(loc="lower right")
        return pictures_of(figure)["png"]


def _seeds(comparison: Comparison) -> str:
    seeds = ", ".join(map(str, comparison.seeds))
    return f"mean of seeds {seeds}" if len(comparison.seeds) > 1 else f"seed {seeds}"


def _order(name: str) -> list[str]:
    """Titles of a preset's rows; none where no preset has the name."""
    try:
        return titles_of(preset(name).keys)
    except ConfigError:
        return []


def gain(row: ComparisonRow) -> str:
    """Points that a row's average is above that of its own first models."""
    if row.average is None or row.zero_shot_average is None:
        return "-"
    return f"{100 * (row.average - row.zero_shot_average):+.2f}"


def _best(comparison: Comparison) -> ComparisonRow:
    return max(comparison.rows, key=lambda row: -1.0 if row.average is None else row.average)


def _markdown(grid: Grid) -> str:
    return markdown_table(grid.columns, grid.rows, left=grid.labels)
