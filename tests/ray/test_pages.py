"""README and docs: their commands and their Python run, as a reader would run them.

A reader has data, encoders and finished runs where the pages say, all of them tiny. What a hub or
a bucket would give is in folders of the same layout. Every command of a job runs as it is written;
outside the pages of `WHOLE`, and there where it would train for long, with ``--dry-run``: it reads
all its data and finds every step, but trains nothing. What such commands do then is tested by job.
Commands of a cloud, of Kubernetes, of Docker and of the hub's client are only checked, in
``tests/unit/test_docs.py``, as is what needs a GPU.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.marian import write_marian
from tests.pages import ROOT, Block, called, commands, of_kind, place
from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands import cli
from xlt_ray.config.layers import merge
from xlt_ray.data.benchmarks.registry import BENCHMARKS
from xlt_ray.data.benchmarks.toy import LABELS, make_source, unlabelled_text
from xlt_ray.labels import LabelSet
from xlt_ray.run.exit_codes import DONE

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WHOLE = ("README.md", "export.md", "predict.md", "run.md")
"""Pages whose commands run to their end, on less data."""
SMALL = {
    "benchmark.max_rows": {"train": 60, "dev": 16, "test": 8},
    "resources.annotators": 0, "resources.train_workers": 0, "resources.train_cpus": 1,
}  # fmt: skip
SHORT = {
    "cltp": {"source_epochs": 2, "rounds": 2, "one_hot_rounds": 1, "round_epochs": 1},
    "maral": {"source_epochs": 1, "epochs": 1, "warmup": 1, "k": 20, "q": 16},
}
LANGUAGES = {"toy": list(TARGETS), "wikiann": ["de", "es"]}
"""Targets of whole runs."""
ON_A_CLUSTER = ("cloud.md", "cluster.md", "jobs.md", "kubernetes.md")
"""Pages whose commands are for a cluster that is up; the others' start a Ray if they need one."""
ELSEWHERE = ("cluster.md", "jobs.md", "serve.md")
"""Pages whose Python starts clusters or asks a service; `test_local_cluster`, `test_cluster` and
`test_serve` make such calls."""


def columns(language: str, split: str, rows: int) -> str:
    """Toy sentences, a word and its tag per line."""
    names = LABELS["ner"]
    size = {"train": rows, "dev": rows, "test": rows}
    source, lines = make_source("ner", language, split, size), list[str]()
    for example in source.examples(LabelSet(names)):
        pairs = zip(example.tokens or (), example.labels or (), strict=True)  # type: ignore[union-attr]
        lines += [f"{token}\t{names[label]}" for token, label in pairs] + [""]
    return "\n".join(lines) + "\n"


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_pairs(folder: Path) -> None:
    """XNLI in the layout of the hub: a folder per language, Parquet files per split."""
    names = BENCHMARKS["xnli"].labels
    for language in BENCHMARKS["xnli"].languages:
        for split in ("train", "validation", "test"):
            rows = [(f"a {n} b", f"c {n} d", n % len(names)) for n in range(12)]
            premise, hypothesis, label = (list(column) for column in zip(*rows, strict=True))
            table = pa.table({"premise": premise, "hypothesis": hypothesis, "label": label})
            (folder / language).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / language / f"{split}-00000-of-00001.parquet")


@pytest.fixture(scope="module")
def reader(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all that the pages name, and a home with finished runs."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("encoder", "mini-xlmr"):
        (folder / name).symlink_to(world.backbone)
    for language in BENCHMARKS["wikiann"].languages:
        toy = SOURCE if language == "en" else TARGETS[0]
        for split in ("train", "dev", "test"):
            put(folder / f"wikiann/{language}/{split}.txt", columns(toy, split, 60))
    write_pairs(folder / "xnli")
    put(folder / "en.conll", columns(SOURCE, "train", 80))
    put(folder / "en/one.conll", columns(SOURCE, "train", 80))
    sentences = [
        " ".join(line.split("\t")[0] for line in block.splitlines())
        for block in columns(SOURCE, "train", 80).strip().split("\n\n")
    ]
    table = pa.table({"text": sentences, "sw": sentences})
    pq.write_table(table, put(folder / "translations/en.parquet", ""))
    put(folder / "sw-test.conll", columns(TARGETS[0], "test", 8))
    put(folder / "sw-labelled.conll", columns(TARGETS[0], "train", 8))
    text = "".join(" ".join(words) + "\n" for words in unlabelled_text(TARGETS[0], size=60))
    put(folder / "sw/one.txt", text)
    with pa.CompressedOutputStream(str(folder / "sw/two.txt.zst"), "zstd") as packed:
        packed.write(text.encode())
    lines = [json.dumps({"text": line}) for line in text.splitlines()]
    put(folder / "bucket/sw/three.jsonl", "\n".join(lines) + "\n")
    put(folder / "some.txt", text)
    write_marian(folder / "mbart", text.splitlines() * 5)
    for language in BENCHMARKS["xnli"].languages[1:]:
        (folder / f"opus-{language}-en").symlink_to(folder / "mbart")
        (folder / f"opus-en-{language}").symlink_to(folder / "mbart")
    (folder / "bucket/wikiann").symlink_to(folder / "wikiann")
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.chdir(ROOT)
        yield folder


@pytest.fixture(scope="module")
def runs(reader: Path) -> Path:
    """The finished runs that pages begin from, made by the jobs that they name."""
    say(reader, "xlt-ray run quickstart")
    say(reader, "xlt-ray run maral-wikiann", "run.name=maral-wikiann-s0")
    short = [f"compare.shared.{key}=1" for key in ("source_epochs", "round_epochs", "final_epochs")]
    rows = ["compare.methods=bl_direct,sl_leu", "compare.seeds=0", *short]
    say(reader, "xlt-ray compare compare-toy", *rows)
    return reader / "home/xlt_ray"


def say(reader: Path, command: str, *settings: str) -> None:
    """Run a command to its end, on less data."""
    words = [*command.split(), *(word for item in settings for word in ("--set", item))]
    assert run_job(reader, words, whole=True) == DONE, shlex.join(words)


def run_job(reader: Path, words: list[str], *, whole: bool) -> int:
    """Run a command of a job in this process; its exit code."""
    found = called(words)
    assert found is not None
    flags = here(reader, found.flags, found.defaults, small=whole)
    if not whole and not {"--dry-run", "--help"} & set(flags):
        flags.append("--dry-run")
    try:
        return cli.run_job(found.defaults, found.description, flags, job=found.job)
    except SystemExit as done:  # as --help ends
        return int(done.code or 0)


def here(
    reader: Path, flags: Sequence[str], defaults: Mapping[str, Any], *, small: bool
) -> list[str]:
    """Flags with the reader's folders in place of FOLDER, buckets and the hub."""
    moved = [
        flag.replace("FOLDER", str(reader))
        .replace("s3://BUCKET", f"{reader}/bucket")
        .replace("s3://bucket", f"{reader}/bucket")
        .replace("/store/", f"{reader}/")
        .replace("Helsinki-NLP/opus-mt-", f"{reader}/opus-")
        .replace("facebook/mbart-large-50-many-to-many-mmt", f"{reader}/mbart")
        for flag in flags
    ]
    files = [value for flag, value in pairwise(moved) if flag == "--config"]
    sets = [value for flag, value in pairwise(moved) if flag == "--set"]
    given, _ = merge(defaults, files=files, flags=sets)
    own = dict[str, Any]()
    name, benchmark = (given.get("method") or {}).get("name", ""), given.get("benchmark") or {}
    if small and "backbone" in given:
        own |= {**SMALL, **{f"method.{key}": x for key, x in SHORT.get(name, {}).items()}}
        if benchmark.get("name") in LANGUAGES:
            own["benchmark.targets"] = LANGUAGES[benchmark["name"]]
    elif "backbone" in given and benchmark.get("name", "toy").startswith("toy"):
        own["benchmark.max_rows"] = SMALL["benchmark.max_rows"]  # it is made, not read
    if "backbone" in given:
        own["backbone"] = str(reader / "encoder")
    if benchmark.get("name") in ("wikiann", "xnli") and "root" not in benchmark:
        own["benchmark.root"] = str(reader / benchmark["name"])
    return [*moved, *(word for key, x in own.items() for word in ("--set", f"{key}={shown(x)}"))]


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def jobs_in(block: Block) -> list[list[str]]:
    """The commands of jobs in a block, those that are handed to a cluster, too."""
    return [words for words in commands(block.text) if called(words) is not None]


CALLS = [block for block in of_kind("sh") if jobs_in(block)]


@pytest.mark.parametrize("block", [b for b in CALLS if b.page.name not in ON_A_CLUSTER], ids=place)
def test_commands_run(reader: Path, runs: Path, block: Block) -> None:
    for words in jobs_in(block):
        whole = block.page.name in WHOLE
        assert run_job(reader, words, whole=whole) == DONE, shlex.join(words)


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words:UserWarning")
@pytest.mark.parametrize(
    "block", [b for b in of_kind("python no-run") if b.page.name not in ELSEWHERE], ids=place
)
def test_python_of_finished_runs(reader: Path, runs: Path, block: Block) -> None:
    text = block.text.replace("FOLDER/tagger", str(runs / "runs/quickstart/model"))
    text = text.replace("FOLDER", str(reader))
    exec(compile(text, place(block), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("block", [b for b in CALLS if b.page.name in ON_A_CLUSTER], ids=place)
def test_commands_run_on_a_cluster(
    reader: Path, runs: Path, ray_cluster: str, block: Block
) -> None:
    test_commands_run(reader, runs, block)
