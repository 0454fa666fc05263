"""The model of a finished run as a folder of its own, which others can load.

A tagger of words and a classifier of texts are stock models of `transformers` as they are. A tagger
of spans is loaded by `SpanTagger.from_pretrained`, or distilled: a stock tagger is trained on what
it says of the run's unlabelled text.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.commands.push import push
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require
from xlt_ray.config.layers import describe, merge, origin_of, settings, to_dict, validate
from xlt_ray.config.schema import (
    Language,
    ResourcesConfig,
    RunConfig,
    RunName,
    Section,
    StoreConfig,
    Text,
    Uri,
)
from xlt_ray.data.batches.layout import is_causal
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.schema import Task
from xlt_ray.models.files import ADAPTER_SETTINGS, SPAN_SETTINGS
from xlt_ray.models.onnx import require_onnx, write_onnx
from xlt_ray.recipe.corpus import Model, Start
from xlt_ray.report.card import card
from xlt_ray.report.record import Report
from xlt_ray.run.check import configure_run, method_of
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.saved_models import RECORD, adapters_of, config_of, files_of, run_named
from xlt_ray.run.session import connected, open_run
from xlt_ray.run.target_labels import KEY, TargetLabels, labels_known
from xlt_ray.store.artifacts import BASE, Artifact, Store
from xlt_ray.store.run_folder import RunFolder

if TYPE_CHECKING:
    from xlt_ray.run.driver import RayDriver

_GIVEN = ("benchmark.root", "data.", "files.paths.", "resources.", "store.", "train.")
"""Keys of the run that may be given anew: where things are, and how to train the distilled."""


class ExportSection(Section, frozen=True):
    """Which model goes where."""

    run: RunName
    """Name of a finished run of the store."""
    to: Uri
    """Folder to make; there may be none of that name, or an empty one."""
    language: Language | None = None
    """The target whose model it is, in runs that have one for each."""
    distil: bool = False
    """Train a stock tagger of words on what a model of spans says of the unlabelled text."""
    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of the distilled."""
    epochs: int = Field(default=10, ge=1)
    """Its epochs; the best on source dev is kept."""
    adapters: bool = False
    """Write the adapters of a run with train.lora alone, for peft, rather than the merged model."""
    licence: Text | None = None
    """Licence of the model, for its card: apache-2.0, cc-by-4.0, ..."""
    onnx: bool = False
    """Also write model.onnx, after a check that it gives the same logits; not of spans."""
    int8: bool = False
    """Also write openvino_model.xml, whose encoder computes in int8 on CPUs; not of spans."""
    push: Annotated[Text, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """Also upload the folder to this repository of the hub, OWNER/NAME, which is made private."""
    public: bool = False
    """Whether that repository is made public, or may be public already."""


class _Document(Section, frozen=True):
    export: ExportSection
    store: StoreConfig = StoreConfig()


@dataclass(frozen=True)
class ExportConfig:
    """Everything that an export depends on.

    Attributes:
        section: The section ``export``.
        run: Configuration of the finished run, with what was given anew.
        models: Its models.
        known: Labels of targets that they know.
    """

    section: ExportSection
    run: RunConfig[Any]
    models: Start
    known: TargetLabels

    @property
    def resources(self) -> ResourcesConfig:
        """What the distilling asks the cluster for."""
        return self.run.resources

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Languages of the text that a distilled model learns from; none: all of the run's."""
        language = self.section.language
        return tuple(self.models.by_language) if language is None else (language,)

    @property
    def model(self) -> Model:
        """The model that is exported, or one of those that are distilled."""
        return self.models.of(self.targets[0]) if self.models.by_language else self.models.model


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> ExportConfig:
    """The configuration of an export: that of the finished run, and what is given anew.

    Raises:
        ConfigError: there is no such run or model, it cannot be distilled, or a key is wrong.
    """
    given, origins = merge(defaults, files=files, flags=flags)
    own = {"export": given.pop("export", {}), "store": given.get("store", {})}
    document = validate(_Document, own, origins)
    section, root = document.export, document.store.root
    flags = _flags(given)
    for key in (flag.partition("=")[0] for flag in flags):
        if not key.startswith(_GIVEN):
            raise ConfigError(
                f"{key}: that of the run {section.run!r} stays; what can be given: export., "
                f"{', '.join(_GIVEN)} (from {origin_of(key, origins)})"
            )
    store = Store(root)
    models = run_named(store, section.run, "export.run")
    if models is None:
        raise ConfigError(f"export.run: no finished run {section.run!r} in {root}")
    found = config_of(store, section.run)
    base = {**found, "run": {**found["run"], "name": f"{section.run}-export"}}
    run = configure_run({**base, "store": {"root": root}}, flags=flags)
    config = ExportConfig(section, run, models, labels_known(store, section.run, "export.run"))
    _check(config)
    return config


def _flags(given: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested keys as texts of ``--set``."""
    flags: list[str] = []
    for key, value in given.items():
        if isinstance(value, Mapping):
            flags += _flags(value, f"{prefix}{key}.")
        else:
            flags.append(f"{prefix}{key}={json.dumps(value)}")
    return flags


def _check(config: ExportConfig) -> None:
    section, models = config.section, config.models
    names = ", ".join(models.by_language)
    if section.language is None:
        if len(models.by_language) > 1 and not section.distil:
            raise ConfigError(f"export.language: run {section.run!r} has a model for each: {names}")
    elif models.by_language and section.language not in models.by_language:
        raise ConfigError(f"export.language: {section.language!r} has no model, there are: {names}")
    elif not models.by_language and not section.distil:
        raise ConfigError(f"export.language: run {section.run!r} has one model for all languages")
    is_spans = SPAN_SETTINGS in config.model.artifact.names
    if section.onnx and is_spans and not section.distil:
        raise ConfigError(f"export.onnx: run {section.run!r} has a model of spans; distil it")
    if section.onnx:
        require_onnx()  # and not after the distilling
    if section.int8:
        _check_int8(config, is_spans=is_spans)
    if section.distil and not is_spans:
        raise ConfigError(f"export.distil: run {section.run!r} has a stock model already")
    if section.adapters:
        _check_adapters(section, config.model.artifact)
    to = Path(section.to).expanduser()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"export.to: {to} is there already")


def _check_int8(config: ExportConfig, *, is_spans: bool) -> None:
    require("openvino", "int8", "export.int8: needs")
    from xlt_ray.run.int8 import check_encoder, text_of_run  # reaches PyTorch

    section = config.section
    if is_spans and not section.distil:
        raise ConfigError(f"export.int8: run {section.run!r} has a model of spans; distil it")
    shape, task = config.model.artifact.json("config.json"), benchmark_of(config.run).task
    check_encoder(shape, f"export.int8: run {section.run!r}", task)
    if text_of_run(Store(config.run.store.root), section.run) is None:
        raise ConfigError(
            f"export.int8: the text that run {section.run!r} learned from is not in the store any "
            "more; run it again"
        )


def _write_int8(config: ExportConfig, folder: Path, task: Task) -> dict[str, Any]:
    """Write the graph of the model in a folder; returns facts about it."""
    from xlt_ray.data.batches.examples import examples_of
    from xlt_ray.data.batches.layout import layout_in
    from xlt_ray.engine.int8 import batches_of, drawn_rows
    from xlt_ray.models.int8_stock import write_int8
    from xlt_ray.run.int8 import text_of_run

    text = text_of_run(Store(config.run.store.root), config.section.run)
    assert text is not None, "configure has looked"
    layout = layout_in(folder, config.run.train.max_length, task, None)
    return write_int8(folder, batches_of(examples_of(drawn_rows(text), layout)), task=task)


def _check_adapters(section: ExportSection, model: Artifact) -> None:
    for key in ("onnx", "int8", "distil"):
        if getattr(section, key):
            raise ConfigError(f"export.{key}: of the merged model alone; export.adapters=false")
    adapters_of(model)
    if model.info[BASE]["kind"] != "backbone":
        raise ConfigError(
            "export.adapters: they adapt a model that another run trained, which nobody else has; "
            "export the merged model"
        )


def _name_base(folder: Path, backbone: str) -> None:
    """Say in the adapters' settings which encoder they adapt."""
    path = folder / ADAPTER_SETTINGS
    settings = json.loads(path.read_bytes()) | {"base_model_name_or_path": backbone}
    path.write_text(json.dumps(settings, indent=1) + "\n")


NO_STOCK_MODEL = (
    "a model of spans is no stock model: transformers would give it a head at random. Label text "
    "with xlt_ray.load(FOLDER).predict(...), or with --set predict.model=FOLDER; with --set "
    "export.distil=true a stock tagger learns of it"
)


@contextmanager
def ready(files: Mapping[str, Path], to: Path) -> Iterator[Path]:
    """A folder with copies of some files, to be added to; it is put in place whole at the end.

    Raises:
        FileExistsError, OSError: a folder with files is there by now.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    fresh = to.with_name(f"{to.name}.tmp-{uuid.uuid4().hex}")
    fresh.mkdir()
    try:
        for name, path in files.items():
            shutil.copyfile(path, fresh / name)
        yield fresh
        fresh.rename(to)  # refused where files are
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def export(config: ExportConfig) -> dict[str, Any]:
    """Write the folder; returns the record of where it comes from."""
    section, artifact = config.section, config.model.artifact
    record: dict[str, Any] = {
        "run": section.run,
        "method": config.run.method.name,
        "benchmark": config.run.benchmark.name,
        "language": section.language,
        "artifact": artifact.fingerprint,
        "task": benchmark_of(config.run).task,
        "evidential": method_of(config.run.method).is_evidential and not section.distil,
        "max_length": config.run.train.max_length,
        "dim_reduce": config.run.train.dim_reduce,
        "distilled": None,
    }
    if section.distil:
        with connected(config.run), open_run(config.run) as begun:
            from xlt_ray.run.driver import RayDriver
            from xlt_ray.run.scoring import Scorer, all_gold

            driver = RayDriver(config.run, begun.runner, begun.plan)
            scorer = Scorer(driver, all_gold(driver))
            scorer.check_test()
            student = _distilled(config, driver)
            scores = scorer.evaluate("distilled", student, "test")
            begun.runner.lease.check()
            begun.folder.event("done")
        artifact = student.artifact
        metric = driver.benchmark.metric
        store = Store(config.run.store.root)
        teacher = RunFolder(store, section.run, create=False).read_json("report.json")
        record["distilled"] = {
            "artifact": artifact.fingerprint,
            "lr": section.lr,
            "epochs": section.epochs,
            "metric": metric,
            "scores": {name: scores[name][metric] for name in driver.context.languages},
            "teacher": {name: kept[metric] for name, kept in teacher["final"].items()},
        }
    record[KEY] = config.known.to_json()
    to = Path(section.to).expanduser()
    files = adapters_of(artifact) if section.adapters else files_of(artifact)
    record["spans"] = SPAN_SETTINGS in files
    record["causal"] = is_causal(json.loads(files["config.json"].read_bytes()))
    with ready(files, to) as folder:
        if section.adapters:
            _name_base(folder, config.run.backbone)
        if section.onnx:
            record["onnx"] = {"largest_difference": write_onnx(folder, task=record["task"])}
        if section.int8:
            record["int8"] = _write_int8(config, folder, record["task"])
        (folder / "README.md").write_text(_card(config, record), encoding="utf-8")
        (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print("\n".join(_lines(record)), flush=True)
    print(f"model: {to}", flush=True)
    if record["spans"]:
        print(NO_STOCK_MODEL, flush=True)
    if section.push is not None:
        print(f"pushed: {push(to, section.push, public=section.public)}", flush=True)
    return record


def _card(config: ExportConfig, record: Mapping[str, Any]) -> str:
    """The model card, from the run's report and the manifests of what it read."""
    store = Store(config.run.store.root)
    folder = RunFolder(store, config.section.run, create=False)
    texts: dict[str, Any] = {}
    encoder: Mapping[str, Any] = {}
    for entry in folder.read_lines("ledger.jsonl"):
        found = store.find(entry["kind"], entry["fingerprint"])
        if found is not None and entry["kind"] == "text":
            texts[entry["title"].removesuffix(" text")] = found.manifest["params"]["sources"]
        elif found is not None and entry["kind"] == "backbone" and not encoder:
            encoder = found.info
    report = Report.from_json(folder.read_json("report.json"))
    return card(
        config.run, benchmark_of(config.run), report, record, texts,
        encoder=encoder, licence=config.section.licence,
    )  # fmt: skip


def _lines(record: Mapping[str, Any]) -> list[str]:
    """The scores of a distilled model beside those of the run's, and what int8 changes."""
    found, lines = record["distilled"], list[str]()
    if "int8" in record:
        lines.append(f"int8: {100 * record['int8']['equal_labels']:.2f}% equal labels")
    if found is None:
        return lines
    lines += [f"{found['metric']} on test, in percent: run, distilled"]
    for name, score in found["scores"].items():
        before = found["teacher"].get(name)
        shown = "     -" if before is None else f"{100 * before:6.2f}"
        lines.append(f"  {name:16} {shown} {100 * score:6.2f}")
    return lines


def _distilled(config: ExportConfig, driver: "RayDriver") -> Model:
    from xlt_ray.commands.distil import distil

    targets, section = config.targets or driver.pools, config.section
    return distil(driver, config.models, targets, lr=section.lr, epochs=section.epochs)


def dry_run(config: ExportConfig) -> int:
    """Print what would be copied, or trained first; returns the exit code."""
    print("\n".join(settings({"export": to_dict(config.section)})), end="\n\n")
    if not config.section.distil:
        found = config.model.artifact
        print("\n".join(adapters_of(found) if config.section.adapters else files_of(found)))
        return DONE
    from xlt_ray.engine.resources import settle
    from xlt_ray.run.dry_run import DryRun, text_of
    from xlt_ray.run.scoring import Scorer, all_gold

    plan = settle(config.resources, data=config.run.data)
    dry = DryRun(Store(config.run.store.root), plan)
    driver = dry.driver(config.run)
    scorer = Scorer(driver, all_gold(driver))
    scorer.check_test()
    scorer.evaluate("distilled", _distilled(config, driver), "test")
    print(text_of(dry))
    return BAD_CONFIG if dry.missing else DONE


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about keys."""
    shown = run_keys({**defaults, "method": {"name": "maral"}})
    known = [line for line in shown if line.strip().startswith(_GIVEN)]
    own = describe(ExportSection, defaults.get("export", {}), "export.")
    return [
        "keys, with their defaults:", *own,
        "and of the run, whose own values stay where none is given:", *known,
    ]  # fmt: skip


JOB = Job(configure, export, dry_run, keys)
"""What ``jobs/export.py`` does with its flags."""
