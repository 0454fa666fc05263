"""A run on files of the user's own: the method may be left out, and is recommended then.

Before anything is trained it is shown what was found in the files: the task, the labels, the
splits of each language; a dry run adds the plan and about what it costs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.commands.recommend import Recommendation, recommend
from xlt_ray.config.layers import merge, validate, with_keys
from xlt_ray.config.schema import DataConfig, FilesConfig, RunConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.readers import user_files
from xlt_ray.engine.cost import cost_lines, shape_of
from xlt_ray.engine.footprint import memory_line
from xlt_ray.engine.pool import operations_of
from xlt_ray.labels import LabelSet
from xlt_ray.run import session
from xlt_ray.run.check import configure_run
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.rehearsal import followed


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> RunConfig[Any]:
    """The configuration of a run, with a recommended method if none is named.

    Raises:
        ConfigError: what is wrong, where it came from, what is allowed.
    """
    given, origins = merge(defaults, files=files, flags=flags)
    is_files = (given.get("benchmark") or {}).get("name") == user_files.NAME
    if is_files and "name" not in (given.get("method") or {}):
        section = validate(FilesConfig, given.get("files", {}), origins)
        data = validate(DataConfig, given.get("data", {}), origins)
        method = {**(given.get("method") or {}), "name": advice(section, data, given).method}
        defaults = with_keys(defaults, method=method)
    return configure_run(defaults, files, flags)


def advice(files: FilesConfig, data: DataConfig, given: Mapping[str, Any]) -> Recommendation:
    """The method that suits some files."""
    names = user_files.sources_named(files, (given.get("benchmark") or {}).get("source"))
    found = user_files.found_in(files, names, data.max_row_bytes)
    entities = found.task == "token" and LabelSet(found.labels).is_bio
    return recommend(found.task, has_entities=entities, sources=len(names))


def shown(config: RunConfig[Any]) -> list[str]:
    """What was found in the files, and which method it suits; nothing of other benchmarks."""
    if config.benchmark.name != user_files.NAME:
        return []
    files, benchmark = config.files, benchmark_of(config)
    assert files.task is not None
    entities = files.task == "token" and benchmark.label_set.is_bio
    sources = config.benchmark.source or benchmark.sources
    best = recommend(files.task, has_entities=entities, sources=len(sources))
    kinds = benchmark.label_set.entity_types if entities else benchmark.labels
    lines = [f"task:    {files.task}" + (f", entities in {files.scheme}" if entities else "")]
    lines += [f"{'types:' if entities else 'labels:':8} {', '.join(kinds)}"]
    for language, splits in files.paths.items():
        role = "source" if language in sources else "target"
        held = "" if language not in sources or "dev" in splits else (
            f" ({files.dev_share:.0%} of train as dev)"
        )  # fmt: skip
        lines.append(f"{language + ':':8} {role}: {', '.join(splits)}{held}")
    unscored = [name for name in files.paths if not benchmark.has(name, "test")]
    if len(unscored) == len(files.paths):
        lines.append("scored:  nothing, as there are no test files")
    elif unscored:
        lines.append(f"scored:  all but {', '.join(unscored)}, which have no test files")
    lines.append(f"method:  {config.method.name}")
    if config.method.name != best.method:
        lines.append(f"         recommended: {best.method} ({best.reason})")
    else:
        lines.append(f"         recommended: {best.reason}")
    return lines


def run(config: RunConfig[Any]) -> dict[str, Any]:
    """Show what was found, and run."""
    if lines := shown(config):
        print("\n".join(lines), end="\n\n", flush=True)
    return session.run(config)


def dry_run(config: RunConfig[Any]) -> int:
    """Show what was found, check everything, print the plan and its cost; gives the exit code."""
    if lines := shown(config):
        print("\n".join(lines), end="\n\n")
    dry = followed(config)
    trained, read = dry.runner.row_passes
    sample = dry.runner.sample
    lines = cost_lines(config, dry.plan, trained=trained, read=read, sample=sample)
    if operations_of(shape := shape_of(config), 1.0) is not None:
        gpus = dry.plan.training.precision if dry.plan.train_gpus else "bf16"
        workers = dry.plan.world if config.train.shard else 1
        lines.append(memory_line(shape, config.train, gpus, workers))
    print("\n".join(["", *lines]))
    return BAD_CONFIG if dry.missing else DONE


JOB = Job(configure, run, dry_run, run_keys)
"""What ``jobs/self_train.py`` does with its flags."""
