"""A trained model behind HTTP: replicas on Ray Serve, and a door in front of them in this process.

The model is put into the store, as for predictions of files, so that every node of a cluster can
load it. The folder of the service keeps a lease while it runs: the same command is refused
meanwhile, and takes over after a kill.
"""

import json
import os
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from xlt_ray.commands.cli import Job
from xlt_ray.commands.front import PREDICT, Counts, Front, LabellingError, Limits
from xlt_ray.commands.service_token import VARIABLE, file_of, token_of
from xlt_ray.commands.trained_models import Finished, check_precision, chosen
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require
from xlt_ray.config.layers import describe, merge, settings, to_dict, validate
from xlt_ray.config.schema import (
    Count,
    DataConfig,
    Language,
    ResourcesConfig,
    Section,
    StoreConfig,
    Text,
    Uri,
    Words,
)
from xlt_ray.data.schema import Task
from xlt_ray.recipe.corpus import Model
from xlt_ray.run.exit_codes import DONE
from xlt_ray.run.session import connected, open_session
from xlt_ray.store.artifacts import Store

if TYPE_CHECKING:
    from xlt_ray.engine.serving import Replicas, Served
    from xlt_ray.run.session import Session
    from xlt_ray.store.artifacts import Artifact

NEEDED = ("fastapi", "prometheus_client", "starlette", "uvicorn")
"""Libraries of the extra ``serve``."""
LAST_SECONDS = 10
"""What requests have to be answered in when the service stops."""
KEEP_ALIVE = 75
"""Seconds that an idle connection stays: longer than clients keep theirs. Whoever sends something
while it is being closed gets no answer."""
NOT_HERE = ("annotators", "train_workers", "train_cpus", "train_gpus", "train_retries")
"""Keys of resources that say nothing of a service."""


class ServeSection(Section, frozen=True):
    """What is served where, and how much a caller may ask for."""

    model: Uri
    """Name of a finished run of the store, or folder of a model, exported or stock."""
    language: Language | None = None
    """The target whose model labels, in runs that have one for each."""
    task: Task | None = None
    """What a stock classifier of texts is for, sentence or pair; other models say so themselves."""
    words: Words | None = None
    """Where words of running text end in token tasks, as in files.words; absent: as in the run."""
    host: Text = "127.0.0.1"
    """Address to listen at; callers on other machines need another one than that of loopback."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen at; 0: any that is free."""
    token_file: Uri | None = None
    """File with the token, readable by its owner alone; absent: the variable XLT_SERVE_TOKEN, or
    else a file that is made."""
    replicas: Count = 1
    """Processes that label, each with the resources of an annotator."""
    batch_tokens: int | None = Field(default=None, ge=8)
    """Token budget (rows x longest) of one forward pass; absent: 1024 on CPUs, 16384 on GPUs."""
    max_bytes: int = Field(default=1 << 20, ge=64)
    """Bytes of a request at most; more is answered 413."""
    max_rows: Count = 1024
    """Rows of a request at most; more are answered 413."""
    queue: Count = 1024
    """Requests at a time at most; more are answered 503."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds that a request may take; then it is answered 503."""


class _Document(Section, frozen=True):
    serve: ServeSection
    resources: ResourcesConfig = ResourcesConfig()
    store: StoreConfig = StoreConfig()


@dataclass(frozen=True)
class ServeConfig:
    """Everything that a service depends on.

    Attributes:
        document: The sections that were given.
        finished: The model, and how it labels.
    """

    document: _Document
    finished: Finished

    @property
    def section(self) -> ServeSection:
        """The section ``serve``."""
        return self.document.serve

    @property
    def resources(self) -> ResourcesConfig:
        """What is asked of the cluster, for one replica."""
        return self.document.resources.model_copy(update={"annotators": 1, "train_workers": 0})

    @property
    def words(self) -> Words:
        """Where words end unless a request says so: as named, or as in the run."""
        return self.section.words or self.finished.words

    @property
    def limits(self) -> Limits:
        """What a caller may ask for."""
        section = self.section
        return Limits(section.max_bytes, section.max_rows, section.queue, section.timeout)

    @property
    def run_name(self) -> str:
        """Name of the service and of its folder: another one for another section."""
        told = json.dumps(to_dict(self.section), sort_keys=True)
        return f"serve-{blake2b(told.encode(), digest_size=4).hexdigest()}"


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> ServeConfig:
    """The configuration of a service.

    Raises:
        ConfigError: a library is not installed, there is no such model, or a key is wrong.
    """
    for module in NEEDED:
        require(module, "serve", "xlt-ray serve needs")
    document = validate(_Document, *merge(defaults, files=files, flags=flags))
    for key in NOT_HERE:
        if key in document.resources.model_fields_set:
            raise ConfigError(
                f"resources.{key}: says nothing of a service; serve.replicas is the number of its "
                "processes, resources.annotator_cpus and annotator_gpus what each of them has"
            )
    section = document.serve
    finished = chosen(
        Store(document.store.root), section.model,
        language=section.language, task=section.task, section="serve",
    )  # fmt: skip
    precision = document.resources.precision
    check_precision(finished, section.model, precision, key="serve.model")
    if precision == "int8" and _text(document, finished) is None:
        raise ConfigError(
            f"serve.model: {section.model} has no text of a run to build its int8 graph with; "
            "serve a finished run of the store, or set resources.precision=fp32"
        )
    return ServeConfig(document, finished)


def _text(document: _Document, finished: Finished) -> "Artifact | None":
    """The text of the model's run, if it is there."""
    from xlt_ray.run.int8 import text_of_run  # reaches PyTorch

    if not isinstance(finished.model, Model):
        return None
    return text_of_run(Store(document.store.root), document.serve.model)


def serve(config: ServeConfig) -> None:
    """Answer requests until Ctrl-C or SIGTERM."""
    section = config.section
    path, token = file_of(section.token_file), token_of(section.token_file)
    os.environ.pop(VARIABLE, None)  # a Ray of one's own, and its workers, do not inherit it
    counts = Counts()
    with (
        _bound(section.host, section.port) as listener,
        connected(config),
        session_of(config) as begun,
        _replicas(config, begun) as replicas,
    ):
        front = Front(
            task=config.finished.task, words=config.words, limits=config.limits, token=token,
            ask=_asking(replicas, counts), replicas=replicas.up, counts=counts,
            log=partial(print, file=sys.stderr, flush=True),
        )  # fmt: skip
        print("\n".join(_welcome(config, listener.getsockname()[1], path)), flush=True)
        _listen(front, listener)
        print("stopping", flush=True)
        begun.folder.event("done")


def session_of(config: ServeConfig) -> "AbstractContextManager[Session]":
    """The folder of the service, on the cluster at hand."""
    return open_session(
        root=config.document.store.root,
        name=config.run_name,
        resources=config.resources,
        data=DataConfig(batch_tokens=config.section.batch_tokens),
        record=to_dict(config.document),
    )


def served_by(config: ServeConfig, begun: "Session") -> "Served":
    """What a replica loads; the model and, in int8, its graph are put into the store."""
    from xlt_ray.commands.labelling import model_of
    from xlt_ray.engine.serving import Served
    from xlt_ray.labels import LabelSet
    from xlt_ray.recipe.task import TaskContext
    from xlt_ray.run.int8 import Graphs

    section, finished, plan = config.section, config.finished, begun.plan
    model = model_of(finished.model, section.model, begun)
    graph = None
    if plan.annotation.precision == "int8":
        text = _text(config.document, finished)
        assert text is not None, "configure has looked"
        context = TaskContext(LabelSet(finished.labels), (), task=finished.task)
        graphs = Graphs(
            begun.runner, context, dim_reduce=finished.dim_reduce, max_length=finished.max_length
        )
        graph = graphs.of("model", model, text, finished.annotator.span_head)
    return Served(
        model=model, labels=finished.labels, task=finished.task, max_length=finished.max_length,
        dim_reduce=finished.dim_reduce, annotator=finished.annotator, arithmetic=plan.annotation,
        batch_tokens=plan.batch_tokens, compiled=config.resources.compile,
        graph=graph,
    )  # fmt: skip


@contextmanager
def _replicas(config: ServeConfig, begun: "Session") -> "Iterator[Replicas]":
    from xlt_ray.engine.resources import available, grown, room_for
    from xlt_ray.engine.serving import replicas_of

    section, plan = config.section, begun.plan
    cpus, gpus = plan.annotators.cpus, plan.annotators.gpus
    nodes = grown(available(config.resources), config.resources.autoscale)
    room = room_for(nodes, 0 if gpus else cpus, gpus)
    if section.replicas > room:
        raise ConfigError(
            f"serve.replicas: {section.replicas} of {cpus} CPUs and {gpus:g} GPUs each, and the "
            f"cluster's nodes have room for {room}"
        )
    served = served_by(config, begun)
    kind = plan.annotation
    print(f"starting {section.replicas} x {kind.device}, {kind.precision}", flush=True)
    with replicas_of(
        served, name=config.run_name, count=section.replicas, cpus=cpus, gpus=gpus,
        at_once=section.queue,
    ) as replicas:  # fmt: skip
        yield replicas


def _asking(replicas: "Replicas", counts: Counts) -> Callable[[Sequence[Any]], Awaitable[Any]]:
    return partial(replicas.ask, again=counts.again.inc, failed=LabellingError)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address, before anything is begun that would be in vain.

    Raises:
        ConfigError: the address is none, or is taken.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = socket.socket(family)
    except OSError as error:
        raise ConfigError(f"serve.host {host!r}: {error.strerror}") from None
    with found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
        except OSError as error:
            raise ConfigError(f"serve.port: {host}:{port}: {error.strerror}") from None
        yield found


def _listen(front: Front, listener: socket.socket) -> None:
    """Answer until a signal, then what is being answered."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            front.app(),
            http="h11",  # the one that limits the size of headers
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
    )
    with suppress(KeyboardInterrupt):  # it raises the signal again when it is done
        server.run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


_EXAMPLES: Mapping[Task, Any] = {
    "token": "Ada Lovelace lived in London.",
    "sentence": "What a film!",
    "pair": ["It rains.", "The street is wet."],
}


def _welcome(config: ServeConfig, port: int, path: Path | None) -> list[str]:
    """Where the service is and how it is called; the token itself is not shown.

    Args:
        config: The configuration.
        port: Where it listens.
        path: File with the token; None: the variable holds it.
    """
    section = config.section
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.host, section.host)
    place = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    secret = f'"${VARIABLE}"' if path is None else f'"$(cat {shlex.quote(str(path))})"'
    body = json.dumps({"texts": [_EXAMPLES[config.finished.task]]})
    lines = [
        f"serving {section.model} at {place}; Ctrl-C stops it",
        f"token: {VARIABLE if path is None else path}",
        f"printf 'Authorization: Bearer %s' {secret} | curl -sS -H @- -d '{body}' {place}{PREDICT}",
    ]
    if not _is_loopback(section.host):
        lines.append(
            f"note: others reach {section.host}:{port}; token and texts travel unencrypted, see "
            "docs/serve.md"
        )
    if config.finished.with_sources is not None:
        lines.append("note: the final model labels alone, as with predict.alone")
    return lines


def dry_run(config: ServeConfig) -> int:
    """Print what would be served where; returns the exit code."""
    print("\n".join(settings({"serve": to_dict(config.section)})), end="\n\n")
    finished = config.finished
    print(f"task:   {finished.task}\nlabels: {', '.join(finished.labels)}")
    print("\n".join(_welcome(config, config.section.port, file_of(config.section.token_file))))
    return DONE


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about keys."""
    own = describe(ServeSection, defaults.get("serve", {}), "serve.")
    resources = [
        line
        for line in describe(ResourcesConfig, {}, "resources.")
        if line.split()[0] not in {f"resources.{key}" for key in NOT_HERE}
    ]
    store = describe(StoreConfig, {}, "store.")
    return ["keys, with their defaults:", *own, *resources, *store]


JOB = Job(configure, serve, dry_run, keys)
"""What ``xlt-ray serve`` does with its flags."""
