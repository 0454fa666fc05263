"""``--dry-run``: the recipe, with steps that are looked up and counted, and not computed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import check_bad_fraction
from xlt_ray.data.readers.user_source import key_of
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.engine.annotate import AnnotateTask
from xlt_ray.engine.asking import AskTask
from xlt_ray.engine.average import MeanTask
from xlt_ray.engine.bring_back import BringBackTask
from xlt_ray.engine.gold_in_translation import JoinTask
from xlt_ray.engine.int8 import Int8Task
from xlt_ray.engine.mark import MarkTask
from xlt_ray.engine.parallel import R
from xlt_ray.engine.project import ProjectTask
from xlt_ray.engine.read import ReadTask, TokeniseTask
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.translate import TranslateTask
from xlt_ray.engine.words_in_translation import ReplaceTask
from xlt_ray.recipe.corpus import Corpus, Model, Start, share_of
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.policy import RunPolicy
from xlt_ray.run.steps import PLANNED, Compute, Step, T
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.step_task import StepTask

SAMPLED = 50
"""Rows of a language and split whose length is looked at."""
_PASSES = 3
"""Over the rows of an int8 step: one that looks at them, two whose labels are compared."""
SELECTED = 1 / 3
"""Share of the unlabelled text that a round is assumed to learn from."""


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
    """Looks steps up in the store instead of running them.

    Attributes:
        store: The store.
        steps: What the reader of the plan sees of each step.
        reads: Whether text is read and counted.
        sample: Some of the rows that were read.
        texts: Those of each language that are no test text.
    """

    store: Store
    reads: bool = True
    steps: list[dict[str, Any]] = field(default_factory=list)
    sample: list[Example] = field(default_factory=list)
    texts: dict[str, Sequence[Example]] = field(default_factory=dict)

    def run(
        self, step: Step[T], compute: Compute[T], *, afterwards: Callable[[], None] | None = None
    ) -> Artifact:
        """The artifact, if it is there; otherwise one that stands for it. Nothing else is done."""
        name = step.fingerprint()
        found = self.store.find(step.kind, name) if name != PLANNED else None
        if not isinstance(step.task, ReadTask):
            expected = outlook(step.task)
        else:
            expected = read_once(name, step.task) if self.reads else Outlook()
        known = found.info if found else Unknown(expected.facts)
        self.sample += expected.sample
        self.texts = {**expected.texts, **self.texts}
        self.note(step.title, step.kind, known.get("rows"), expected, cached=found is not None)
        return found or planned(step.kind, expected.facts)

    @property
    def row_passes(self) -> tuple[int, int]:
        """Rows that are trained on, once an epoch, and rows that are annotated, as far as known and
        not in the store."""
        new = [step for step in self.steps if not step["cached"]]
        return sum(step["trained"] for step in new), sum(step["annotated"] for step in new)

    def note(
        self, title: str, kind: str, rows: int | None, of: "Outlook", *, cached: bool = False
    ) -> None:
        """Put a step on the list."""
        passes = {"trained": of.trained, "annotated": of.annotated}
        entry = {"title": title, "kind": kind, "cached": cached, "rows": rows, "note": of.note}
        self.steps.append(entry | passes)


@dataclass(frozen=True)
class Outlook:
    """What is known of a step before it is computed.

    Attributes:
        note: For the reader of the plan.
        facts: What the step will say of its result.
        trained: Rows that it trains on, once an epoch.
        annotated: Rows that it annotates.
        sample: Some of the rows that it reads.
        texts: Those of each language that are no test text.
    """

    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    trained: int = 0
    annotated: int = 0
    sample: Sequence[Example] = ()
    texts: Mapping[str, Sequence[Example]] = field(default_factory=dict)


def outlook(task: StepTask) -> Outlook:
    """What is known of a step before it is computed.

    Raises:
        ValueError: it reads what cannot be read.
    """
    match task:
        case TokeniseTask() | TranslateTask() | MarkTask() | ReplaceTask():
            facts = {name: task.text.info[name] for name in ("rows", "rows_by_language")}
            note = _translated(task) if isinstance(task, TranslateTask) else ""
            return Outlook(note, facts)
        case ProjectTask():
            return _of_projection(task)
        case JoinTask():
            return _of_joining(task)
        case BringBackTask():
            rows = task.text.info["rows"]
            note = "" if rows is None else f"aligns at most {rows} sentences and their translations"
            return Outlook(note, annotated=2 * (rows or 0))
        case AskTask():
            known = task.text.info["rows"]
            note = "" if known is None else f"asks about {known} texts at most"
            return Outlook(note, facts={"rows": known})
        case MeanTask():
            return Outlook(f"of {len(task.models)} models")
        case TrainTask() if task.start.kind == MeanTask.kind:
            return Outlook("no step is taken, source dev is scored")
        case TrainTask():
            return _of_training(task)
        case Int8Task():
            note = f"{task.rows} sentences tell its scales"
            return Outlook(note, annotated=_PASSES * task.rows)
        case AnnotateTask():
            rows, most = _rows(task.corpus), "at most " if task.corpus.removed else ""
            note = f"{most}{rows} sentences" if rows is not None else ""
            return Outlook(note, annotated=rows or 0)
    return Outlook()


_read: dict[str, Outlook] = {}
"""What was read lately, by fingerprint: the rows of a comparison read the same text."""
_READINGS = 64
"""How many of them are kept."""


def read_once(name: str, task: ReadTask) -> Outlook:
    """What a run would read, counted; again only if it has changed.

    Args:
        name: Fingerprint of the step, which holds the content of its files.
        task: What is read.

    Raises:
        ValueError: it cannot be read.
    """
    if name not in _read:
        while len(_read) >= _READINGS:
            del _read[next(iter(_read))]
        _read[name] = _of_reading(task)
    return _read[name]


def _of_reading(task: ReadTask) -> Outlook:
    """Reads what a run would read, and counts it."""
    counts, bad, sample = dict[str, int](), 0, list[Example]()
    texts = dict[str, list[Example]]()
    for source in (item.source for item in task.sources):
        rows, wrong = 0, list[BadRow]()
        for item in source.examples(task.labels, task.limits[source.split]):
            if isinstance(item, BadRow):
                wrong.append(item)
            else:
                rows += 1
                if rows <= SAMPLED:
                    sample.append(item)
                    if source.split != "test":
                        texts.setdefault(source.language, []).append(item)
        most, key = task.max_bad_fraction, key_of(source)
        check_bad_fraction(wrong, total=rows + len(wrong), max_fraction=most, key=key)
        counts[source.language] = rows
        bad += len(wrong)
    facts = {"rows": sum(counts.values()), "rows_by_language": counts}
    note = f"{bad} to quarantine" if bad else ""
    return Outlook(note, facts, sample=sample, texts=texts)


def _translated(task: TranslateTask) -> str:
    rows, routes = task.text.info["rows"], task.routes
    known = "texts" if rows is None else f"at most {rows} texts"
    goals = ", ".join(dict.fromkeys(route.target for route in routes.values()))
    by = "a checkpoint" if any(x.model for x in routes.values()) else "the ready translations"
    return f"{known} of {', '.join(routes)} into {goals} by {by}"


def _of_projection(task: ProjectTask) -> Outlook:
    rows = task.gold.info["rows"]
    known = "rows not known" if rows is None else f"at most {rows} rows"
    ways = [name for name, there in (("markers", task.marked), ("alignment", task.encoder))
            if there is not None]  # fmt: skip
    note = f"{known}, labels by {' or '.join(ways)}" if ways else f"{known}, with their labels"
    encoded = 0 if task.encoder is None else (rows or 0) * (2 + (task.marked is not None))
    return Outlook(note, {"rows": rows}, annotated=encoded)


def _of_joining(task: JoinTask) -> Outlook:
    counts = dict(task.text.info["rows_by_language"] or {})
    more = {name: found.info["rows"] for name, found in task.projections.items()}
    if not counts or None in more.values():
        return Outlook()
    translated = {name: rows * task.weight for name, rows in more.items()}
    for name, rows in translated.items():
        counts[name] = counts.get(name, 0) + rows
    told = ", ".join(f"{rows} in {name}" for name, rows in translated.items())
    facts = {"rows": sum(counts.values()), "rows_by_language": counts, "translated": translated}
    return Outlook(f"at most {told}", facts)


def _of_training(task: TrainTask) -> Outlook:
    schedule, batch = task.schedule, task.batch_size
    rows = [_rows(part) for part in task.mix.parts]
    known = sum(item for item in rows if item is not None)
    more = " and what is selected" if None in rows else ""
    size = "sentences not known" if rows[0] is None else f"{known} sentences{more}"
    assumed = sum(_whole(part) * SELECTED for part, n in zip(task.mix.parts, rows, strict=True)
                  if n is None)  # fmt: skip
    seen = round((known + assumed) * (schedule.epochs or 0))
    passes = seen if schedule.epochs else (schedule.steps or 0) * batch
    long = f"up to {schedule.epochs} epochs"
    if not schedule.epochs:
        long = "steps not known" if schedule.steps is None else f"{schedule.steps} steps"
    note = f"{size}, {long}, batch {batch}, lr {schedule.lr:g}"
    return Outlook(note, trained=passes * (1 if task.mix.paired is None else 2))


class DryRun(RunPolicy):
    """Follows a recipe, reading what can be read and noting what is missing.

    Args:
        store: Where steps are looked up.
        plan: What the run would ask the cluster for.
        earlier_runs: Runs that will be finished before this one begins.
        judges_left_out: As of the run.
        reads: Whether it reads text, to see some of it.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        earlier_runs: Collection[str] = (),
        *,
        judges_left_out: bool = False,
        reads: bool = True,
    ):
        self.runner, self.plan, self.earlier_runs = PlanRunner(store, reads), plan, earlier_runs
        self.judges_left_out = judges_left_out
        self.trainings = 1
        """Train steps that a run would have at work at a time."""
        self._missing: dict[str, list[str]] = {}

    def driver(self, config: RunConfig[Any]) -> RayDriver:
        """A driver whose steps are only looked up."""
        return RayDriver(config, self.runner, self.plan, self)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What the reader of the plan sees of each step."""
        return self.runner.steps

    @property
    def missing(self) -> list[str]:
        """What a run would fail for: the steps that need it, and the reason."""
        return [f"{', '.join(titles)}: {why}" for why, titles in self._missing.items()]

    def backbone(self, find: Callable[[], Model]) -> Model:
        """The encoder, or what stands for it."""
        try:
            return find()
        except ConfigError as error:
            why = str(error).removeprefix("backbone ")
            return Model(self._note_missing("backbone", "backbone", why))

    def start(self, reference: str, find: Callable[[], Start]) -> Start:
        """What a run begins with; nothing is known yet of a run that is still to come."""
        try:
            return find()
        except ConfigError as error:
            if reference not in self.earlier_runs:
                self._note_missing("start", "backbone", str(error))
            return Start(Model(planned("model", {})))

    def unreadable(self, title: str, kind: str, error: ValueError) -> Artifact:
        """What stands for it."""
        return self._note_missing(title, kind, str(error))

    def together(self, calls: Sequence[Callable[[], R]], most: int) -> list[R]:
        """The calls, one after the other, noting how many a run would have at work."""
        self.trainings = max(self.trainings, min(len(calls), most))
        return [call() for call in calls]

    def beside(self, read: Callable[[], object], call: Callable[[], R]) -> R:
        """First what is read, then the call, so that a plan has one order."""
        read()
        return call()

    def _note_missing(self, title: str, kind: str, why: str) -> Artifact:
        """Note that a run would fail for want of something; gives what stands for it."""
        self._missing.setdefault(why, []).append(title)
        self.runner.note(title, kind, None, Outlook("missing"))
        return planned(kind, {})


def _whole(part: Corpus) -> int:
    """Rows of the text behind a view, where they are known."""
    return part.tokens.info.get("rows") or 0


def _rows(part: Corpus) -> int | None:
    """Rows of a view as far as they are known; of one language at most all that it has."""
    rows, by_language = part.tokens.info.get("rows"), part.tokens.info.get("rows_by_language")
    if part.language is not None:
        rows = None if by_language is None else by_language[part.language]
    if part.labels is not None and part.labels.kind != "annotation":  # which has them all
        labelled = part.labels.info.get("rows")
        rows = None if labelled is None else labelled if rows is None else min(rows, labelled)
    if rows is None:
        return None
    own = (part.labels.info.get("translated") if part.labels else None) or {}
    always = sum((by_language or {}).get(name, 0) - own.get(name, 0) for name in part.spared)
    return always + share_of(part.fraction, rows - always)


def text_of(dry: DryRun) -> str:
    """The plan as the user reads it: steps, resources, what is missing."""
    lines = [f"{'':4} {'step':34} {'kind':11} {'state':8} {'rows':>9}  note"]
    for number, step in enumerate(dry.steps, start=1):
        rows = "" if step["rows"] is None else step["rows"]
        state = "cached" if step["cached"] else "to run"
        line = (
            f"{number:4} {step['title']:34} {step['kind']:11} {state:8} {rows!s:>9}  {step['note']}"
        )
        lines.append(line.rstrip())
    plan, pool = dry.plan, dry.plan.annotators
    size = (
        f"{pool.smallest}" if pool.smallest == pool.largest else f"{pool.smallest}-{pool.largest}"
    )
    actors = f"{size}, each {pool.cpus} CPUs and {pool.gpus:g} GPUs"
    if not pool.largest:
        actors = f"in the driver's process, {pool.cpus} CPUs"
    cpus, gpus = replace(plan, trainings=dry.trainings).most
    where = f"{plan.train_workers} workers" if plan.train_workers else "in the driver's process"
    if plan.fewest is not None:
        where += f" on {plan.fewest} to {plan.train_workers} processes"
    lines += [
        "",
        f"annotators: {actors}",
        f"training: {where}, each {plan.train_cpus} CPUs and {plan.train_gpus:g} GPUs",
        f"at most at a time: {cpus:g} CPUs and {gpus:g} GPUs",
        f"store: {dry.runner.store.root}",
        "",
    ]
    lines += [f"missing: {text}" for text in dry.missing] or ["missing: nothing"]
    return "\n".join(lines)
