"""The configuration schema: everything a run depends on, as one frozen object."""

import json
from hashlib import blake2b
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)

from xlt_ray.config.labellers import LabellerConfig, LabellerName
from xlt_ray.config.section import RUN_NAME as RUN_NAME
from xlt_ray.config.section import (
    RUNTIME,
    CappedSplit,
    Count,
    FileSplit,
    Language,
    Languages,
    Names,
    RunName,
    Section,
    Seed,
    Shares,
    Split,
    Splits,
    Text,
    Uri,
    Uris,
    Words,
    split_commas,
)
from xlt_ray.config.section import check_language as check_language
from xlt_ray.config.section import first_line as first_line
from xlt_ray.config.section import part_of as part_of
from xlt_ray.config.section import shown as shown
from xlt_ray.config.section import without_credentials as without_credentials


class BenchmarkConfig(Section, frozen=True):
    """Which labelled and unlabelled text a run uses."""

    name: Text
    """Registry name of the benchmark."""
    root: Uri | None = None
    """Folder or URI of <lang>/{train,dev,test}.txt|jsonl; absent: the hub."""
    source: Languages | None = None
    """Source languages, comma separated; absent: the benchmark's own."""
    targets: Annotated[Literal["all"] | Languages, BeforeValidator(split_commas)] = "all"
    """Target languages, comma separated, or "all"."""
    leave_one_out: bool = False
    """A source language may be a target too, which learns from the other sources alone."""
    adapt_source: bool = False
    """The source languages are adapted to their unlabelled text, too, as if they were targets."""
    dev: Languages | None = None
    """Source languages whose dev text chooses models of targets; absent: those it learns from."""
    unlabelled_split: Split | Splits | dict[Language, Split | Splits] = "dev"
    """Splits of the targets whose text is used without labels, comma separated; or as {"de":
    "test"}, dev for the others. With test, gold of the test text stays unread until the scores."""
    max_rows: Count | dict[CappedSplit, Count] | None = None
    """Cap on the sentences of every split, or one cap per split (benchmark.max_rows.train=3000);
    that of "unlabelled" is of each target's unlabelled text, whichever splits it is of, and leaves
    gold of the same splits whole."""
    revision: Text | None = None
    """Hub revision; absent: the registry's, or else the current commit, which is recorded."""
    metric: Text | None = None
    """What is scored in place of the benchmark's own metric; f1 is of entities."""
    prior: dict[Language, Literal["random"] | Shares] = Field(default_factory=dict)
    """Class shares of a language's rows, as {"de": [3, 1, 1]}, or random; others are left out."""
    prior_rows: Count | dict[Language, Count] | None = None
    """Rows at most of each split of such a language, or a cap per language; of words a half."""
    prior_seed: Seed | dict[Language, Seed] = 0
    """Seed of the rows that are left out, and of random shares; or one per language, else 0."""
    partition: int | None = Field(default=None, ge=1)
    """Train rows of each language, one's after another's in their parallel files, none in two."""
    few: Count | dict[Language, Count] | None = None
    """Labelled rows of each target that are learned from beside the source gold, or as {"sw": 50};
    drawn from its train split, or from files.paths.sw.few. Absent: none, and all of such files."""
    few_seed: Seed | None = None
    """Seed of the draw; absent: that of the run."""
    few_weight: Count = 1
    """How often each of these rows is in the gold that is learned from."""
    select_on: Literal["source", "target_dev"] = "source"
    """Dev text that chooses models: of the sources, or labelled dev rows of the targets, whose
    scores are averaged over the languages."""
    toy: dict[str, Any] = Field(default_factory=dict)
    """Options of the embedded benchmark: sizes, seed, knobs of its languages."""

    def unlabelled_splits_of(self, language: str) -> tuple[Split, ...]:
        """Splits of a language whose text is used without its labels."""
        chosen = self.unlabelled_split
        own = chosen.get(language, "dev") if isinstance(chosen, dict) else chosen
        return (own,) if isinstance(own, str) else own

    @property
    def unlabelled_splits(self) -> str:
        """The same of all languages, in words."""
        chosen = self.unlabelled_split
        if not isinstance(chosen, dict):
            return " and ".join(self.unlabelled_splits_of(""))
        names = [f"{name} {' and '.join(self.unlabelled_splits_of(name))}" for name in chosen]
        return ", ".join(names)

    def max_rows_of(self, split: FileSplit) -> int | None:
        """Cap that holds for one split, or None."""
        if split == "few":
            return None
        return self.max_rows.get(split) if isinstance(self.max_rows, dict) else self.max_rows

    @property
    def max_unlabelled(self) -> int | None:
        """Cap of a target's unlabelled text, apart from those of its splits; None: theirs hold."""
        return self.max_rows.get("unlabelled") if isinstance(self.max_rows, dict) else None


class FilesConfig(Section, frozen=True):
    """Files of the user's own, which the benchmark "files" is made of."""

    paths: dict[Language, dict[FileSplit, Uris]] = Field(default_factory=dict)
    """By language and split, comma separated, with globs: files.paths.en.train=FOLDER/*.conll.
    few: a few labelled rows of a target."""
    task: Literal["token", "sentence", "pair"] | None = None
    """What is labelled: words, sentences or pairs of them; absent: read off the training files."""
    labels: Names | None = None
    """Names of the classes, comma separated; absent: those in the training files."""
    scheme: Literal["bare", "iob1", "bio", "bioes", "bmes", "bilou"] | None = None
    """How tags of entities are written, bare: as types alone; absent: read off the training
    files."""
    types: dict[Text, Text] = Field(default_factory=dict)
    """Entity types that tags call otherwise: files.types.LOCATION=LOC; O makes them no entity."""
    columns: dict[Text, Text] = Field(default_factory=dict)
    """Fields of JSONL, CSV and Parquet files with another name: files.columns.text=review; of files
    with a word per line the numbers of columns: files.columns={token: 2, tag: -1}."""
    words: Words | dict[Language, Words] = "marks"
    """Where words of plain text end in token tasks; marks: at blanks and punctuation marks."""
    ids: bool = True
    """Whether a field id tells the rows of a file apart; false: it is left alone."""
    dev_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training rows that chooses models, in source languages without dev files."""


class MethodConfig(Section, frozen=True):
    """Base of the methods' own sections."""

    name: str
    """Name of the method."""

    @property
    def calls_parts(self) -> bool:
        """Whether a loss calls parts of the model by themselves, for which weights have to be
        whole."""
        return False

    def check_classes(self, num_classes: int) -> None:
        """Raise ValueError, beginning with its name, if a key does not fit so many classes."""


class LoraConfig(Section, frozen=True):
    """Low-rank adapters that are trained in place of the encoder."""

    rank: int = Field(default=0, ge=0)
    """Rank of the adapters; 0: there are none, and the encoder is trained. With them rounds write
    some megabytes, and the finished model has them merged."""
    alpha: float | None = Field(default=None, gt=0)
    """Scale of an adapter times its rank; absent: twice the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of an adapter's input while training."""
    targets: Literal["all", "attention"] = "all"
    """Linear layers that have one: all in the encoder's layers, or those of attention."""


class TrainConfig(Section, frozen=True):
    """How a train step optimises; the methods add learning rates and epochs."""

    batch_size: int = Field(default=32, ge=1)
    """Sentences per optimiser step, over all workers."""
    max_length: int = Field(default=128, ge=8)
    """Longest model input in sub-words, special tokens included; longer sentences are windowed."""
    max_tokens: int = Field(default=4096, ge=8)
    """Token budget (rows x longest) of one forward pass; more is accumulated."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW weight decay (not on biases and layer norms)."""
    head_lr_ratio: float = Field(default=1.0, gt=0)
    """Learning rate of the head, over that of the encoder: a new head that is to learn in few steps
    wants more than 1."""
    freeze_embeddings: bool = False
    """Keep the embeddings of the encoder as they are: most of its parameters, little of what it
    learns in a fine-tuning, and a good part of an optimiser step on a CPU."""
    lora: LoraConfig = LoraConfig()
    """Adapters in place of the encoder."""
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    """Fraction of the steps in which the learning rate rises; then it falls linearly to 0."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the encoder and the head while training."""
    dim_reduce: int | None = Field(default=None, ge=2)
    """Project to this fraction of the width before the head of a text classifier; absent: no."""
    eval_every: int | None = Field(default=None, ge=1)
    """Optimiser steps between source-dev scores, besides the one after each epoch."""
    snapshots: int = Field(default=0, ge=0)
    """Models that each training keeps along its way, evenly, for analyses after the run."""
    checkpoint_seconds: float = Field(default=300.0, ge=0, json_schema_extra={**RUNTIME})
    """Seconds between checkpoints from which a killed step resumes; 0: after every step."""
    shard: bool = False
    """Cut weights, gradients and the optimiser's state up over the training workers, for an encoder
    that is too large for one device; all of them together have it once."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory for large encoders."""
    deterministic: bool = True
    """Use deterministic kernels, so that a repeated run gives the same bytes."""


ROW_BYTES = 1 << 24
"""Bytes of a row at most, unless data.max_row_bytes says otherwise."""


class DataConfig(Section, frozen=True):
    """Reading, checking and batching of text."""

    max_bad_fraction: float = Field(default=0.01, ge=0, le=1)
    """Largest fraction of quarantined rows per file; more stops the run before training."""
    max_fatal_rows: int = Field(default=100, ge=0)
    """Most rows of one step that are quarantined since they kill the process that labels or
    translates them; more stop the run."""
    max_row_bytes: int = Field(default=ROW_BYTES, ge=1024)
    """Bytes of a row at most, unpacked: of a line, a sentence's lines, a quoted value's lines."""
    shard_rows: int | None = Field(default=None, ge=1)
    """Sentences per shard: what is read, annotated and written at a time; absent: 1024 where CPUs
    annotate, 16384 where GPUs do."""
    batch_tokens: int | None = Field(default=None, ge=8)
    """Token budget (rows x longest) of one inference batch; absent: 1024 on CPUs, 16384 on
    GPUs."""


Pool = int | tuple[int, int]


def span_of(pool: Pool) -> tuple[int, int]:
    """The least and the largest number of a pool."""
    return (pool, pool) if isinstance(pool, int) else pool


class NodeGroup(Section, frozen=True):
    """Nodes of one kind that the autoscaler of a cluster may add."""

    nodes: int = Field(ge=1)
    """Most nodes of the kind at a time."""
    cpus: int = Field(ge=0)
    """CPUs that Ray counts on one of them."""
    gpus: int = Field(default=0, ge=0)
    """GPUs of one of them."""


class ResourcesConfig(Section, frozen=True):
    """What a run asks the cluster for; absent values are read off the cluster."""

    address: Uri | None = None
    """Ray address to connect to; absent: RAY_ADDRESS, or else a local Ray on loopback."""
    num_cpus: int | None = Field(default=None, ge=1)
    """CPUs of a local Ray; absent: those that the process, or its container, may use."""
    autoscale: tuple[NodeGroup, ...] = ()
    """Nodes that the cluster may add, as [{"nodes": 8, "cpus": 8, "gpus": 1}]; () if it does not
    grow. Pools are sized for, and checked against, the cluster at its largest."""
    object_store_memory: int | None = Field(default=None, ge=100_000_000)
    """Bytes of a local Ray's object store; absent: 10% of the memory, at most 2 GB."""
    annotators: Annotated[Pool | None, BeforeValidator(split_commas)] = None
    """Annotator actors: a number, or "min,max" if autoscaling; 0: in the driver's process; absent:
    one per GPU or CPU, and none on CPUs for what the driver's process does no later."""
    annotator_cpus: int = Field(default=1, ge=1)
    """CPUs (threads) of one annotator."""
    annotator_gpus: float | None = Field(default=None, ge=0)
    """GPUs of one annotator, fractions allowed; absent: 1 if the cluster has any."""
    train_workers: Annotated[Pool | None, BeforeValidator(split_commas)] = None
    """Training workers; 0: in the driver's process; absent: one per GPU, or 0 without GPUs. With
    "min,max" there are max workers on min to max processes, as nodes come and go, and the model has
    the same bytes on any number."""
    train_cpus: int | None = Field(default=None, ge=1)
    """CPUs (threads) of one training worker; absent: the node's CPUs shared by its workers."""
    train_gpus: float | None = Field(default=None, ge=0)
    """GPUs of one training worker; absent: 1 if the cluster has any."""
    train_retries: int = Field(default=3, ge=0)
    """Restarts of the workers of one train step before the run gives up."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """Arithmetic of the encoder; auto: bf16 on GPUs that have it, fp32 elsewhere; int8: of
    annotators on CPUs, while training is as with auto (extra int8)."""
    compile: bool = False
    """Compile the encoder (torch.compile), in every process anew; CPUs need a C++ compiler."""

    @model_validator(mode="after")
    def _has_workers(self) -> Self:
        few, many = span_of(self.train_workers or 0)
        if few < 0 or (isinstance(self.train_workers, tuple) and not 1 <= few <= many):
            raise ValueError(f"train_workers: {few},{many}; allowed: 0 or more, or 1 <= min <= max")
        return self

    @model_validator(mode="after")
    def _can_be_int8(self) -> Self:
        if self.precision == "int8" and self.compile:
            raise ValueError("compile: OpenVINO computes in int8, which PyTorch does not compile")
        if self.precision == "int8" and self.annotator_gpus:
            raise ValueError("annotator_gpus: int8 is for CPUs; annotator_gpus=0")
        return self


class TranslationConfig(Section, frozen=True):
    """How text is translated: for methods that learn from translated texts and pairs, and source
    gold of any task into the targets."""

    model: Uri | None = None
    """Seq2seq checkpoint into the pivot, a folder or hub id; {language} in it is the language."""
    back: Uri | None = None
    """Checkpoint from the pivot; absent: the same, which has to be one of many languages."""
    ready: Uri | None = None
    """Folder of <language>.parquet in place of models: text, and its translations pivot, back, or
    with train the target languages."""
    train: bool = False
    """Learn from the source gold in translation into the targets, too, its labels carried over."""
    train_weight: Count = 1
    """How often each translated row is in the gold that is learned from."""
    project: Literal["auto", "markers", "alignment"] = "auto"
    """How labels of words get over: in brackets that are translated, by words that the encoder
    aligns, or row by row by the way that fits better by the encoder."""
    layer: int | None = Field(default=None, ge=1)
    """Layer of the encoder whose states align words; absent: the one at two thirds."""
    threshold: float = Field(default=1e-3, ge=0, lt=1)
    """Least probability, in both directions, of words that are aligned."""
    revision: Text | None = None
    """Hub revision of the checkpoints; absent: the current commits, which are recorded."""
    pivot: Language = "en"
    """Language in between."""
    languages: Languages | None = None
    """Languages that are translated, comma separated; absent: all of the unlabelled text."""
    replace: bool = False
    """Read the target languages, unlabelled and test, in translation into the pivot."""
    codes: dict[Language, Text] = Field(default_factory=dict)
    """A checkpoint's own names of languages where they cannot be told: {"zh": "zh_CN"}."""
    beams: int = Field(default=1, ge=1)
    """Beams of the search; 1: the likeliest sub-word each time."""
    max_new_tokens: int = Field(default=128, ge=1)
    """Longest translation in sub-words."""

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if self.model is not None and self.ready is not None:
            raise ValueError("model and ready: one of them, translations are made or there already")
        if self.back is not None and self.model is None and not self.train:
            raise ValueError("back: a checkpoint back from the pivot, and no model that gets there")
        if self.back is not None and self.ready is not None:
            raise ValueError("back and ready: one of them, translations are made or there already")
        if self.train and (self.model, self.back, self.ready) == (None, None, None):
            raise ValueError("train: neither model, back nor ready says what the translations are")
        if self.train and self.replace:
            raise ValueError("train: with replace the targets are read in the language of the gold")
        if self.replace and self.languages is not None:
            raise ValueError("languages: with replace every target is read in translation")
        if self.replace and self.model is None and self.ready is None:
            raise ValueError("replace: neither model nor ready says what the translations are")
        return self


class StoreConfig(Section, frozen=True):
    """Where artifacts and runs are kept."""

    root: Uri = "~/xlt_ray"
    """Folder or object-store URI, reachable from every node."""


class RunSection(Section, frozen=True):
    """Identity of a run and what its report adds."""

    name: RunName | None = None
    """Name of the run's folder; absent: <method>-<benchmark>-s<seed>."""
    trackers: Annotated[tuple[Literal["mlflow", "wandb"], ...], BeforeValidator(split_commas)] = ()
    """Told of every step, comma separated: mlflow, wandb; TensorBoard's files are made anyway."""
    score_rounds: bool = True
    """Also score every round's model on the test splits, after training, for the report only."""


M = TypeVar("M", bound=MethodConfig)


class RunConfig(Section, Generic[M], frozen=True):
    """Everything a run depends on."""

    benchmark: BenchmarkConfig
    files: FilesConfig = FilesConfig()
    backbone: Uri
    """Hub id or folder of the pre-trained encoder; "toy" for the embedded benchmark's own."""
    backbone_revision: Text | None = None
    """Hub revision of the backbone; absent: the current commit, which is recorded."""
    method: M
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    translation: TranslationConfig = TranslationConfig()
    labellers: dict[LabellerName, LabellerConfig] = Field(default_factory=dict)
    """Labels of the unlabelled text from elsewhere, by labeller."""
    resources: ResourcesConfig = ResourcesConfig()
    store: StoreConfig = StoreConfig()
    run: RunSection = RunSection()
    seed: Seed = 0
    """Seed of everything random in the run."""

    @property
    def run_name(self) -> str:
        """Name of the run's folder."""
        return self.run.name or f"{self.method.name}-{self.data_name}-s{self.seed}"

    @property
    def data_name(self) -> str:
        """The benchmark; of files of the user's own their languages, and which files they are."""
        files = self.files
        if not files.paths:
            return self.benchmark.name
        told = json.dumps([files.paths, files.types, files.columns], sort_keys=True)
        digest = blake2b(told.encode(), digest_size=3).hexdigest()
        return f"{'-'.join(files.paths)[:_LANGUAGES]}-{digest}"


_LANGUAGES = 40
"""Letters of languages in the name of a run."""
