"""What a finished recipe leaves: scores, report, page, model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlt_ray.config.layers import to_dict
from xlt_ray.config.schema import RunConfig, StoreConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.run.check import method_of
from xlt_ray.run.few import label_notes
from xlt_ray.run.made_by import made_by
from xlt_ray.run.peak_memory import most_mb
from xlt_ray.run.projections import brought_notes, translated_notes
from xlt_ray.store.fault_points import reached

if TYPE_CHECKING:
    from xlt_ray.recipe.method import Outcome, Round
    from xlt_ray.report import Report
    from xlt_ray.run.driver import RayDriver
    from xlt_ray.run.saved_models import Labelling
    from xlt_ray.run.scoring import Scorer
    from xlt_ray.store.run_folder import RunFolder


def report_of(
    config: RunConfig[Any],
    scorer: "Scorer",
    outcome: "Outcome",
    ledger: Sequence[Mapping[str, Any]],
) -> "Report":
    """Score what a recipe made on the test splits, and join its rounds and steps."""
    from xlt_ray.report import Report, RoundReport, StepReport, versions_of

    driver = scorer.driver
    zero_shot = scorer.zero_shot(outcome)
    final = scorer.final(outcome)
    known = driver.target_labels
    rounds: list[RoundReport] = []
    before: Round | None = None
    for item in outcome.rounds:
        scores = None
        if config.run.score_rounds:
            label = outcome.plain_labeller
            title, longest = f"round {item.number}", outcome.longest
            scores = scorer.evaluate(title, item.model, "test", labeller=label, longest=longest)
        dev = item.model.source_dev
        drift = _label_drift(driver, before, item)
        sizes = item.set_sizes
        rounds.append(RoundReport(item.number, item.selected, sizes, dev, scores, drift))
        before = item
    return Report(
        run=config.run_name,
        method=config.method.name,
        benchmark=config.benchmark.name,
        metric=driver.benchmark.metric,
        source=driver.source_languages,
        targets=driver.targets,
        zero_shot=zero_shot,
        final=final,
        rounds=rounds,
        steps=[StepReport.of(entry) for entry in ledger],
        config=to_dict(config),
        versions=versions_of(ledger),
        notes=[
            *outcome.notes,
            *label_notes(config, driver.few_rows, driver.begun, driver.labellers),
            *translated_notes(config, driver.projections.found),
            *brought_notes(driver.labels, driver.foreign, driver.projections.brought),
            *_transductive(config, driver),
        ],
        few=known.few,
        target_dev=list(known.dev),
        labellers=list(known.labellers),
        mechanisms=list(outcome.mechanisms),
        by_class={
            name: scorer.by_class.get(title, {})
            for name, title in (("zero_shot", "zero-shot"), ("final", "final"))
        },
        made_by=made_by(method_of(config.method)),
    )


def _transductive(config: RunConfig[Any], driver: "RayDriver") -> list[str]:
    """A note where the text that is scored was learned from, without its labels."""
    own = [
        name
        for name in driver.pools
        if driver.benchmark.files is None and "test" in config.benchmark.unlabelled_splits_of(name)
    ]
    if not own:
        return []
    return [f"transductive: the test text of {', '.join(own)} was learned from, without its labels"]


def labelling_of(config: RunConfig[Any]) -> "Labelling":
    """How the models of a run label text."""
    return {
        "task": benchmark_of(config).task,
        "max_length": config.train.max_length,
        "dim_reduce": config.train.dim_reduce,
        "evidential": method_of(config.method).is_evidential,
    }


def _label_drift(driver: "RayDriver", before: "Round | None", item: "Round") -> float | None:
    """Share of the labels of a round that differ from those of the one before."""
    from xlt_ray.run.label_drift import label_drift

    if before is None or "labels" not in item.scored.columns():
        return None
    found = driver.derive(f"round {item.number} drift", label_drift, before.scored, item.scored)
    return found.info["changed"] / found.info["items"] if found.info["items"] else None


def publish(
    folder: "RunFolder", report: "Report", outcome: "Outcome", labelling: "Labelling"
) -> None:
    """Write the report, its page and the model into the run's folder, and show the scores."""
    from xlt_ray.methods.iwda.upper_bound import UPPER_BOUNDS
    from xlt_ray.recipe.corpus import Start
    from xlt_ray.report import run_page, terminal_table, write_report
    from xlt_ray.report.screen import Screen
    from xlt_ray.run.saved_models import MODELS_FILE, files_of, models_of
    from xlt_ray.run.target_labels import TargetLabels
    from xlt_ray.store.artifacts import Store

    before = Start(outcome.zero_shot, outcome.zero_shot_by_language)
    start = Start(outcome.final, outcome.by_language, before)
    knows_targets = report.method in UPPER_BOUNDS
    known = TargetLabels(report.few, tuple(report.target_dev), tuple(report.labellers))
    folder.write_json(
        MODELS_FILE,
        models_of(
            start,
            report.config,
            labelling,
            knows_targets=knows_targets,
            target_labels=known.to_json(),
            with_sources=outcome.with_sources,
        ),
    )
    folder.publish("model", files_of(outcome.final.artifact))
    reached("model.published")
    folder.event("scored", driver_mb=round(most_mb()))
    ledger, events = folder.read_lines("ledger.jsonl"), folder.read_lines("events.jsonl")
    folder.write("report.html", run_page(report, ledger, events).encode())
    write_report(report, folder.write)
    reached("report.written")
    Screen().print(terminal_table(report))
    print(f"report: {folder.path}/report.html\nmodel:  {folder.path}/model", flush=True)
    root, usual = folder.store.root, StoreConfig().root
    store = "" if root == Store(usual).root else f" --store {root}"
    print(f"sentences with their labels: xlt-ray look {report.run}{store}", flush=True)
