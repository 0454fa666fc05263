"""report.html and compare.html: one self-contained page each, for a browser.

Whatever a page shows is in the files of the run: its report, its ledger and its history. Nothing is
fetched when it is opened: styles and pictures are inline, there are no scripts and no web fonts.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from xlt_ray.report import svg
from xlt_ray.report.compare import (
    COURSE_CAPTION,
    SETTINGS_CAPTION,
    caption,
    duration,
    published_caption,
    published_grid,
    published_notes,
    result_grid,
    seed_grid,
    shared_grid,
    versions_of,
)
from xlt_ray.report.comparison import Comparison, Grid
from xlt_ray.report.comparison_details import at_work_lines, course_grid, settings_grid
from xlt_ray.report.published import PublishedRow, PublishedTable, tables_of
from xlt_ray.report.record import Report
from xlt_ray.report.significance import TESTED, lines
from xlt_ray.report.tables import (
    NOTHING_SCORED,
    by_number,
    class_columns_of,
    class_rows,
    counted_note,
    metric_name,
    percent,
)
from xlt_ray.report.timeline import timeline

AS_PRINTED = {
    "bl_direct": "BL-Direct", "bl_single": "BL-Single", "bl_joint": "BL-Joint", "cltp": "CLTP",
    "conlst": "CoNLST", "dt": "DT", "hard": "Hard", "hard_cat": "Hard-Cat", "iwda": "IWDA",
    "hard_vote": "Hard-Vote", "kd": "IWDA + KD", "kd_re": "KD-re", "lvm": "LVM", "maral": "MARAL",
    "mrt": "MRT", "sl_evi": "SL-EVI", "sl_leu": "SL-LEU", "sl_lou": "SL-LOU", "st": "ST",
}  # fmt: skip
"""How the papers write the names of methods."""
BASELINES = ("BL-Direct", "Zero-shot", "DT")
"""What is shown beside a method's printed rows."""


@cache
def environment() -> Environment:
    """Templates of pages."""
    environment = Environment(
        loader=PackageLoader("xlt_ray.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "duration": duration}
    environment.globals["svg"] = svg  # pyrefly: ignore [unsupported-operation]
    return environment


def run_page(
    report: Report, ledger: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> str:
    """The page of a run.

    Args:
        report: Its report.
        ledger: Entries of its ledger.
        events: Its history, oldest first.
    """
    scores = [
        item[report.metric]
        for found in (report.zero_shot, report.final)
        for item in found.values()
    ]  # fmt: skip
    bars, length = timeline(ledger, events)
    by_kind: dict[str, float] = {}
    for step in {step.fingerprint: step for step in report.steps}.values():
        by_kind[step.kind] = by_kind.get(step.kind, 0.0) + step.seconds
    return environment().get_template("run.html.j2").render(
        report=report,
        metric=metric_name(report.metric),
        counted=counted_note(report),
        low=min(scores, default=0.0),
        high=max(scores, default=1.0),
        published=printed(report),
        sizes=sorted({size for item in report.rounds for size in item.set_sizes}, key=by_number),
        bars=bars,
        length=length,
        by_kind=dict(sorted(by_kind.items(), key=lambda item: -item[1])),
        usage=usage(events),
        warnings=warnings(report, ledger),
        scored=bool(report.final or report.zero_shot),
        unscored=NOTHING_SCORED,
        classes=class_rows(report),
        class_columns=class_columns_of(report),
        config=yaml.safe_dump(dict(report.config), allow_unicode=True, sort_keys=False),
    )  # fmt: skip


def printed(report: Report) -> list[tuple[PublishedTable, list[PublishedRow]]]:
    """Printed rows of the run's method on its benchmark, and of the plain baseline."""
    name = AS_PRINTED.get(report.method, "")
    found = []
    for table in tables_of(report.method, report.benchmark):
        own = [row for row in table.rows if row.method.startswith(name)]
        if name and own:
            found.append((table, [row for row in table.rows if row.method in BASELINES] + own))
    return found


def usage(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the last session had and took, in words."""
    sessions = [event for event in events if event["event"] == "session"]
    if not sessions:
        return []
    last = sessions[-1]
    asked, lines = last.get("resources") or {}, []
    if asked:
        few, many = asked["annotators"]
        number = str(few) if few == many else f"{few} to {many}"
        each = f"CPUs {asked['annotator_cpus']}, GPUs {asked['annotator_gpus']:g} each"
        lines.append(("Annotators", f"{number}; {each}" if many else "in the driver's process"))
        each = f"CPUs {asked['train_cpus']}, GPUs {asked['train_gpus']:g} each"
        number = asked["train_workers"]
        fewest = asked.get("train_processes", number)
        if fewest != number:
            each = f"on {fewest} to {number} processes; {each}"
        lines.append(("Training", f"{number or 'no'} workers; {each}" if number
                      else f"in the driver's process; CPUs {asked['train_cpus']}"))  # fmt: skip
    lines.append(("Sessions", str(len(sessions))))
    end = [event for event in events if event["event"] == "scored"]
    if end:
        lines.append(("Last session", duration(max(0.0, end[-1]["time"] - last["time"]))))
        if end[-1].get("driver_mb"):
            lines.append(("Memory of the driver, peak", f"{end[-1]['driver_mb']:,.0f} MB"))
    return lines


def warnings(report: Report, ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader has to know before the scores are believed."""
    found = [f"{note}." for note in report.notes]
    found += [
        f"{item.part}: not at work, {item.warning}."
        for item in report.mechanisms
        if item.warning is not None
    ]
    missing = [name for name in report.targets if name not in report.final]
    if missing and report.final:
        found.append(f"Not scored, for they have no test text: {', '.join(missing)}.")
    for entry in ledger:
        bad = (entry.get("info") or {}).get("quarantined")
        if bad:
            found.append(f"{entry['title']}: {bad} rows could not be used and are quarantined.")
    for item in report.rounds:
        empty = [name for name, count in item.selected.items() if not count]
        if empty:
            found.append(f"Round {item.round} selected nothing of {', '.join(empty)}.")
    worse = [
        name
        for name in report.counted
        if name in report.zero_shot
        and report.final.get(name, {}).get(report.metric, 1.0)
        < report.zero_shot[name][report.metric]
    ]
    if worse:
        than = "few-shot model" if report.few else "source model alone"
        found.append(f"Worse than the {than}: {', '.join(worse)}.")
    return found


def comparison_page(comparison: Comparison) -> str:
    """The page of a comparison."""
    averages = [row.average for row in comparison.rows if row.average is not None]
    spread = max((row.std or 0.0 for row in comparison.rows), default=0.0)
    first = comparison.first
    config = {"rows": {row.title: dict(row.method) for row in comparison.rows}}
    return environment().get_template("comparison.html.j2").render(
        comparison=comparison,
        first=first,
        caption=caption(comparison),
        results=result_grid(comparison),
        seeds=seed_grid(comparison) if len(comparison.seeds) > 1 else None,
        shared=shared_grid(comparison) if comparison.shared else None,
        tested=Grid(*lines(comparison.tested)) if comparison.tested else None,
        tested_words=TESTED,
        versions=versions_of(comparison),
        course=course_grid(comparison),
        course_caption=COURSE_CAPTION,
        settings=settings_grid(comparison),
        settings_caption=SETTINGS_CAPTION,
        idle=at_work_lines(comparison),
        low=min(averages, default=0.0) - spread,
        high=max(averages, default=1.0) + spread,
        best=max(averages, default=None),
        published=[
            (x, published_caption(x), published_grid(x, first.sources_only), published_notes(x))
            for x in comparison.published
        ],
        config=yaml.safe_dump({**config, **comparison.config}, allow_unicode=True, sort_keys=False),
    )  # fmt: skip
