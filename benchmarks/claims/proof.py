"""`make proof`: one claim of each method, measured in minutes, two at a time.

Without data of the user's own everything runs on the embedded benchmark with its own encoder, which
is trained first. With ``--data`` it runs on real text, with the encoder of ``--backbone``, of the
environment variable XLT_BACKBONE, or of the model hub. Each claim is a comparison of one seed, in a
process of its own; all share a store, so a proof that was killed goes on when it is started again.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.claims.measure import NotMeasuredError, comparisons_in, figure_of, runs_of
from benchmarks.claims.page import shown
from benchmarks.claims.schema import ROOT, Claim, read_claims
from xlt_ray.commands import compare
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.environment import prepare
from xlt_ray.report.tables import markdown_table
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.session import connected, open_run

PROOFS = Path(__file__).with_name("proof.yaml")
HUB = "intfloat/multilingual-e5-small"
"""The encoder of real text, where none is named."""
HELD = {"shown": "held", "opposite": "did not hold", "not shown": "cannot be told"}
"""What a verdict is called in the table."""


@dataclass(frozen=True)
class Asked:
    """What the claims are measured on.

    Attributes:
        data: A folder with a folder for each benchmark; None: the embedded benchmark.
        backbone: The encoder, a folder or a name on the hub; None: the embedded one, or `HUB`.
        store: Folder of the store.
    """

    data: Path | None
    backbone: str | None
    store: Path

    def __post_init__(self) -> None:
        if self.backbone and self.data is None:
            raise ConfigError("proof: an encoder of yours needs --data, text in real languages")

    @property
    def encoder(self) -> str:
        """The encoder, as a configuration names it, whatever the folder that reads it."""
        if self.data is None:
            return "toy"
        folder = Path(self.backbone or HUB)
        return str(folder.resolve()) if folder.is_dir() else self.backbone or HUB

    @property
    def words(self) -> str:
        """The encoder and the text, for readers."""
        if self.data is None:
            return (
                "Encoder: that of the embedded benchmark, two layers trained here on its invented "
                "languages. So this says whether the methods work, and nothing of human languages."
            )
        return f"Encoder: {self.encoder}, on text in {self.data}."


@dataclass(frozen=True)
class Proof:
    """A claim, and what measures it.

    Attributes:
        name: Name of the method.
        claim: The claim.
        keys: Configuration of the comparison.
    """

    name: str
    claim: Claim
    keys: Mapping[str, Any]


def proofs(asked: Asked, path: Path = PROOFS) -> list[Proof]:
    """The claims of a file, with configurations that are checked.

    Raises:
        ConfigError: a key is wrong, or the folder of a benchmark is not there.
    """
    known = {claim.id: claim for claim in read_claims()}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    common = content.pop("common")
    found = []
    for name, item in content.items():
        keys: dict[str, Any] = {
            **common,
            **(item["embedded"] if asked.data is None else item["real"]),
        }
        if asked.data is not None:
            there = [x for x in (asked.data / y for y in item["data"]) if x.is_dir()]
            if not there:
                raise ConfigError(f"proof: no folder {asked.data / item['data'][0]}")
            keys["benchmark"] = {**keys["benchmark"], "root": str(there[0].resolve())}
            keys["resources"] = {**keys["resources"], "precision": "bf16"}
        run = {"run": {"name": f"proof-{name}"}, "store": {"root": str(asked.store.resolve())}}
        keys = {**keys, "backbone": asked.encoder, **run}
        keys["compare"] = {**keys["compare"], "published": []}
        compare.configure(keys)
        found.append(Proof(name, known[item["claim"]], keys))
    return found


def carry_out(asked: Asked, *, at_once: int, only: Sequence[str] = ()) -> int:
    """Run the comparisons, print a table; returns the exit code, 1 if one of them did not end.

    Args:
        asked: What they are measured on.
        at_once: Comparisons at work at once at most.
        only: Names of those that are run; empty: all.
    """
    chosen = [proof for proof in proofs(asked) if not only or proof.name in only]
    asked.store.mkdir(parents=True, exist_ok=True)
    print(asked.words, flush=True)
    began = time.monotonic()
    if asked.data is None and chosen:
        print("the encoder ...", flush=True)
        make_encoder(chosen[0])
    with ThreadPoolExecutor(at_once) as pool:
        ended = list(pool.map(lambda proof: run(proof, asked.store), chosen))
    lines = [_line(proof, asked.store, end) for proof, end in zip(chosen, ended, strict=True)]
    columns = ("method", "claim", "difference", "95% interval", "it", "minutes")
    print(f"\n{markdown_table(columns, lines, left=2)}\n\n{asked.words}")
    print(
        "Intervals are over the test sentences alone: there is one seed. "
        f"{(time.monotonic() - began) / 60:.1f} minutes in all; reports: {asked.store}/runs"
    )
    return int(any(end.code for end in ended))


def make_encoder(proof: Proof) -> None:
    """Train the embedded encoder, once, before comparisons that run side by side want it."""
    prepare(local=True)
    config = compare.configure(proof.keys).first
    with connected(config), open_run(config) as begun:
        assert RayDriver(config, begun.runner, begun.plan).backbone


@dataclass(frozen=True)
class Ended:
    """How a comparison ended.

    Attributes:
        code: Its exit code.
        seconds: Wall time.
    """

    code: int
    seconds: float


def run(proof: Proof, store: Path) -> Ended:
    """Carry out one comparison in a process of its own; its output goes to a file."""
    print(f"{proof.name}: {proof.claim.sentence} ...", flush=True)
    file, log = store / f"proof-{proof.name}.yaml", store / f"proof-{proof.name}.log"
    file.write_text(yaml.safe_dump(_plain(proof.keys)), encoding="utf-8")
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        command = [sys.executable, str(ROOT / "jobs/compare.py"), "--config", str(file)]
        code = subprocess.run(command, stdout=out, stderr=out, cwd=ROOT).returncode
    seconds = time.monotonic() - began
    print(f"{proof.name}: {f'exit code {code}, see {log}' if code else 'done'}", flush=True)
    return Ended(code, seconds)


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(x) if isinstance(x, Mapping) else x for key, x in keys.items()}


def _line(proof: Proof, store: Path, end: Ended) -> list[str]:
    """A row of the table."""
    told = [proof.name, f"{proof.claim.sentence} ({proof.claim.source})"]
    minutes = f"{end.seconds / 60:.1f}"
    if end.code:
        return [*told, "-", "-", "did not end", minutes]
    found = runs_of(comparisons_in([store / "runs"]))[f"proof-{proof.name}"]
    try:
        figure = figure_of(proof.claim, found)
    except NotMeasuredError as error:
        return [*told, "-", "-", f"not measured: {error}", minutes]
    return [*told, *shown(figure), HELD[figure.verdict], minutes]
