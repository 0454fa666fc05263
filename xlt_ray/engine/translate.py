"""Translate steps: text of some languages, row by row, as text of another language.

The text is translated by seq2seq checkpoints in a pool of actors, a shard at a time, or looked up
in translations that the user has. A translated text artifact has the rows of the original with
their ids, in files of one shard each, so that labels and annotations of the rows fit it. A row that
kills whoever translates it is left out; `xlt_ray.engine.isolation` finds it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import first_line
from xlt_ray.data.quarantine import LostRow, in_order, lost_rows, write_lost
from xlt_ray.data.schema import Task
from xlt_ray.engine.arithmetic import Arithmetic, autocast
from xlt_ray.engine.backbone import Backbone
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.models.translator import Translator
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.files import open_root
from xlt_ray.store.parquet import open_parquet
from xlt_ray.store.step_task import StepTask

COLUMNS: dict[Task, tuple[str, ...]] = {"sentence": ("text",), "pair": ("text", "text_pair")}
"""Columns of the text of a row, by task; words of token tasks would lose their labels."""

Ready = str
"""Columns of ready translations: into the pivot language; there and back; that into the pivot,
back, and into the pivot once more; or the language that they are in."""


@dataclass(frozen=True)
class Route:
    """How texts of one language are translated.

    Attributes:
        source: Language that they are in.
        target: Language that they are translated into.
        model: Checkpoint that does it; None: they are looked up.
        ready: Table of translations, with ``text`` and a column of that name.
        column: The column that is looked up.
        must: Whether a text without a translation is an error; else its row is left out.
    """

    source: str
    target: str
    model: Artifact | None = None
    ready: Artifact | None = None
    column: Ready = "back"
    must: bool = False


@dataclass(frozen=True, kw_only=True)
class TranslateTask(StepTask):
    """Everything an actor needs; it travels by value.

    Attributes:
        text: The text.
        task: Kind of task.
        routes: How the text of each language is translated.
        whole: Whether text of other languages is copied as it is; else it is left out.
        codes: What checkpoints call languages.
        beams: Beams of the search.
        max_new_tokens: Longest translation in sub-words.
        batch_tokens: Token budget of a batch.
        arithmetic: How an actor computes.
        keeps_blank: Whether a blank translation stays blank; else it is the text itself.
    """

    kind = "translation"
    resumes = True

    text: Artifact
    task: Task
    routes: Mapping[str, Route]
    whole: bool
    codes: Mapping[str, str]
    beams: int
    max_new_tokens: int
    batch_tokens: int
    arithmetic: Arithmetic
    keeps_blank: bool = False

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text, and what translates it."""
        used = (route.model or route.ready for route in self.routes.values())
        return (self.text, *(artifact for artifact in used if artifact is not None))

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and that of the translator."""
        return (__name__, "xlt_ray.models.translator")


class ShardTranslator:
    """One actor: loads the checkpoint of a language when it is needed, then turns shards into
    files."""

    def __init__(self, task: TranslateTask):
        self.task = task
        self.shards = {shard.text_name: shard for shard in shards_of(task.text)}
        self.device = task.arithmetic.take()
        self.loaded: tuple[Artifact, Translator] | None = None
        self.language: str | None = None
        self.ready: dict[str, str] = {}

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Translate shards by name."""
        for name in shards["shard"]:
            self.shard(str(name))
        return shards

    def shard(self, name: str) -> None:
        """Translate one shard and write its file."""
        rows = self.shards[name].rows(self.task.text)
        self.task.out.write_table(name, self.translation(name, rows))

    def translation(self, name: str, rows: pa.Table) -> pa.Table:
        """What the file of a shard has of some of its rows."""
        language = self.shards[name].language
        if language not in self.task.routes:
            return rows
        return self.translated(rows, self.task.routes[language], language)

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard, each as it is known if it is lost."""
        shard = self.shards[name]
        ids = shard.rows(self.task.text)["id"].to_pylist()
        return [LostRow(id, shard.language, name, at) for at, id in enumerate(ids, start=1)]

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        """Some rows of a shard in translation."""
        rows = self.shards[name].rows(self.task.text)
        return self.translation(name, rows.take(pa.array(range(start, stop), pa.int64())))

    def translated(self, rows: pa.Table, route: Route, language: str) -> pa.Table:
        """The rows in the other language, without those that have no translation."""
        columns = COLUMNS[self.task.task]
        texts = list(dict.fromkeys(x for name in columns for x in rows[name].to_pylist()))
        found = self.translations(texts, route, language)
        known = [all(rows[name][i].as_py() in found for name in columns) for i in range(len(rows))]
        if route.must and not all(known):
            first = rows["id"][known.index(False)].as_py()
            raise ValueError(
                f"translation.ready: {known.count(False)} rows of {language} have no "
                f"{route.column} translation, such as {first}"
            )
        rows = rows.filter(pa.array(known, pa.bool_()))
        for name in columns:
            texts = pa.array([found[text] for text in rows[name].to_pylist()], pa.string())
            rows = rows.set_column(rows.column_names.index(name), name, texts)
        return rows

    def translations(self, texts: Sequence[str], route: Route, language: str) -> dict[str, str]:
        """Translation of each text that has one; one that is blank stays so, or is the text."""
        if route.model is not None:
            given = dict(zip(texts, self.of(route.model, route)(texts), strict=True))
        else:
            assert route.ready is not None
            if self.language != language:
                self.language = language
                table = route.ready.shard(f"{language}.parquet")
                columns = (table[name].to_pylist() for name in ("text", route.column))
                self.ready = dict(zip(*columns, strict=True))
            given = {text: self.ready[text] for text in texts if self.ready.get(text) is not None}
        if self.task.keeps_blank:
            return given
        return {text: translation if translation.strip() else text
                for text, translation in given.items()}  # fmt: skip

    def of(self, model: Artifact, route: Route) -> Translator:
        """The translator of a route; a checkpoint of many languages is loaded once for all."""
        task = self.task
        if self.loaded is None or self.loaded[0].identity != model.identity:
            translator = Translator(
                model.local(),
                route.source,
                route.target,
                codes=task.codes,
                beams=task.beams,
                max_new_tokens=task.max_new_tokens,
                budget=task.batch_tokens,
                device=self.device,
                arithmetic=partial(autocast, self.device, task.arithmetic.precision),
            )
            self.loaded = model, translator
        _, translator = self.loaded
        translator.speak(route.source, route.target, task.codes)
        return translator


def run_translate(task: TranslateTask, pool: Pool, *, limit: int) -> dict[str, Any]:
    """Translate every shard of the text; returns facts for the manifest.

    Args:
        task: The step.
        pool: The actors.
        limit: Rows that may be lost, since they kill whoever translates them.

    Raises:
        RuntimeError: an actor failed for good, or whatever is translated kills; the message is why.
        ConfigError: more rows kill than may be lost.
    """
    shards = [x for x in shards_of(task.text) if task.whole or x.language in task.routes]
    lost = write_all(ShardTranslator, task, pool, [x.text_name for x in shards], limit=limit)
    rows: dict[str, int] = {}
    for shard in shards:
        count = task.out.rows(shard.text_name)
        rows[shard.language] = rows.get(shard.language, 0) + count
    facts = {"rows": sum(rows.values()), "rows_by_language": rows, "shards": len(shards)}
    if lost and not facts["rows"]:
        raise RuntimeError(f"all {len(lost)} rows kill the process that translates them")
    write_lost(task.out, in_order([*lost, *lost_rows(task.text)]))
    return {**facts, "quarantined": len(lost)} if lost else facts


def ready_of(root: str, languages: Sequence[str], column: Ready) -> tuple[Backbone, list[str]]:
    """Find the user's translations, and the languages that have some.

    Args:
        root: Folder or URI of ``<language>.parquet``.
        languages: Languages that are looked for.
        column: Column that will be looked up.

    Raises:
        ConfigError: there is no such folder or no file of any language, or a file lacks a column.
    """
    fs, folder = open_root(root, "translation.ready")
    files = {language: f"{folder}/{language}.parquet" for language in languages}
    infos = fs.get_file_info(list(files.values()))
    there = [name for name, info in zip(files, infos, strict=True) if info.is_file]
    if not there:
        raise ConfigError(
            f"translation.ready: {root} has no <language>.parquet of {', '.join(languages)}"
        )
    sums, tables = {}, {}
    for language in there:
        with fs.open_input_file(files[language]) as stream:
            data = stream.read()
        sums[language] = hashlib.sha256(data).hexdigest()
        tables[language] = _checked(data, f"{root}/{language}.parquet", column)

    def write(attempt: Attempt) -> dict[str, Any]:
        for language, table in tables.items():
            attempt.write_table(f"{language}.parquet", table)
        return {"rows": sum(len(table) for table in tables.values())}

    identity = {"ready": sums, "column": column}
    return Backbone(identity=identity, code=(__name__,), write=write), there


def offering(root: str, languages: Sequence[str], column: Ready) -> list[str]:
    """Languages whose ready translations have a column.

    Args:
        root: Folder or URI of ``<language>.parquet``.
        languages: Languages that are looked for.
        column: The column.

    Raises:
        ConfigError: there is no such folder.
    """
    fs, folder = open_root(root, "translation.ready")
    found = list[str]()
    for language in languages:
        path = f"{folder}/{language}.parquet"
        if not fs.get_file_info(path).is_file:
            continue
        with fs.open_input_file(path) as stream:
            file = open_parquet(stream, f"translation.ready: {root}/{language}.parquet")
            if column in file.schema_arrow.names:
                found.append(language)
    return found


def _checked(data: bytes, where: str, column: Ready) -> pa.Table:
    schema = pa.schema([("text", pa.string()), (column, pa.string())])
    try:
        file = open_parquet(pa.BufferReader(data), f"translation.ready: {where}")
        for name in schema.names:
            kinds = [str(item.type) for item in file.schema_arrow if item.name == name]
            if kinds not in (["string"], ["large_string"]):
                there = ", ".join(f"{item.name} ({item.type})" for item in file.schema_arrow)
                needed = f"needs a column {name!r} of strings, there are {there}"
                raise ConfigError(f"translation.ready: {where}: {needed}")
        table = file.read(schema.names).select(schema.names).cast(schema)
        table.validate(full=True)  # also that texts are UTF-8
    except (OSError, pa.ArrowException) as error:
        reason = f"no Parquet file ({first_line(error)})"
        raise ConfigError(f"translation.ready: {where}: {reason}") from None
    return table
