"""The durable steps that label files: read, tokenise, annotate; then each file is written anew."""

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from xlt_ray.commands.confidence import ConfidentPosterior, channel_of
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.data.readers.faults import Faults
from xlt_ray.data.readers.globs import absolute
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import BadRow
from xlt_ray.engine.annotate import AnnotateTask, run_annotate
from xlt_ray.engine.backbone import Backbone, run_write
from xlt_ray.engine.read import ReadText, TokeniseTask, run_read, run_tokenise
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.write_predictions import WriteTask
from xlt_ray.labels import LabelSet
from xlt_ray.methods.shared.sources import MOST_DENSE, SourceLabels
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Model
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.int8 import Graphs, text_of_run
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import Artifact

if TYPE_CHECKING:
    from xlt_ray.commands.predict import PredictConfig
    from xlt_ray.run.session import Session

SPLIT = "unlabelled"


@dataclass(frozen=True)
class Labelled:
    """Text of files that is labelled.

    Attributes:
        sources: What each file is read from.
        text: Their rows that could be read.
        annotation: What the model says of these.
    """

    sources: tuple[NamedSource, ...]
    text: Artifact
    annotation: Artifact


def sources_of(config: "PredictConfig") -> tuple[NamedSource, ...]:
    """Each file as a source of its own, as it is now.

    Raises:
        ValueError: one of them cannot be read.
    """
    task = config.finished.task
    found = [
        UserSource(
            (absolute(file.place),),
            file.key,
            SPLIT,
            task,
            columns=config.columns,
            cut=config.words,
            ids=False,
            row_bytes=config.data.max_row_bytes,
            called="predict.files",
        )
        for file in config.files
    ]
    return tuple(NamedSource.of(source) for source in found)


def label(config: "PredictConfig", begun: "Session") -> Labelled:
    """Read, tokenise and annotate the text of all files.

    Raises:
        ValueError: a file cannot be read, or has too many bad rows.
    """
    runner, plan, finished = begun.runner, begun.plan, config.finished
    reading = ReadText(
        sources=sources_of(config),
        task=finished.task,
        limits={SPLIT: None},
        shard_rows=plan.shard_rows,
        max_bad_fraction=config.data.max_bad_fraction,
    )
    text = runner.run(Step("text", reading), run_read)
    model = model_of(finished.model, config.section.model, begun)
    tokenising = TokeniseTask(text=text, backbone=model, task=finished.task)
    tokens = runner.run(Step("tokens", tokenising), run_tokenise)
    context = TaskContext(LabelSet(finished.labels), (), task=finished.task)

    graphs = Graphs(runner, context, dim_reduce=finished.dim_reduce, max_length=finished.max_length)
    in_int8 = plan.annotation.precision == "int8"
    told = tokens
    if in_int8 and isinstance(finished.model, Model):
        told = text_of_run(runner.store, config.section.model) or tokens

    def annotated(title: str, corpus: Corpus, model: Artifact, annotator: Annotator) -> Artifact:
        spans = annotator.span_head
        graph = graphs.of(title, model, told, spans) if in_int8 else None
        annotating = AnnotateTask(
            corpus=corpus,
            model=model,
            annotator=annotator,
            context=context,
            dim_reduce=finished.dim_reduce,
            max_length=finished.max_length,
            batch_tokens=plan.batch_tokens,
            arithmetic=plan.annotation,
            compiled=config.resources.compile,
            graph=graph,
        )
        limit = config.data.max_fatal_rows
        compute = partial(run_annotate, pool=plan.annotators, limit=limit)
        return runner.run(Step(title, annotating), compute)

    corpus, annotator = Corpus(tokens), finished.annotator
    if finished.with_sources is not None and not config.section.alone:
        helped = finished.with_sources
        asked = SourceLabels(top=MOST_DENSE if helped.many else None)
        channel = channel_of(helped.channel)
        columns = asked.columns(context.num_classes) if channel.soft else ("labels",)
        corpus = corpus.with_columns(*(
            JoinedColumns(name, annotated(f"by {name}", corpus, source.artifact, asked), columns)
            for name, source in helped.sources.items()
        ))  # fmt: skip
        annotator = ConfidentPosterior(channel)
    return Labelled(reading.sources, text, annotated("predictions", corpus, model, annotator))


def faults_of(text: Artifact) -> Faults:
    """Why rows of a text could not be read."""
    faults = Faults()
    for name in text.names:
        if name.startswith("quarantine-"):
            for line in text.read(name).splitlines():
                found = json.loads(line)
                faults.add(BadRow(found["file"], found["line"], found["reason"]))
    return faults


def model_of(model: Model | Backbone, name: str, begun: "Session") -> Artifact:
    """A model in the store; one that is in a folder is copied.

    Args:
        model: The model.
        name: What the configuration calls it.
        begun: Runs the step.
    """
    if not isinstance(model, Backbone):
        return model.artifact
    return begun.runner.run(Step(f"model {name}", model), run_write)


def writing(config: "PredictConfig", labelled: Labelled) -> WriteTask:
    """What is left to do: every file with what is said of it."""
    shards: dict[str, list[str]] = {file.key: [] for file in config.files}
    for shard in shards_of(labelled.text):
        shards[shard.language].append(shard.name)
    return WriteTask(
        sources=labelled.sources,
        shards=list(shards.values()),
        names=[file.name for file in config.files],
        annotation=labelled.annotation,
        labels=config.finished.labels,
        columns=config.finished.annotator.columns,
        to=config.section.to,
        format=config.section.format,  # type: ignore[arg-type]
    )
