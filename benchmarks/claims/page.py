"""docs/claims.md: every claim with its printed and its measured figures, and a verdict."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.claims.measured import VERDICTS, Figure, Measured
from benchmarks.claims.printed import published_figures
from benchmarks.claims.schema import PAPERS, ROOT, Claim, NotTestable
from xlt_ray.report.tables import markdown_table

PAGE = ROOT / "docs/claims.md"
OPENING = """# Claims

Do the claims of the five papers hold here, with a real encoder of moderate size? Each claim is a
sentence with a sign. {counts}

Differences here are in points, on average over the targets and the seeds. The interval holds 95% of
1,000 draws of test sentences and seeds, with replacement, the same for both rows
([how](compare.md#what-it-writes)). The verdict is **shown** if the whole interval lies on the side
that is claimed, **opposite** if it lies on the other side, and else **not shown**. Mind the seeds:
with three, the interval reaches about from the worst to the best. So where there is no true
difference, up to one claim in four still gets a sign by chance. Published figures are of other
encoders and more data: compare signs, not sizes."""
MEASURED_WITH = """The encoder and the sizes behind the verdicts. A comparison is the preset of that
name, for `xlt-ray compare` or the job that its first lines name."""
FOOT = """## Run and add claims

`make proof` measures one claim of each method in minutes, on the embedded benchmark, or on your
data with your encoder:

```sh
make proof
make proof ARGS="--data FOLDER --backbone FOLDER"
```

A claim is an entry of [claims.yaml](claims.yaml): its sentence, where it is printed, the preset
that measures it, and a test: `above`, `above_zero_shot`, `gain_where_low`, `mechanism`, `records`
or `not_testable` ([schema.py](../benchmarks/claims/schema.py) says what each takes). Name rows as
the preset does. Then run the preset, read the folder of its runs, and write this page:

```sh
.venv/bin/xlt-ray compare compare-toy --dry-run
.venv/bin/python -m benchmarks.claims measure FOLDER/runs
make claims
```

`measure` keeps the figures of other comparisons in [measured.json](claims/measured.json), and puts
together the seeds and rows of comparisons that have one name. A claim that is not shown, or whose
opposite is, needs a `why`: the reason, and the command that shows it."""


def render(claims: Sequence[Claim], measured: Measured) -> str:
    """The page."""
    counts = Counter(measured.verdict(claim) for claim in claims)
    told = ", ".join(f"{counts[x]} {x}" for x in VERDICTS if counts[x])
    parts = [OPENING.format(counts=f"Of {len(claims)} claims: {told}.")]
    if measured.comparisons:
        columns = ("comparison", "benchmark", "encoder", "targets", "seeds", "rows", "commit")
        rows = list(_settings(measured))
        parts += ["## Measured with", MEASURED_WITH, markdown_table(columns, rows, left=7)]
    columns = ("claim", "printed in", "published", "comparison", "here", "95% interval", "seeds",
               "verdict")  # fmt: skip
    for paper, page in PAPERS.items():
        own = [x for x in claims if x.paper == paper and not isinstance(x.test, NotTestable)]
        rows = [_row(claim, measured) for claim in own]
        parts += [f"## [{paper}]({page})", markdown_table(columns, rows, left=4)]
    if rows := _whys(claims, measured):
        parts += ["## Why not", markdown_table(("claims", "why", "see"), rows, left=3)]
    rows = [
        [f"{x.paper}, {x.source}", x.sentence, published_figures(x), x.test.reason]
        for x in claims
        if isinstance(x.test, NotTestable)
    ]
    columns = ("printed in", "claim", "published", "what is missing")
    parts += ["## Not testable here", markdown_table(columns, rows, left=4), FOOT]
    return "\n\n".join(parts) + "\n"


def write_page(claims: Sequence[Claim], measured: Measured, path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(render(claims, measured), encoding="utf-8")


def shown(figure: Figure) -> tuple[str, str]:
    """A figure and its interval, as cells."""
    times, places = (100 if figure.unit == "points" else 1), (3 if figure.unit == "number" else 2)
    sign = "" if figure.unit == "number" else "+"

    def cell(value: float) -> str:
        return f"{round(times * value, places) + 0.0:{sign}.{places}f}"

    value = cell(figure.value)
    if figure.unit == "correlation":
        value = f"correlation {value}"
    if figure.bound:
        value += f", {figure.claimed} {times * figure.bound:g}?"
    return value, "-" if figure.interval is None else " to ".join(map(cell, figure.interval))


def _row(claim: Claim, measured: Measured) -> list[str]:
    figure = measured.claims.get(claim.id)
    here = ("-", "-", "-") if figure is None else (*shown(figure), str(len(figure.seeds)))
    place = [claim.sentence, claim.source, published_figures(claim), claim.comparison or "-"]
    return [*place, *here, measured.verdict(claim)]


def _whys(claims: Sequence[Claim], measured: Measured) -> list[list[str]]:
    """The reasons, each once, with the claims that have it and their verdicts."""
    told: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        verdict = measured.verdict(claim)
        if claim.why is not None and verdict in ("opposite", "not shown"):
            name = f"{claim.paper}: {claim.sentence} ({verdict})"
            told.setdefault((claim.why.text, claim.why.command), []).append(name)
    return [["; ".join(names), text, f"`{see}`"] for (text, see), names in told.items()]


def _settings(measured: Measured) -> Iterator[list[str]]:
    for name, item in measured.comparisons.items():
        rows = ", ".join(f"{split} {count}" for split, count in item.max_rows.items())
        seeds, commits = map(str, item.seeds), [f"`{commit}`" for commit in item.commits]
        targets = ", ".join(item.targets) if len(item.targets) < 9 else f"{len(item.targets)}"
        yield [name, item.benchmark, item.backbone, targets, ", ".join(seeds), rows or "all",
               ", ".join(commits) or "unknown"]  # fmt: skip
