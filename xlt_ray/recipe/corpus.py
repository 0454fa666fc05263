"""Handles of what steps exchange: corpora, mixtures of them, and models.

A :class:`Corpus` is a lazy view: a tokenised artifact, perhaps joined with a table of labels, with
rows taken out or sampled. Nothing is copied; the workers that read a view resolve it by id.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.keyed import (
    Ids,
    Places,
    of_language,
    positions,
    sorted_by_id,
    with_ids,
    without_ids,
)
from xlt_ray.data.quarantine import lost_rows
from xlt_ray.data.schema import TRANSLATED
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class JoinedColumns:
    """What an annotation says about the items of a corpus, known to readers as ``name.column``.

    Attributes:
        name: Says which annotation it is.
        artifact: Annotation of the same tokenised corpus, in the same shards or in one table.
        columns: Its columns that are read, each with a value or a vector per item.
    """

    name: str
    artifact: Artifact
    columns: tuple[str, ...]

    @property
    def wanted(self) -> list[str]:
        """What is read of the annotation."""
        return ["id", *self.columns]

    def join(self, table: pa.Table, places: Places) -> pa.Table:
        """Rows of the corpus with these columns.

        Args:
            table: The rows.
            places: The annotation of these rows, and perhaps of others.

        Raises:
            ValueError: a row was not annotated.
        """
        there = places.table
        if not len(table):
            for column in self.columns:
                empty = pa.chunked_array([], there.schema.field(column).type)
                table = table.append_column(f"{self.name}.{column}", empty)
            return table
        position = places.of(table)
        if position.null_count:
            missing = table["id"].filter(position.is_null())[0].as_py()
            raise ValueError(f"{position.null_count} rows without {self.name}, such as {missing}")
        for column in self.columns:
            table = table.append_column(f"{self.name}.{column}", there[column].take(position))
        return table


@dataclass(frozen=True)
class Corpus:
    """Rows of a tokenised corpus.

    Attributes:
        tokens: Tokenised artifact.
        labels: Artifact with ``id``, ``labels`` and perhaps ``candidates``; only its rows remain.
        removed: Artifacts with an ``id`` column; their rows are left out.
        fraction: Share of the rows that is kept, drawn at random.
        seed: Seed of that draw.
        language: The one language whose rows are kept; None: all.
        columns: Annotations whose columns stand beside the items.
        spared: Languages of which a sample has all rows that are no translations.
    """

    tokens: Artifact
    labels: Artifact | None = None
    removed: tuple[Artifact, ...] = ()
    fraction: float = 1.0
    seed: int = 0
    language: str | None = None
    columns: tuple[JoinedColumns, ...] = ()
    spared: tuple[str, ...] = ()

    def labelled(self, labels: Artifact) -> "Corpus":
        """The rows that ``labels`` has, with its labels."""
        return replace(self, labels=labels)

    def without(self, *removed: Artifact) -> "Corpus":
        """The rows that none of the artifacts has."""
        return replace(self, removed=(*self.removed, *removed))

    def sample(self, fraction: float, *, seed: int) -> "Corpus":
        """A random share of the rows, floor(fraction x rows) of them, drawn by hash of the id, and
        all of languages that are spared, but for translations.

        Raises:
            ValueError: the fraction is not in (0, 1].
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"the fraction of a sample must be in (0, 1], got {fraction}")
        return self if fraction == 1 else replace(self, fraction=fraction, seed=seed)

    def of(self, language: str) -> "Corpus":
        """The rows of one language."""
        return replace(self, language=language)

    def with_columns(self, *columns: JoinedColumns) -> "Corpus":
        """The same rows with columns of annotations beside their items."""
        return replace(self, columns=(*self.columns, *columns))

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Every artifact that the view reads."""
        columns = (item.artifact for item in self.columns)
        return (self.tokens, *((self.labels,) if self.labels else ()), *self.removed, *columns)

    def describe(self) -> dict[str, Any]:
        """What the view is, for a fingerprint."""
        return {
            "tokens": self.tokens.identity,
            "labels": self.labels.identity if self.labels else None,
            "removed": sorted(item.identity for item in self.removed),
            "fraction": self.fraction,
            "seed": self.seed,
            "language": self.language,
            "columns": [[x.name, x.artifact.identity, list(x.columns)] for x in self.columns],
            "spared": list(self.spared),
        }

    @property
    def is_whole(self) -> bool:
        """Whether it has all rows, but for those that are lost to the columns beside them."""
        return self == Corpus(self.tokens, columns=self.columns)

    @property
    def shards(self) -> list[str]:
        """Names of the shards."""
        return shard_names(self.tokens)

    def rows(self, own: Callable[[pa.Table], pa.Table] = lambda table: table) -> pa.Table:
        """Its rows, with the label columns if it has labels, sorted by id.

        Args:
            own: Picks from each shard the rows that the caller wants; default: all.
        """
        view = View(self)
        table = pa.concat_tables([view.shard(name, own) for name in self.shards])
        if self.labels is not None:
            there = self.labels.columns()
            columns = [name for name in ("labels", "candidates") if name in there]
            labels = self.labels.table(["id", *columns])
            position = positions(table, labels)
            table = table.filter(position.is_valid())
            taken = labels.take(position.drop_null())
            for name in columns:
                table = table.append_column(name, taken[name])
        return sorted_by_id(table).combine_chunks()

    def kept_ids(self) -> pa.Array | None:
        """The ids that labels and sampling leave, or None for all."""
        if self.fraction == 1.0:
            return ids_of(self.labels) if self.labels else None
        table = self.tokens.table(["id", "language"])
        if self.language is not None:
            table = of_language(table, self.language)
        if self.labels is not None:
            table = with_ids(table, ids_of(self.labels))
        always = [own_ids(of_language(table, name)) for name in self.spared]
        for spared in always:
            table = without_ids(table, spared)
        ids = table["id"].combine_chunks()
        drawn = sample_ids(ids, share_of(self.fraction, len(ids)), seed=self.seed)
        return pa.concat_arrays([drawn, *always])


class View:
    """A corpus to be read shard by shard; what it refers to is looked up once."""

    def __init__(self, corpus: Corpus):
        self.corpus = corpus
        # A row that an annotation had to do without has no columns to stand beside it.
        lost = lost_rows(*(columns.artifact for columns in corpus.columns))
        removed = (ids_of(artifact) for artifact in corpus.removed)
        self.removed = Ids(*removed, pa.array([row.id for row in lost], pa.string()))
        kept = corpus.kept_ids()
        self.kept = None if kept is None else Ids(kept)
        self._whole: dict[int, Places] = {}

    def shard(
        self, name: str, own: Callable[[pa.Table], pa.Table] = lambda table: table
    ) -> pa.Table:
        """The rows of a shard that belong to the corpus, with the columns beside them.

        Args:
            name: File of the tokenised corpus.
            own: Picks the rows that the caller wants; default: all.
        """
        corpus = self.corpus
        table = corpus.tokens.shard(name)
        if corpus.language is not None:
            table = of_language(table, corpus.language)
        if len(self.removed):
            table = without_ids(table, self.removed)
        if self.kept is not None:
            table = with_ids(table, self.kept)
        table = own(table)
        for number, columns in enumerate(corpus.columns):
            table = columns.join(table, self._places(number, name))
        return table

    def _places(self, number: int, shard: str) -> Places:
        """What is read of an annotation for a shard: its own shard, or the one table it is."""
        columns = self.corpus.columns[number]
        if shard in columns.artifact.names:
            return Places(columns.artifact.shard(shard, columns.wanted))
        if number not in self._whole:
            self._whole[number] = Places(columns.artifact.table(columns.wanted))
        return self._whole[number]


def shard_names(artifact: Artifact) -> list[str]:
    """Names of the shards of a tokenised text, or of an annotation."""
    return [name for name in artifact.names if name.endswith(".parquet")]


def share_of(fraction: float, count: int) -> int:
    """floor(fraction x count), exact in the decimal fraction that the user wrote."""
    return math.floor(Fraction(str(fraction)) * count)


def ids_of(*artifacts: Artifact) -> pa.Array:
    """The ids of all rows of some artifacts."""
    chunks = [item.table(["id"])["id"].combine_chunks() for item in artifacts]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def own_ids(table: pa.Table) -> pa.Array:
    """The ids of rows that are no translations of others."""
    ids = [name for name in table["id"].to_pylist() if not name.startswith(TRANSLATED)]
    return pa.array(ids, pa.string())


def sample_ids(ids: pa.Array, count: int, *, seed: int) -> pa.Array:
    """Draw ids without replacement, by a hash that depends on nothing but the seed and the id."""
    draws = np.array([_draw(seed, str(item)) for item in ids.to_pylist()], dtype=np.uint64)
    return ids.take(pa.array(np.argsort(draws, kind="stable")[:count]))


def _draw(seed: int, item: str) -> int:
    key = seed.to_bytes(8, "little", signed=True)
    return int.from_bytes(blake2b(item.encode(), digest_size=8, key=key).digest(), "little")


@dataclass(frozen=True)
class Mix:
    """What a train step learns from: labelled corpora, read together.

    Attributes:
        parts: The labelled corpora.
        paired: Text, labelled or not, of which every optimiser step has as many rows as of the
            parts, from the beginning again where it ends.
        pool: Text, labelled or not, of which every worker has all rows, for the objective to draw
            from.
    """

    parts: tuple[Corpus, ...]
    paired: Corpus | None = None
    pool: Corpus | None = None

    def __init__(self, *parts: Corpus, paired: Corpus | None = None, pool: Corpus | None = None):
        for part in parts:
            assert part.labels is not None, "a mix is made of labelled corpora"
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "paired", paired)
        object.__setattr__(self, "pool", pool)

    @property
    def all(self) -> tuple[Corpus, ...]:
        """The parts, the paired text and the pool."""
        return tuple(x for x in (*self.parts, self.paired, self.pool) if x is not None)

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Every artifact that is read."""
        return tuple(item for part in self.all for item in part.inputs)

    def describe(self) -> dict[str, Any]:
        """What the mix is, for a fingerprint."""
        return {
            "parts": [part.describe() for part in self.parts],
            "paired": self.paired and self.paired.describe(),
            "pool": self.pool and self.pool.describe(),
        }


@dataclass(frozen=True)
class Model:
    """A trained model: a folder in the Hugging Face layout, and how it came about."""

    artifact: Artifact

    @property
    def source_dev(self) -> float | None:
        """Score on source dev; None if the model was not trained here or is only planned."""
        return self.artifact.info.get("source_dev")

    @property
    def layers(self) -> int | None:
        """Layers of the encoder; None if the model is only planned or does not say."""
        if "config.json" not in self.artifact.names:
            return None
        config = self.artifact.json("config.json")
        names = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
        return next((config[name] for name in names if name in config), None)

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """One entry per source-dev score taken while training."""
        return list(self.artifact.info.get("history", []))


@dataclass(frozen=True)
class Start:
    """What another run or a checkpoint gives a method to begin with.

    Attributes:
        model: The model.
        by_language: The model of a target language, where there is one for each.
        before: What the other run began with, and counts as zero-shot; absent: this itself.
    """

    model: Model
    by_language: Mapping[str, Model] = field(default_factory=dict)
    before: "Start | None" = None

    @property
    def zero_shot(self) -> "Start":
        """The models without any training on target text."""
        return self.before or self

    def of(self, language: str) -> Model:
        """The model of a target language.

        Raises:
            ConfigError: the other run had targets, and not this one.
        """
        if not self.by_language:
            return self.model
        if language not in self.by_language:
            raise ConfigError(
                f"method.start_from: that run has no model for {language!r}, there are "
                f"{', '.join(sorted(self.by_language))}"
            )
        return self.by_language[language]
