"""The configuration schema, and how YAML files and ``--set`` flags become one frozen object.

Files merge left to right over a job's defaults, then the flags. Every key is checked against the
schema; an error names the key, the value, what is allowed and where the value came from.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Split = Literal["train", "dev", "test"]


class ConfigError(ValueError):
    """A configuration that the user can mend; the message says where and how."""


class Section(BaseModel, frozen=True):
    """Base of every section: unknown keys are errors, values cannot be changed later."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


def split_commas(value: Any) -> Any:
    """The parts of a comma-separated text; "all" and what is no text stay as they are."""
    if isinstance(value, str) and value != "all":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def redacted(text: str) -> str:
    """A URI, or a message with URIs, without user names, passwords and secret parameters."""
    # A secret may hold "/" or "@", so that after a colon all up to the last "@" is masked.
    text = re.sub(r"(?<=://)[^/:\s]*(?::\S*)?@", "***@", text)
    return _SECRET_VALUE.sub(r"\1***", text)


_SECRET_VALUE = re.compile(
    r"([?&][^=&\s]*(?:secret|token|password|key)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)
_SECRETS = re.compile(
    r"://[^/:@\s]*:(?!\d+(?:[/?]|$))\S*@|[?&][^=&]*(?:secret|token|password|key)[^=&]*=",
    re.IGNORECASE,
)
"""A password before the host, also one with a slash in it, or a parameter that names a secret."""


def _without_secrets(uri: str) -> str:
    if _SECRETS.search(uri):
        raise ValueError("a URI with credentials would end up in reports; set them as variables")
    return uri


Text = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Text that may look like a number: ``--set run.name=2024``."""
Shares = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=2)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Uri = Annotated[Text, AfterValidator(_without_secrets)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_commas), Field(min_length=1)]


class BenchmarkConfig(Section, frozen=True):
    """Which labelled and unlabelled text a run uses."""

    name: Text
    """Registry name of the benchmark."""
    root: Uri | None = None
    """Folder or URI of <lang>/{train,dev,test}.txt|jsonl; absent: the hub."""
    source: Names | None = None
    """Source languages, comma separated; absent: the benchmark's own."""
    targets: Annotated[Literal["all"] | Names, BeforeValidator(split_commas)] = "all"
    """Target languages, comma separated, or "all"."""
    leave_one_out: bool = False
    """A source language may be a target too, which learns from the other sources alone."""
    dev: Names | None = None
    """Source languages whose dev text chooses models of targets; absent: those it learns from."""
    unlabelled_split: Split = "dev"
    """Split of the target languages whose text is used without its labels."""
    limit: Count | dict[Split, Count] | None = None
    """Cap on the sentences of every split, or one cap per split (benchmark.limit.train=3000)."""
    revision: Text | None = None
    """Hub revision; absent: the registry's, or else the current commit, which is recorded."""
    metric: Literal["f1", "accuracy", "macro_f1"] | None = None
    """What is scored in place of the benchmark's own metric; f1 is of entities."""
    prior: dict[Text, Literal["random"] | Shares] = Field(default_factory=dict)
    """Class shares of a language's rows, as {"de": [3, 1, 1]}, or random; others are left out."""
    prior_rows: Count | dict[Text, Count] | None = None
    """Rows at most of each split of such a language, or a cap per language; of words a half."""
    prior_seed: Seed | dict[Text, Seed] = 0
    """Seed of the rows that are left out, and of random shares; or one per language, else 0."""
    partition: int | None = Field(default=None, ge=1)
    """Train rows of each language, one's after another's in their parallel files, none in two."""
    toy: dict[str, Any] = Field(default_factory=dict)
    """Options of the embedded benchmark: sizes, seed, knobs of its languages."""

    def limit_of(self, split: Split) -> int | None:
        """Cap that holds for one split, or None."""
        return self.limit.get(split) if isinstance(self.limit, dict) else self.limit


class MethodConfig(Section, frozen=True):
    """Base of the methods' own sections."""

    name: str
    """Name of the method."""

    def check_classes(self, num_classes: int) -> None:
        """Raise ValueError, beginning with its name, if a key does not fit so many classes."""


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
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Fraction of the steps in which the learning rate rises; then it falls linearly to 0."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the encoder and the head while training."""
    dim_reduce: int | None = Field(default=None, ge=2)
    """Project to this fraction of the width before the head of a text classifier; absent: no."""
    eval_every: int | None = Field(default=None, ge=1)
    """Optimiser steps between source-dev scores, besides the one after each epoch."""
    checkpoint_seconds: float = Field(default=300.0, ge=0)
    """Seconds between checkpoints from which a killed step resumes; 0: after every step."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory for large encoders."""
    deterministic: bool = True
    """Use deterministic kernels, so that a repeated run gives the same bytes."""


class DataConfig(Section, frozen=True):
    """Reading, checking and batching of text."""

    max_bad_fraction: float = Field(default=0.01, ge=0, le=1)
    """Largest fraction of quarantined rows per file; more stops the run before training."""
    shard_rows: int = Field(default=512, ge=1)
    """Sentences per shard: the unit that one annotator takes at a time."""
    batch_tokens: int = Field(default=8192, ge=8)
    """Token budget (rows x longest) of one inference batch."""


Pool = int | tuple[int, int]


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

    address: str | None = None
    """Ray address to connect to; absent: RAY_ADDRESS, or else a local Ray on loopback."""
    num_cpus: int | None = Field(default=None, ge=1)
    """CPUs of a local Ray; absent: the machine's."""
    autoscale: tuple[NodeGroup, ...] = ()
    """Nodes that the cluster may add, as [{"nodes": 8, "cpus": 8, "gpus": 1}]; () if it does not
    grow. Pools are sized for, and checked against, the cluster at its largest."""
    object_store_memory: int | None = Field(default=None, ge=100_000_000)
    """Bytes of a local Ray's object store; absent: 10% of the memory, at most 2 GB."""
    annotators: Annotated[Pool | None, BeforeValidator(split_commas)] = None
    """Annotator actors: a number, or "min,max" if autoscaling; 0: in the driver's process; absent:
    one per GPU or CPU."""
    annotator_cpus: int = Field(default=1, ge=1)
    """CPUs (threads) of one annotator."""
    annotator_gpus: float | None = Field(default=None, ge=0)
    """GPUs of one annotator, fractions allowed; absent: 1 if the cluster has any."""
    train_workers: int | None = Field(default=None, ge=0)
    """Training workers; 0: in the driver's process; absent: one per GPU, or 0 without GPUs."""
    train_cpus: int | None = Field(default=None, ge=1)
    """CPUs (threads) of one training worker; absent: the node's CPUs shared by its workers."""
    train_gpus: float | None = Field(default=None, ge=0)
    """GPUs of one training worker; absent: 1 if the cluster has any."""
    train_retries: int = Field(default=3, ge=0)
    """Restarts of the workers of one train step before the run gives up."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the encoder; auto: bf16 on GPUs that have it, fp32 elsewhere."""


class StoreConfig(Section, frozen=True):
    """Where artifacts and runs are kept."""

    root: Uri = "~/xlt_ray"
    """Folder or object-store URI, reachable from every node."""


class RunSection(Section, frozen=True):
    """Identity of a run and what its report adds."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    """Name of the run's folder; absent: <method>-<benchmark>-s<seed>."""
    score_rounds: bool = False
    """Also score every round's model on the test splits, after training, for the report only."""


M = TypeVar("M", bound=MethodConfig)


class RunConfig(Section, Generic[M], frozen=True):
    """Everything a run depends on."""

    benchmark: BenchmarkConfig
    backbone: Text
    """Hub id or folder of the pre-trained encoder; "toy" for the embedded benchmark's own."""
    backbone_revision: Text | None = None
    """Hub revision of the backbone; absent: the current commit, which is recorded."""
    method: M
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    resources: ResourcesConfig = ResourcesConfig()
    store: StoreConfig = StoreConfig()
    run: RunSection = RunSection()
    seed: Seed = 0
    """Seed of everything random in the run."""

    @property
    def run_name(self) -> str:
        """Name of the run's folder."""
        return self.run.name or f"{self.method.name}-{self.benchmark.name}-s{self.seed}"


class _Loader(yaml.SafeLoader):
    """YAML in which ``no``, ``on`` and their kin stay strings: "no" is a language code."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "tTfF":
    _Loader.yaml_implicit_resolvers[_first].append(
        (_BOOL, re.compile(r"^(?:true|false|True|False)$"))
    )


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Parse one YAML file of nested keys.

    Raises:
        ConfigError: the file is missing, is no YAML, or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: no valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path}: expected keys and values, found {content!r}")
    return cast("dict[str, Any]", content)


def parse_set(flag: str) -> dict[str, Any]:
    """Turn ``a.b=value`` into ``{"a": {"b": value}}``; the value is JSON if it parses as JSON."""
    key, found, text = flag.partition("=")
    parts = key.strip().split(".")
    if not found or not all(parts):
        raise ConfigError(f"--set {flag}: expected key=value, such as train.batch_size=16")
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError:
        value = text
    nested: dict[str, Any] = {parts[-1]: value}
    for part in reversed(parts[:-1]):
        nested = {part: nested}
    return nested


def _nested(value: Any) -> dict[str, Any] | None:
    """A copy of the keys below a key, or None where there is a value."""
    return json.loads(json.dumps(value)) if isinstance(value, Mapping) else None


@dataclass(frozen=True)
class _Layer:
    origin: str
    values: Mapping[str, Any]


def _merge(base: dict[str, Any], layer: _Layer, origins: dict[str, str], prefix: str = "") -> None:
    for key, value in layer.values.items():
        path = f"{prefix}{key}"
        inner, before = _nested(value), base.get(key)
        if inner is not None and isinstance(before, str | list | tuple):
            raise ConfigError(
                f"{path}: {layer.origin} gives keys, but {origin_of(path, origins)} has {before!r} "
                "there; give all of it as keys"
            )
        if inner is not None and isinstance(before, dict):
            _merge(base[key], _Layer(layer.origin, inner), origins, f"{path}.")
        else:
            base[key] = value if inner is None else inner
            origins[path] = layer.origin


def origin_of(path: str, origins: Mapping[str, str]) -> str:
    """Where a dotted key, or else the nearest key above it, came from."""
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return "defaults"


def _explain(
    error: ValidationError,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    schema: type[BaseModel],
) -> str:
    lines: list[str] = []
    seen: set[str] = set()
    for item in error.errors():
        keys = _keys_of(item["loc"], values)
        path = ".".join(keys)
        if item["type"] == "extra_forbidden":
            text = f"{path}: unknown key; allowed: {', '.join(_siblings(schema, keys[:-1]))}"
        elif item["type"] == "missing" and isinstance(item["loc"][-1], str):
            path = ".".join([*keys, item["loc"][-1]])
            text = f"{path}: is required"
        else:
            text = f"{path}: {item['msg']}, got {item['input']!r}"
        if text not in seen:
            seen.add(text)
            lines.append(redacted(f"{text} (from {origin_of(path, origins)})"))
    return "\n".join(lines)


def _keys_of(places: Sequence[int | str], values: Mapping[str, Any]) -> list[str]:
    """The keys of an error's location: without list positions and names of alternatives."""
    keys: list[str] = []
    here: Any = values
    for place in places:
        if isinstance(here, dict) and place in here:
            keys.append(str(place))
            here = cast("dict[Any, Any]", here)[place]
    return keys


def _siblings(schema: type[BaseModel], parts: Sequence[str]) -> list[str]:
    for part in parts:
        fields = {field.alias or name: field for name, field in schema.model_fields.items()}
        inner = fields[part].annotation if part in fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        schema = inner
    return sorted(field.alias or name for name, field in schema.model_fields.items())


def load(
    defaults: Mapping[str, Any],
    *,
    files: Sequence[str | Path] = (),
    flags: Sequence[str] = (),
    methods: Mapping[str, type[MethodConfig]],
) -> RunConfig[Any]:
    """Merge defaults, files and flags, and validate the result.

    Args:
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.
        methods: Configuration class of every method by ``method.name``.

    Raises:
        ConfigError: one line per wrong key, with the value, what is allowed and its origin.
    """
    values, origins = merge(defaults, files=files, flags=flags)
    return validate(schema_for(values, methods, origins), values, origins)


def merge(
    defaults: Mapping[str, Any],
    *,
    files: Sequence[str | Path] = (),
    flags: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge defaults, files and flags.

    Args:
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.

    Returns:
        The nested keys, and where the value of each dotted key came from.

    Raises:
        ConfigError: a file or flag cannot be read.
    """
    layers = [_Layer("the job's defaults", defaults)]
    layers += [_Layer(str(path), read_yaml(path)) for path in files]
    layers += [_Layer(f"--set {flag}", parse_set(flag)) for flag in flags]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _merge(merged, layer, origins)
    return merged, origins


S = TypeVar("S", bound=BaseModel)


def validate(schema: type[S], values: Mapping[str, Any], origins: Mapping[str, str]) -> S:
    """The values as an object of the schema.

    Args:
        schema: What is allowed.
        values: Nested keys.
        origins: Where the value of each dotted key came from, as `merge` says.

    Raises:
        ConfigError: one line per wrong key, with the value, what is allowed and its origin.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, values, origins, schema)) from None


def schema_for(
    values: Mapping[str, Any],
    methods: Mapping[str, type[MethodConfig]],
    origins: Mapping[str, str] | None = None,
) -> type[RunConfig[Any]]:
    """Pick the run schema of the method that ``method.name`` asks for."""
    name = (_nested(values.get("method")) or {}).get("name")
    if not isinstance(name, str) or name not in methods:
        origin = origin_of("method.name", origins or {})
        known = ", ".join(sorted(methods))
        raise ConfigError(f"method.name: unknown method {name!r}; allowed: {known} (from {origin})")
    return RunConfig[methods[name]]


def to_dict(config: BaseModel) -> dict[str, Any]:
    """Plain JSON form of a configuration, keyed as the user writes it."""
    return config.model_dump(mode="json", by_alias=True)


def settings(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line ``key: value`` per value of a nested configuration, keys as in ``--set``."""
    lines: list[str] = []
    for key, value in values.items():
        if inner := _nested(value):
            lines += settings(inner, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return lines


def describe(schema: type[BaseModel], defaults: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line per key: name, default and meaning, for ``--help``."""
    lines: list[str] = []
    for name, field in schema.model_fields.items():
        key = field.alias or name
        inner = field.annotation
        given = defaults.get(key)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines += describe(inner, _nested(given) or {}, f"{prefix}{key}.")
            continue
        if given is None:
            given = (
                "(required)"
                if field.is_required()
                else field.get_default(call_default_factory=True)
            )
        shown = json.dumps(given, default=str) if not isinstance(given, str) else given
        lines.append(f"  {prefix + key:36} {shown:24} {field.description or ''}".rstrip())
    return lines
