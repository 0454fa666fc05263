"""The calls: a run, a comparison, a sweep, predictions, and a model that is there already.

Keyword arguments are the keys of the configuration: sections as mappings (``train={"batch_size":
8}``), dotted keys (``**{"train.batch_size": 8}``), and everything else is a key of the method
(``rounds=5``). They are checked by the same schema as those of the command line, with the same
messages.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt_ray.api.inputs import inside, is_paths, places_of
from xlt_ray.api.keys import Data, keys_of, named, root_of
from xlt_ray.api.results import ComparisonResult, Run, SweepResult
from xlt_ray.config.layers import Keys
from xlt_ray.engine.environment import prepare
from xlt_ray.recipe.method import Method
from xlt_ray.run.failures import public_error
from xlt_ray.store.artifacts import PREDICTIONS, Store
from xlt_ray.store.parquet import open_parquet

if TYPE_CHECKING:
    from xlt_ray.api.model import Model

MethodLike = str | type[Method[Any]]
"""A method by name, or its class."""


@contextmanager
def _public_errors() -> Iterator[None]:
    """Errors as `xlt_ray.config.errors` has them; Ctrl-C stays what it is."""
    try:
        yield
    except Exception as error:
        raise public_error(error) from error


def _prepare(address: str | None) -> None:
    prepare(local=(address or os.environ.get("RAY_ADDRESS")) in (None, "", "local"))


def self_train(
    *,
    method: MethodLike | None = None,
    source: Data | None = None,
    dev: Data | None = None,
    unlabelled: Data | None = None,
    few: Data | None = None,
    test: Data | None = None,
    name: str | None = None,
    store: str | PathLike[str] | None = None,
    **keys: Any,
) -> Run:
    """Train a model for languages that have raw text, and few labelled rows or none.

    Args:
        method: Name of a method, or its class; absent: one that fits the text.
        source: Labelled text by language, to learn from.
        dev: Labelled text of source languages that chooses models; absent: a share of ``source``.
            With ``benchmark={"select_on": "target_dev"}`` that of the targets.
        unlabelled: Raw text by target language.
        few: A few labelled rows of targets by language, to learn from as well.
        test: Labelled text by language that the models are scored on, and nothing else.
        name: Name of the run; the same name with the same arguments goes on where it ended.
        store: Folder or URI of artifacts and runs.
        **keys: Keys of the configuration, see the module: ``backbone``, ``benchmark``, ``train``,
            ``resources``, ``seed``, ... and those of the method.

    Returns:
        The finished run: ``scores``, ``report``, ``model``.

    Raises:
        ConfigError: a key is wrong; says what is allowed.
        DataError: text cannot be read; names the file or argument.
        RunInterrupted: something failed on the way; the same call goes on from there.
    """
    from xlt_ray.commands import self_train as command

    with _public_errors():
        given = {**keys, **({} if method is None else {"method.name": named(method)})}
        data = {"source": source, "dev": dev, "few": few, "unlabelled": unlabelled, "test": test}
        values = keys_of(given, data=data, name=name, store=store, rest="method")
        config = command.configure(values)
        _prepare(config.resources.address)
        command.run(config)
        return Run(config.run_name, config.store.root)


def compare(
    methods: Sequence[MethodLike] | Mapping[str, Any],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    source: Data | None = None,
    dev: Data | None = None,
    unlabelled: Data | None = None,
    few: Data | None = None,
    test: Data | None = None,
    name: str | None = None,
    store: str | PathLike[str] | None = None,
    **keys: Any,
) -> ComparisonResult:
    """Run several methods with several seeds, and make one table of them.

    Args:
        methods: Methods; or by title of the row a method, or its keys with ``name`` among them.
        seeds: Seeds of every row.
        source: As of `self_train`, like the arguments below.
        dev: As of `self_train`.
        unlabelled: As of `self_train`.
        few: As of `self_train`.
        test: As of `self_train`.
        name: Name of the comparison.
        store: Folder or URI of artifacts and runs.
        **keys: Keys of the configuration; others are keys of every method that has them.

    Raises:
        ConfigError, DataError, RunInterrupted: as of `self_train`.
    """
    from xlt_ray.commands import compare as command

    with _public_errors():
        data = {"source": source, "dev": dev, "few": few, "unlabelled": unlabelled, "test": test}
        values = keys_of(keys, data=data, name=name, store=store, rest="compare.shared")
        section = values.setdefault("compare", {})
        section |= {"methods": _rows(methods), "seeds": list(seeds)}
        config = command.configure(values)
        _prepare(config.resources.address)
        command.compare(config)
        return ComparisonResult(config.name, config.first.store.root)


def _rows(methods: Sequence[MethodLike] | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not isinstance(methods, Mapping):
        names = [named(method) for method in methods]
        return {name: {"name": name} for name in names}
    rows = {}
    for title, row in methods.items():
        own = dict(row) if isinstance(row, Mapping) else {"name": row}
        rows[title] = {**own, "name": named(own.get("name", title))}
    return rows


def sweep(
    *,
    method: MethodLike,
    space: Mapping[str, Sequence[Any]] | str | Path | None = None,
    source: Data | None = None,
    dev: Data | None = None,
    unlabelled: Data | None = None,
    few: Data | None = None,
    test: Data | None = None,
    name: str | None = None,
    store: str | PathLike[str] | None = None,
    **keys: Any,
) -> SweepResult:
    """Search the settings of a method, by its score on source dev alone.

    Args:
        method: Name of a method, or its class.
        space: Values to try by key of the method; or a Python file with ``SPACE``, domains of
            ray.tune by key; absent: the method's own.
        source: As of `self_train`, like the arguments below.
        dev: As of `self_train`.
        unlabelled: As of `self_train`.
        few: As of `self_train`.
        test: As of `self_train`; no trial reads it.
        name: Name of the sweep.
        store: Folder or URI of artifacts and runs.
        **keys: Keys of the configuration, ``sweep`` among them (``sweep={"trials": 20}``), and
            those of the method.

    Raises:
        ConfigError, DataError, RunInterrupted: as of `self_train`.
    """
    from xlt_ray.commands import sweep as command
    from xlt_ray.commands.sweep_config import configure

    with _public_errors():
        data = {"source": source, "dev": dev, "few": few, "unlabelled": unlabelled, "test": test}
        search = dict(keys.pop("sweep", {}))
        if isinstance(space, Mapping):
            search["keys"] = {key: list(choices) for key, choices in space.items()}
        elif space is not None:
            search["space"] = str(space)
        given = {**keys, "method.name": named(method)}
        values = keys_of(given, data=data, name=name, store=store, rest="method")
        config = configure(command.SPACES, Keys({**values, "sweep": search}, values.origin))
        _prepare(config.resources.address)
        command.sweep(config)
        return SweepResult(config.name, config.base.store.root)


def predict(
    model: str,
    data: Any,
    *,
    to: str | None = None,
    store: str | PathLike[str] | None = None,
    resources: Mapping[str, Any] | None = None,
    **keys: Any,
) -> Any:
    """Label text of any size on the cluster with a finished run, or with a model in a folder.

    Args:
        model: Name of a finished run, or folder of a model.
        data: Paths and globs, or rows; see `xlt_ray.api.inputs.KINDS`.
        to: Folder or URI that is written into; needed for paths, optional for rows.
        store: Folder or URI of artifacts and runs.
        resources: What is asked of the cluster.
        **keys: Other keys of ``predict``: ``language``, ``task``, ``format``, ``columns``,
            ``words``.

    Returns:
        For rows a table of them with ``prediction`` and ``confidence``, in their order, where no
        folder is named; else the folder.

    Raises:
        ConfigError, DataError, RunInterrupted: as of `self_train`.
    """
    from xlt_ray.commands import predict as command

    with _public_errors():
        root = Store(root_of(store))
        places = places_of(data, root, "data")
        section = {**keys, "model": model, "files": places}
        into, digest = to, ""
        if into is None and not is_paths(data):
            told = repr([model, *sorted(keys.items()), *places])
            digest = blake2b(told.encode(), digest_size=8).hexdigest()
            into = inside(root.root, f"{PREDICTIONS}/{digest}")
            section["format"] = "parquet"
        if into is not None:
            section["to"] = into
        values: dict[str, Any] = {"predict": section, "store": {"root": root.root}}
        config = command.configure(Keys({**values, "resources": dict(resources or {})}, "the call"))
        _prepare(config.resources.address)
        command.predict(config)
        assert into is not None
        if to is not None:
            return to
        (written,) = (file.name for file in config.files)
        with root.fs.open_input_file(f"{root.base}/{PREDICTIONS}/{digest}/{written}") as file:
            return open_parquet(file, written).read()


def load(
    name: str,
    *,
    language: str | None = None,
    task: Any = None,
    store: str | PathLike[str] | None = None,
) -> "Model":
    """A trained model: of a finished run, or of a folder, exported or stock.

    Args:
        name: Name of the run, or the folder.
        language: The target whose model it is, in runs that have one for each.
        task: What a stock classifier of texts is for, ``sentence`` or ``pair``.
        store: Folder or URI of artifacts and runs.

    Raises:
        ConfigError: there is no such model.
    """
    from xlt_ray.api.model import Model
    from xlt_ray.commands.trained_models import finished_in, finished_run
    from xlt_ray.recipe.corpus import Model as Trained

    with _public_errors():
        root = Store(root_of(store))
        found = finished_run(root, name, language) or finished_in(name, task)
        if isinstance(found.model, Trained):
            return Model(found, found.model.artifact.local())
        return Model(found, Path(name).expanduser())
