"""Labels of a labeller that is called: any Python class over batches of texts.

Actors ask about the texts of the shards, each text once, however often it is there; answers go into
the cache of `xlt_ray.engine.answers` one by one. A call that fails, takes too long or gives
nonsense is made again, later and for each of its texts by itself. A text that remains without an
answer is quarantined: the labeller has no vote about it, and the others still have. When all texts
were asked about, the votes are written shard by shard from the cache.
"""

import json
import queue
import threading
import time
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any

import pyarrow as pa

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.quarantine import FATAL, LostRow
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.readers.votes import Vote, own_fields, vote_of
from xlt_ray.data.schema import Task
from xlt_ray.engine.answers import Answers, key_of
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.text_shards import TextShard, shards_of
from xlt_ray.engine.votes import write_votes
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.fingerprint import RUNTIME
from xlt_ray.store.step_task import StepTask

ASKED = ".asked"
"""Ending of the files that say which texts of a shard have no answer; no Parquet by its name, so
that a step that is begun again asks about these texts once more."""
ENOUGH = 8
"""Texts without an answer, and none with one, after which a labeller is given up."""
_REASON = 500
"""Letters of a reason at most."""

Question = dict[str, Any]
"""``language``, and ``tokens`` or ``text`` and perhaps ``text_pair``."""


@dataclass(frozen=True, kw_only=True)
class AskTask(StepTask):
    """Everything an actor needs to ask a labeller; it travels by value.

    Attributes:
        text: The text.
        languages: Languages of the rows that are asked about.
        task: Kind of task.
        labels: Classes of the task.
        name: What the labeller is called.
        call: Name of the class.
        code: Hash of the code that it is in.
        args: Arguments of the class.
        version: What else tells its answers from others.
        module: Module that has the class, or name of the file that it is in.
        source: Code of the file; None: the class is in a module.
        batch_size: Texts of a call.
        timeout: Seconds that a call may take.
        retries: Further calls about a text whose call failed.
        wait: Seconds before the second call; twice as long before each further one.
        max_bad_fraction: Share of the texts that may be without an answer.
        skipped: By shard, keys of the texts that an earlier shard has, too.
    """

    kind = "annotation"
    resumes = True

    text: Artifact
    languages: tuple[str, ...]
    task: Task
    labels: LabelSet
    name: str
    call: str
    code: str
    args: Mapping[str, Any]
    version: str
    module: str = field(metadata=RUNTIME)
    source: str | None = field(metadata=RUNTIME)
    batch_size: int = field(metadata=RUNTIME)
    timeout: float = field(metadata=RUNTIME)
    retries: int = field(metadata=RUNTIME)
    wait: float = field(metadata=RUNTIME)
    max_bad_fraction: float = field(metadata=RUNTIME)
    skipped: Mapping[str, frozenset[str]] = field(default_factory=dict, metadata=RUNTIME)

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text."""
        return (self.text,)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)

    @property
    def answers(self) -> Answers:
        """What the labeller has said already."""
        labeller = {
            "call": self.call,
            "code": self.code,
            "args": dict(self.args),
            "version": self.version,
            "task": self.task,
            "labels": list(self.labels.names),
        }
        return Answers(self.out.root, labeller)

    @property
    def shards(self) -> list[TextShard]:
        """The shards that are asked about."""
        return [shard for shard in shards_of(self.text) if shard.language in self.languages]


def labeller_of(task: AskTask) -> Any:
    """The class, made with its arguments.

    Raises:
        ConfigError: there is no such class, or it does not take them.
    """
    key = f"labellers.{task.name}"
    if task.source is None:
        module = import_module(task.module)
    else:  # code that the user named; it travels with the task, so that every node has it
        module = types.ModuleType("labeller")
        module.__file__ = task.module
        exec(compile(task.source, task.module, "exec"), module.__dict__)
    found = getattr(module, task.call, None)
    if not callable(found):
        raise ConfigError(f"{key}.call: {task.module} has no class {task.call}")
    options = {"timeout": task.timeout} if getattr(found, "times_out", False) else {}
    try:
        return found(labels=task.labels.names, task=task.task, **options, **task.args)
    except TypeError as error:
        raise ConfigError(f"{key}.args: {task.call}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}") from None


class ShardAsker:
    """One actor: asks about the texts of shards; the labeller is made when it is needed."""

    def __init__(self, task: AskTask):
        self.task = task
        self.answers = task.answers
        self.shards = {asked(shard): shard for shard in task.shards}
        self.labeller: Any = None
        self.answered, self.unanswered = 0, 0

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Ask about shards by name."""
        for name in map(str, shards["shard"]):
            rows = self._rows(name)
            self.task.out.write_table(name, self.asked(name, rows))
        return shards

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard, each as it is known if it is lost."""
        language = self.shards[name].language
        ids = [row["id"] for row in self._rows(name)]
        return [LostRow(id, language, name, at) for at, id in enumerate(ids, start=1)]

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        """Ask about some rows of a shard."""
        return self.asked(name, self._rows(name)[start:stop])

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return self.shards[name].rows(self.task.text).to_pylist()

    def asked(self, name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Ask about the texts of some rows; returns the keys of those without an answer, and why.

        Raises:
            RuntimeError: the labeller has not answered at all.
        """
        task = self.task
        questions = {key_of(x): x for x in map(question_of, rows)}
        skipped = task.skipped.get(name, frozenset())
        known = self.answers.of(key for key in questions if key not in skipped)
        self.answered += len(known)
        pending = [x for x in questions.items() if x[0] not in known and x[0] not in skipped]
        why = dict[str, str]()
        for attempt in range(task.retries + 1):
            if attempt and pending:
                time.sleep(task.wait * 2 ** (attempt - 1))
            size, left = task.batch_size if attempt == 0 else 1, list[tuple[str, Question]]()
            for at in range(0, len(pending), size):
                batch = pending[at : at + size]
                for item, reason in zip(batch, self._ask(batch), strict=True):
                    if reason is not None:
                        why[item[0]] = reason
                        left.append(item)
            pending = left
        self.answered += len(questions) - len(known) - len(skipped & set(questions)) - len(pending)
        self.unanswered += len(pending)
        if not self.answered and self.unanswered >= ENOUGH:
            raise RuntimeError(
                f"labellers.{task.name}: it has answered none of {self.unanswered} texts; the last "
                f"reason: {why[pending[-1][0]] if pending else 'none'}"
            )
        keys = [key for key, _ in pending]
        return pa.table({
            "key": pa.array(keys, pa.string()),
            "reason": pa.array([why[key] for key in keys], pa.string()),
        })  # fmt: skip

    def _ask(self, batch: Sequence[tuple[str, Question]]) -> list[str | None]:
        """Ask about some texts, and keep what is said; returns for each why it has no answer."""
        reasons: list[str | None] = ["the call ended before it came to this text"] * len(batch)
        try:
            if self.labeller is None:
                self.labeller = labeller_of(self.task)
            seconds = self.task.timeout
            if getattr(self.labeller, "times_out", False):  # each text by itself
                seconds *= len(batch) + 1
            given = within(self.labeller, [dict(item) for _, item in batch], seconds)
            for at, answer in enumerate(given):
                if at >= len(batch):  # nobody knows which answer is whose
                    self.answers.drop(key for key, _ in batch)
                    return [f"nonsense: more than {len(batch)} answers"] * len(batch)
                reasons[at] = self._keep(*batch[at], answer)
        except ConfigError:
            raise
        except TimeoutError:
            self.labeller = None  # whoever hangs may hang for ever
            reason = f"no answer within {self.task.timeout:g} seconds"
            reasons = [x and reason for x in reasons]
        except Exception as error:  # whatever code of others raises is a reason to ask again
            reasons = [x and _said(error) for x in reasons]
        return reasons

    def _keep(self, key: str, question: Question, answer: Any) -> str | None:
        """Keep an answer that can be understood; returns why it cannot."""
        if isinstance(answer, Exception):
            if isinstance(answer, ConfigError):
                raise answer
            return _said(answer)
        try:
            vote_in(self.task, question, answer)
            self.answers.put(key, answer)
        except (RowError, TypeError, ValueError) as error:
            return f"nonsense: {_said(error)}"
        return None


def vote_in(task: AskTask, question: Question, answer: Any) -> Vote | None:
    """What an answer says, as numbers; None: nothing.

    Args:
        task: Whose classes it is about.
        question: The text.
        answer: None; the labels of the words, or the label of the text; or a mapping with
            ``labels``, ``label`` or ``entities``, and perhaps ``confidence`` or ``probs``.

    Raises:
        RowError: it cannot be understood.
    """
    if answer is None:
        return None
    record = answer if isinstance(answer, Mapping) else {"labels": answer}
    known = {"labels", "label", "entities", "confidence", "probs", "text"}
    if others := sorted(set(map(str, record)) - known):
        raise RowError(f"fields {', '.join(others)}; allowed: {', '.join(sorted(known))}")
    own = own_fields(record, task.name, None)
    if own is None:
        raise RowError("neither labels, entities nor probs; no vote is None")
    said = {"text": record.get("text", question.get("text"))}
    return vote_of(own, question, task.task, task.labels, said)


def within(call: Any, texts: list[Question], seconds: float) -> Iterator[Any]:
    """The answers of a call, as they come.

    Raises:
        TimeoutError: there are not all of them within so many seconds.
        Exception: what the call raises.
    """
    came: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers = call(texts)
            if isinstance(answers, str | bytes | Mapping) or not isinstance(answers, Iterable):
                raise TypeError(f"{type(answers).__name__}, needed: an answer for each text")
            if isinstance(answers, Sequence) and len(answers) != len(texts):
                raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
            for answer in answers:
                came.put(("answer", answer))
            came.put(("end", None))
        except BaseException as error:
            came.put(("error", error))

    threading.Thread(target=work, daemon=True).start()
    until = time.monotonic() + seconds
    while True:
        try:
            kind, value = came.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if kind == "end":
            return
        if kind == "error":
            raise value if isinstance(value, Exception) else RuntimeError(_said(value))
        yield value


def question_of(row: Mapping[str, Any]) -> Question:
    """A row of the text as it is asked about: without its id, so that equal texts are one."""
    names = ("language", "tokens", "text", "text_pair")
    return {name: row[name] for name in names if row.get(name) is not None}


def asked(shard: TextShard) -> str:
    """The file that says which texts of a shard have no answer."""
    return f"{shard.name.removesuffix('.parquet')}{ASKED}"


def run_ask(task: AskTask, pool: Pool, *, limit: int) -> dict[str, Any]:
    """Ask about every text, then write what was answered; returns facts for the manifest.

    Args:
        task: The step.
        pool: The actors.
        limit: Rows that may kill whoever asks about them.

    Raises:
        RuntimeError: the labeller does not answer, or too few texts are answered.
        ConfigError: its class cannot be made, or refuses to be asked.
    """
    shards = task.shards
    task.answers.describe()
    names = [asked(shard) for shard in shards]
    lost = write_all(ShardAsker, replace(task, skipped=_repeated(task)), pool, names, limit=limit)
    fatal, reasons = {row.id for row in lost}, dict[str, str]()
    for name in names:
        table = task.out.table(name)
        reasons |= dict(zip(*(table[x].to_pylist() for x in ("key", "reason")), strict=True))
    bad, abstained, total = list[LostRow](), 0, 0
    answers = dict[str, Any]()
    place = {asked(shard): shard for shard in shards}
    for name, shard in place.items():
        rows = shard.rows(task.text).to_pylist()
        keys = [key_of(question_of(row)) for row in rows]
        answers = task.answers.of(dict.fromkeys(keys))
        total += len(rows)
        for line, (row, key) in enumerate(zip(rows, keys, strict=True), start=1):
            if key in answers:
                abstained += answers[key] is None
                continue
            reason = FATAL if row["id"] in fatal else reasons.get(key, FATAL)
            bad.append(LostRow(row["id"], shard.language, name, line, reason))
    if len(bad) > task.max_bad_fraction * total:
        first = "".join(f"\n  {row.id}: {row.reason}" for row in bad[:3])
        raise RuntimeError(
            f"labellers.{task.name}: {len(bad)} of {total} texts have no answer "
            f"({len(bad) / total:.1%}, labellers.{task.name}.max_bad_fraction is "
            f"{task.max_bad_fraction:.1%}); answers are kept, the same command asks about the rest "
            f"again; the first:{first}"
        )
    lines = [json.dumps(_without_id(row), ensure_ascii=False) + "\n" for row in bad]
    task.out.write(f"quarantine-{task.name}.jsonl", "".join(lines).encode())
    facts = _written(task)
    return {**facts, "abstained": abstained, "quarantined": len(bad)}


def _written(task: AskTask) -> dict[str, Any]:
    """Write the votes of every shard, of answers in the cache."""
    answers = task.answers

    def known(rows: Sequence[Mapping[str, Any]]) -> list[Vote | None]:
        questions = [question_of(row) for row in rows]
        keys = [key_of(item) for item in questions]
        found = answers.of(dict.fromkeys(keys))
        return [
            vote_in(task, item, found[key]) if key in found else None
            for item, key in zip(questions, keys, strict=True)
        ]

    return write_votes(task.out, task.text, task.languages, len(task.labels), known)


def _repeated(task: AskTask) -> dict[str, frozenset[str]]:
    """By shard, keys of the texts that an earlier one has, too."""
    seen, found = set[str](), dict[str, frozenset[str]]()
    for shard in task.shards:
        keys = {key_of(question_of(row)) for row in shard.rows(task.text).to_pylist()}
        if again := keys & seen:
            found[asked(shard)] = frozenset(again)
        seen |= keys
    return found


def _without_id(row: LostRow) -> dict[str, Any]:
    """A row as quarantine shows it. It stays a row of the text, so it has no field ``id``, by which
    later steps know rows that they have to do without."""
    found = asdict(row)
    return {"row": found.pop("id"), **found}


def _said(error: BaseException) -> str:
    """What an error says, in a line of bounded length and without credentials."""
    first = next(iter(str(error).splitlines()), "")
    return redacted(f"{type(error).__name__}: {first}"[:_REASON])
