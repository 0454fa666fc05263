"""The configuration of a run: merged, validated, and checked against its benchmark and method."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require, require_precision
from xlt_ray.config.layers import load
from xlt_ray.config.schema import MethodConfig, RunConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.readers.user_files import resolved
from xlt_ray.metrics import METRICS

if TYPE_CHECKING:
    from xlt_ray.recipe.method import Method


_registered: "dict[str, type[Method]]" = {}
"""Methods of callers of this process, by name."""


def known_methods() -> "dict[str, type[Method]]":
    """The methods by name, those of callers among them."""
    from xlt_ray.methods import METHODS

    return {**METHODS, **_registered}


def recipes() -> "dict[str, type[Method]]":
    """What a run or a row of a comparison can name: the methods, and upper bounds."""
    from xlt_ray.methods.iwda.upper_bound import UPPER_BOUNDS

    return {**known_methods(), **UPPER_BOUNDS}


def register(method: "type[Method]") -> str:
    """Make a caller's method known to this process; gives its name.

    Raises:
        ConfigError: it is no method, has the name of another one, or its code is in no file, so
            that no fingerprint could hold it.
    """
    from xlt_ray.methods import METHODS
    from xlt_ray.methods.iwda.upper_bound import UPPER_BOUNDS
    from xlt_ray.recipe.method import Method

    shown = getattr(method, "__qualname__", repr(method))
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ConfigError(f"method: {shown} is neither a name nor a subclass of Method")
    name = method.Config.model_fields["name"].default
    if not isinstance(name, str):
        raise ConfigError(f"method: the configuration of {shown} has no default for its name")
    others = {**METHODS, **UPPER_BOUNDS}
    if name in others and others[name] is not method:
        raise ConfigError(f"method: {shown} is called {name!r}, the name of another method")
    if getattr(sys.modules.get(method.__module__), "__file__", None) is None:
        raise ConfigError(
            f"method: {shown} is of a notebook or an interactive session; put it into a file, so "
            "that its steps are known by its code"
        )
    if name not in others:
        _registered[name] = method
    return name


def method_of(config: MethodConfig) -> "type[Method]":
    """The method that a configuration is of, also in a process that it was sent to."""
    from xlt_ray.recipe.method import Method

    found = recipes().get(config.name)
    if found is not None and found.Config is type(config):
        return found
    pending = [Method]
    while pending:
        method = pending.pop()
        if getattr(method, "Config", None) is type(config):
            return method
        pending += method.__subclasses__()
    raise ConfigError(f"method.name: unknown method {config.name!r}")


def configure_run(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> RunConfig[Any]:
    """The configuration of a run, checked as far as that needs no data.

    Raises:
        ConfigError: what is wrong, where it came from, what is allowed.
    """
    schemas = {name: item.Config for name, item in recipes().items()}
    return check_run(load(defaults, files=files, flags=flags, methods=schemas))


def check_words(config: RunConfig[Any]) -> None:
    """Whether translations of words are asked for only where labels of words are carried over.

    Raises:
        ConfigError: they would lose their labels; says which.
    """
    given, chosen = config.translation, config.benchmark
    if not given.replace:
        if (given.model or given.ready) and not given.train:
            raise ConfigError(
                "translation: words of a token task would lose their labels there and back; "
                "allowed: translation.train for the source gold, translation.replace for the text "
                "of the targets"
            )
        return
    lost = {
        "translation.back": given.back is not None,  # words are not translated back
        "labellers": bool(config.labellers),
        "benchmark.few": bool(chosen.few),
        "benchmark.select_on": chosen.select_on == "target_dev",
        "method.given": bool(getattr(config.method, "given", None)),
    }
    if keys := [key for key, there in lost.items() if there]:
        raise ConfigError(
            f"translation.replace: {', '.join(keys)} of a token task: these labels are of the "
            "words of the text, and its translation has others; leave out one of them"
        )


def check_run(config: RunConfig[Any]) -> RunConfig[Any]:
    """The configuration, if its benchmark, method and training fit each other, with what files of
    the user's own say of their task and labels.

    Raises:
        ConfigError: they do not; says why.
    """
    config = resolved(config)
    name, benchmark = config.benchmark.name, benchmark_of(config)
    method, task = method_of(config.method), benchmark.task
    if task not in method.tasks:
        able = ", ".join(sorted(method.tasks))
        raise ConfigError(
            f"method.name: {config.method.name} works on {able} tasks, and {name} is a {task} task"
        )
    if method.needs_bio and task == "token" and not benchmark.label_set.is_bio:
        raise ConfigError(
            f"method.name: {config.method.name} selects by entities, and {name} has no BIO labels"
        )
    if config.labellers and not method.learns_from_labellers:
        able = sorted(x for x, other in known_methods().items() if other.learns_from_labellers)
        raise ConfigError(
            f"labellers: {config.method.name} does not learn from {', '.join(config.labellers)}; "
            f"allowed with them: {', '.join(able)}"
        )
    if config.benchmark.leave_one_out and not method.leaves_one_out:
        raise ConfigError(
            f"benchmark.leave_one_out: {config.method.name} trains one model for all targets"
        )
    if config.benchmark.leave_one_out and config.benchmark.adapt_source:
        raise ConfigError("benchmark.adapt_source: a source that is left out is adapted already")
    if config.benchmark.dev and config.benchmark.select_on == "target_dev":
        raise ConfigError(
            f"benchmark.dev: {', '.join(config.benchmark.dev)} would choose no model, as "
            "benchmark.select_on is target_dev; leave out one of them"
        )
    metric = config.benchmark.metric
    if metric is not None and metric not in METRICS:
        raise ConfigError(f"benchmark.metric: unknown {metric!r}; allowed: {', '.join(METRICS)}")
    has_entities = task == "token" and benchmark.label_set.is_bio
    if metric is not None and METRICS[metric].of_entities and not has_entities:
        raise ConfigError(f"benchmark.metric: {metric} needs entities, {name} has no BIO labels")
    for language, prior in config.benchmark.prior.items():
        if prior != "random" and (len(prior) != len(benchmark.labels) or sum(prior) == 0):
            raise ConfigError(
                f"benchmark.prior: {language} has {len(prior)} shares, {name} has "
                f"{len(benchmark.labels)} classes: {', '.join(benchmark.labels)}; their sum is "
                "above 0"
            )
    given = config.translation
    if task == "token":
        check_words(config)
    if config.benchmark.leave_one_out and (given.replace or given.train):
        key = "replace" if given.replace else "train"
        raise ConfigError(f"translation.{key}: a source that is left out is not translated")
    if given.train and given.project == "markers" and task == "token" and not has_entities:
        raise ConfigError(
            f"translation.project: markers are put around entities, and {name} has no BIO labels; "
            "allowed: auto, alignment"
        )
    if config.train.lora.rank:
        require("peft", "lora", "train.lora needs")
        if getattr(config.method, "select", None) == "average":
            raise ConfigError(
                "method.select: average takes the mean of weights, and train.lora trains adapters: "
                "the mean of products of matrices is not the product of their means; allowed with "
                "it: source_dev, agreement"
            )
    require_precision(config.resources.precision)
    if config.train.dim_reduce is not None and task == "token":
        raise ConfigError(
            f"train.dim_reduce: {config.train.dim_reduce}, but {name} is a token task, whose head "
            "has no projection"
        )
    try:
        config.method.check_classes(len(benchmark.labels))
    except ValueError as error:
        raise ConfigError(f"method.{error} for {name}") from None
    return config
