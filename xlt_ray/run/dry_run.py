"""``--dry-run``: the recipe against a driver that looks up and counts, and computes nothing."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import check_bad_fraction
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.user_source import key_of
from xlt_ray.data.schema import BadRow
from xlt_ray.engine.parallel import R
from xlt_ray.engine.read import Content
from xlt_ray.engine.resources import Plan
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus, Mix, Model, Start, share_of
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.reading import Carry
from xlt_ray.run.steps import PLANNED, Compute, Step
from xlt_ray.store.artifacts import Artifact, Store


class Unknown(dict[str, Any]):
    """Facts of a result that is not there yet: every value that is not known is None."""

    def __missing__(self, key: str) -> None:
        return None


def planned(kind: str, facts: Mapping[str, Any]) -> Artifact:
    """Stands for an artifact that a run would make."""
    manifest = {"info": Unknown(facts), "files": {}, "seconds": 0.0, "folder": PLANNED}
    return Artifact("", kind, PLANNED, manifest)


@dataclass
class PlanRunner:
    """Looks steps up in the store instead of running them."""

    store: Store
    steps: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        step: Step,
        compute: Compute,
        *,
        afterwards: Callable[[], None] | None = None,
        **facts: Any,
    ) -> Artifact:
        """The artifact, if it is there; otherwise one that stands for it. Nothing else is done."""
        name = step.fingerprint()
        found = self.store.find(step.kind, name) if name != PLANNED else None
        known = found.info if found else Unknown(facts)
        entry = {"title": step.title, "kind": step.kind, "cached": found is not None}
        self.steps.append({**entry, "rows": known.get("rows"), "note": known.get("note", "")})
        return found or planned(step.kind, facts)


class PlanDriver(RayDriver):
    """Follows a recipe, reading what can be read and noting what is missing."""

    def __init__(
        self,
        config: RunConfig[Any],
        runner: PlanRunner,
        plan: Plan,
        coming: Collection[str] = (),
    ):
        self.plans, self.coming = runner, coming
        super().__init__(config, runner, plan)
        self.trainings = 1
        self.row_passes = (0, 0)
        """Rows that are trained on, once an epoch, and rows that are annotated, as far as known."""
        self._missing: dict[str, list[str]] = {}

    @property
    def missing(self) -> list[str]:
        """What a run would fail for: the steps that need it, and the reason."""
        return [f"{', '.join(titles)}: {why}" for why, titles in self._missing.items()]

    def _find_backbone(self) -> Model:
        try:
            return super()._find_backbone()
        except ConfigError as error:
            self.note_missing("backbone", str(error).removeprefix("backbone "))
            return Model(planned("backbone", {}))

    def start_from(self, reference: str) -> Start:
        """What a run begins with; nothing is known yet of a run that is still to come."""
        try:
            return super().start_from(reference)
        except ConfigError as error:
            if reference not in self.coming:
                self.note_missing("start", str(error))
            return Start(Model(planned("model", {})))

    def _carry(self) -> Carry:
        return PlanCarry(self)

    def _run_tokens(self, step: Step, compute: Compute) -> Artifact:
        facts = step.inputs[0].info
        return self.plans.run(
            step, compute, rows=facts["rows"], rows_by_language=facts["rows_by_language"]
        )

    def _run_translation(self, step: Step, text: Artifact, compute: Compute) -> Artifact:
        by_language, rows = text.info["rows_by_language"], text.info["rows"]
        return self.plans.run(step, compute, rows=rows, rows_by_language=by_language)

    def together(self, calls: Sequence[Callable[[], R]]) -> list[R]:
        """The calls, one after the other, noting how many a run would have at work."""
        self.trainings = max(self.trainings, min(len(calls), self.plan.trainings))
        return [call() for call in calls]

    def _trained(self, model: Model, mix: Mix, schedule: Schedule) -> None:
        rows = [_rows(part) for part in mix.parts]
        known = sum(item for item in rows if item is not None)
        more = " and what is selected" if None in rows else ""
        size = "sentences not known" if rows[0] is None else f"{known} sentences{more}"
        batch = schedule.batch_size or self.config.train.batch_size
        passes = known * schedule.epochs if schedule.epochs else (schedule.steps or 0) * batch
        self._count(trained=passes * (1 if mix.paired is None else 2))
        long = f"up to {schedule.epochs} epochs"
        if not schedule.epochs:
            long = "steps not known" if schedule.steps is None else f"{schedule.steps} steps"
        self._note(f"{size}, {long}, batch {batch}, lr {schedule.lr:g}")

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Note an annotate step."""
        artifact = super().annotate(title, corpus, model, annotator)
        rows = _rows(corpus)
        most = "at most " if corpus.removed else ""
        self._count(read=rows or 0)
        self._note(f"{most}{rows} sentences" if rows is not None else "")
        return artifact

    def _count(self, *, trained: int = 0, read: int = 0) -> None:
        if not self.plans.steps[-1]["cached"]:
            self.row_passes = (self.row_passes[0] + trained, self.row_passes[1] + read)

    def _note(self, text: str) -> None:
        self.plans.steps[-1]["note"] = text

    def note_missing(self, title: str, why: str, *, kind: str = "backbone") -> None:
        """Note that a run would fail for want of something."""
        self._missing.setdefault(why, []).append(title)
        self.plans.steps.append(
            {"title": title, "kind": kind, "cached": False, "rows": None, "note": "missing"}
        )


class PlanCarry(Carry):
    """Reads what a run would read, counts it, and notes what cannot be read."""

    def __init__(self, driver: PlanDriver):
        super().__init__(driver.plans)
        self.driver = driver

    def carry_out(self, step: Step, found: Sequence[Source], compute: Compute) -> Artifact:
        """The artifact if it is there, or what stands for it; nothing is written."""
        driver = self.driver
        labels = driver.labels if step.kind == "gold" else None
        counts, bad, limits = {}, 0, step.params["limits"]
        for source in found:
            rows, wrong = 0, []
            for item in source.examples(labels, limits[source.split]):
                if isinstance(item, BadRow):
                    wrong.append(item)
                else:
                    rows += 1
            limit_bad = driver.config.data.max_bad_fraction
            total, key = rows + len(wrong), key_of(source)
            check_bad_fraction(wrong, total=total, max_fraction=limit_bad, key=key)
            counts[source.language] = rows
            bad += len(wrong)
        note = f"{bad} to quarantine" if bad else ""
        return driver.plans.run(
            step, compute, rows=sum(counts.values()), rows_by_language=counts, note=note
        )

    def failed(self, step: str, content: Content, error: ValueError) -> Artifact:
        """Notes what is missing."""
        self.driver.note_missing(step, str(error), kind=content)
        return planned(content, {})


def _rows(part: Corpus) -> int | None:
    """Rows of a view as far as they are known; of one language at most all that it has."""
    rows, by_language = part.tokens.info.get("rows"), part.tokens.info.get("rows_by_language")
    if part.language is not None:
        rows = None if by_language is None else by_language[part.language]
    if part.labels is not None and part.labels.kind != "annotation":  # which has them all
        labelled = part.labels.info.get("rows")
        rows = None if labelled is None else labelled if rows is None else min(rows, labelled)
    return None if rows is None else share_of(part.fraction, rows)


def text_of(driver: PlanDriver, plan: Plan) -> str:
    """The plan as the user reads it: steps, resources, what is missing."""
    lines = [f"{'':4} {'step':34} {'kind':11} {'state':8} {'rows':>9}  note"]
    for number, step in enumerate(driver.plans.steps, start=1):
        rows = "" if step["rows"] is None else step["rows"]
        state = "cached" if step["cached"] else "to run"
        line = (
            f"{number:4} {step['title']:34} {step['kind']:11} {state:8} {rows!s:>9}  {step['note']}"
        )
        lines.append(line.rstrip())
    pool = plan.annotators
    size = (
        f"{pool.smallest}" if pool.smallest == pool.largest else f"{pool.smallest}-{pool.largest}"
    )
    actors = f"{size}, each {pool.cpus} CPUs and {pool.gpus:g} GPUs"
    if not pool.largest:
        actors = f"in the driver's process, {pool.cpus} CPUs"
    cpus, gpus = replace(plan, trainings=driver.trainings).most
    where = f"{plan.train_workers} workers" if plan.train_workers else "in the driver's process"
    lines += [
        "",
        f"annotators: {actors}",
        f"training: {where}, each {plan.train_cpus} CPUs and {plan.train_gpus:g} GPUs",
        f"at most at a time: {cpus:g} CPUs and {gpus:g} GPUs",
        f"store: {driver.plans.store.root}",
        "",
    ]
    lines += [f"missing: {text}" for text in driver.missing] or ["missing: nothing"]
    return "\n".join(lines)
