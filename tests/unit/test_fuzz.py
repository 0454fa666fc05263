"""Inputs that nobody means to give: each is taken, quarantined, or told in one clear line.

A fixed number of cases from fixed seeds, so that a failure comes back; its seed is in the message.
"""

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults import DEEP, mutated
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import load
from xlt_ray.config.schema import FilesConfig
from xlt_ray.data.readers.files import FileSource
from xlt_ray.data.readers.hub import HubSource
from xlt_ray.data.readers.user_files import TagInventory, UserSource, found_in
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.engine.translate import ready_of
from xlt_ray.labels import LabelSet
from xlt_ray.methods import METHODS

pytestmark = pytest.mark.slow

LABELS = LabelSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
CLASSES = LabelSet(("good", "bad"))
SCHEMAS = {name: method.Config for name, method in METHODS.items()}
JOB = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "cltp"}}
LONGEST = 2000
"""Letters of what a user reads, at most."""
MOST_LINES = 25


# -- what is mutated ------------------------------------------------------------------------------

COLUMNS = "Anna\tB-PER\nlacht\tO\n\nin\tO\nBonn\tB-LOC\n\n" * 8
REST = "\t_" * 6
TREEBANK = "".join(
    f"# sent_id = {n}\n1\tAnna\t_\tPROPN{REST}\n2-3\tam\t_\t_{REST}\n2\tlacht\t_\tVERB{REST}\n\n"
    for n in range(8)
)
ONTONOTES = (
    "#begin document (x); part 000\n"
    + "".join(
        f"x 0 {n} {word} NN * - - - - {bracket}\n"
        for n, (word, bracket) in enumerate([("AG", "(ORG*"), ("Ulm", "*)"), ("ja", "*")] * 6)
    )
    + "\n#end document\n"
)
OBJECTS = "".join(
    json.dumps({"id": str(n), "tokens": ["Anna", "lacht"], "tags": ["B-PER", "O"], "n": [n, 1.5]})
    + "\n"
    for n in range(12)
)
TEXTS = "".join(json.dumps({"text": f"es ist {n}", "label": "good"}) + "\n" for n in range(12))
TABLE = "text,label\n" + "".join(f'"so {n}, ""ja""\nund",bad\nkurz {n},good\n' for n in range(8))
PLAIN = "Anna lacht. Bonn, 12!\n\n今日は、世界\n今日は\n" * 6


def parquet() -> bytes:
    rows = {
        "text": [f"es ist {n}" for n in range(40)],
        "label": ["good", "bad"] * 20,
        "more": [[{"a": n}] for n in range(40)],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), sink, row_group_size=16)
    return sink.getvalue().to_pybytes()


FILES: dict[str, tuple[str, str, bytes]] = {
    "columns": ("a.conll", "token", COLUMNS.encode()),
    "tsv": ("a.tsv", "token", COLUMNS.encode()),
    "treebank": ("a.conllu", "token", TREEBANK.encode()),
    "objects": ("a.jsonl", "token", OBJECTS.encode()),
    "texts": ("a.jsonl", "sentence", TEXTS.encode()),
    "table": ("a.csv", "sentence", TABLE.encode()),
    "table with tabs": ("a.tsv", "sentence", TABLE.replace(",", "\t").encode()),
    "plain": ("a.txt", "sentence", PLAIN.encode()),
    "words": ("a.txt", "token", PLAIN.encode()),
    "parquet": ("a.parquet", "sentence", parquet()),
    "gz": ("a.jsonl.gz", "sentence", gzip.compress(TEXTS.encode(), mtime=0)),
    "zst": ("a.conll.zst", "token", pa.compress(COLUMNS.encode(), "zstd", asbytes=True)),
}
"""Name, kind of task and content of a file of each kind."""


def mutants(content: bytes, name: str, rng: random.Random) -> Iterator[bytes]:
    """Endless mutants of a file, of packed ones also of what is in them."""
    packs: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        "gz": (gzip.decompress, lambda data: gzip.compress(data, mtime=0)),
        "zst": (
            lambda data: pa.input_stream(io.BytesIO(data), compression="zstd").read(),
            lambda data: pa.compress(data, "zstd", asbytes=True),
        ),
    }
    packed = packs.get(name.rsplit(".", 1)[-1])
    while True:
        if packed and rng.random() < 0.5:
            yield packed[1](mutated(packed[0](content), rng))
        else:
            yield mutated(content, rng)


def told(call: Callable[[], object]) -> bool:
    """Whether a call ends in an error that a user can read: of this project, and of a few lines."""
    found: ValueError | None = None
    try:
        call()
    except ValueError as error:
        found = error
    if found is not None:
        lines = str(found).splitlines()
        assert type(found) in (ValueError, ConfigError), repr(found)[:LONGEST]
        assert 0 < len(lines) <= MOST_LINES
        assert max(map(len, lines)) < LONGEST
    return found is not None


# -- readers --------------------------------------------------------------------------------------


def went_through(source: Any, labels: LabelSet | None, limit: int | None) -> str:
    """How reading ended: how many rows were good and bad, or that it was told why."""
    rows: list[Example | BadRow] = []
    if told(lambda: rows.extend(source.examples(labels, limit))):
        return "told"
    bad = [row for row in rows if isinstance(row, BadRow)]
    for row in bad:
        assert 0 < len(row.reason) < LONGEST
        assert "\n" not in row.reason
        assert row.line > 0
    assert all(row.tokens or row.text for row in rows if isinstance(row, Example))
    return f"{len(rows) - len(bad)} good, {len(bad)} bad"


@pytest.mark.parametrize("kind", FILES)
def test_files_of_the_users_own(tmp_path: Path, kind: str) -> None:
    """With labels, without, and with the classes to be found; text and ids are the same in all."""
    name, task, content = FILES[kind]
    path, rng = tmp_path / name, random.Random(f"own {kind}")
    labels = LABELS if task == "token" else CLASSES
    ends = set[str]()
    for number, data in zip(range(180), mutants(content, name, rng), strict=False):
        path.write_bytes(data)
        split = "unlabelled" if kind == "words" else "train"
        source = UserSource((str(path),), "de", split, task, row_bytes=50_000)  # type: ignore[arg-type]
        try:
            told(source.identity)
            ends.add(went_through(source, labels, None))
            went_through(source, None, 5)
            went_through(source, TagInventory(), None)
        except Exception as error:
            raise AssertionError(f"{kind}, case {number}: {data[:200]!r}") from error
    assert len(ends) > 1


@pytest.mark.parametrize("kind", ["columns", "treebank", "objects", "parquet"])
def test_what_files_say_of_themselves(tmp_path: Path, kind: str) -> None:
    name, _, content = FILES[kind]
    path, rng = tmp_path / name, random.Random(f"found {kind}")
    for number, data in zip(range(100), mutants(content, name, rng), strict=False):
        path = tmp_path / f"{number}-{name}"  # what was found of a name is kept
        path.write_bytes(data)
        own = FilesConfig.model_validate({"paths": {"de": {"train": [str(path)]}}})
        try:
            told(partial(found_in, own, ("de",)))
        except Exception as error:
            raise AssertionError(f"{kind}, case {number}: {data[:200]!r}") from error


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.txt", COLUMNS),
        ("train.tsv", COLUMNS),
        ("train.conllu", TREEBANK),
        ("train.gold_conll", ONTONOTES),
        ("train.jsonl", OBJECTS),
    ],
)
def test_files_of_a_benchmark(tmp_path: Path, name: str, content: str) -> None:
    path, rng = tmp_path / "de" / name, random.Random(f"benchmark {name}")
    path.parent.mkdir()
    for number, data in zip(range(180), mutants(content.encode(), name, rng), strict=False):
        path.write_bytes(data)
        source = FileSource(str(tmp_path), "de", "train", "token", "iob1", row_bytes=50_000)
        try:
            went_through(source, LABELS, None)
            went_through(source, None, None)
        except Exception as error:
            raise AssertionError(f"{name}, case {number}: {data[:200]!r}") from error


def test_folders_of_hub_data_sets(tmp_path: Path) -> None:
    """Also what the library of the hub says of columns in the metadata of the file."""
    features = {"label": {"names": ["good", "bad"], "_type": "ClassLabel"}}
    said = json.dumps({"info": {"features": features}}).encode()
    table, rng = pq.read_table(pa.BufferReader(parquet())), random.Random("hub")
    path = tmp_path / "de/train.parquet"
    path.parent.mkdir()
    source = HubSource("x", "de", "de", "train", "sentence", folder=str(tmp_path))
    for number, data in zip(range(120), mutants(parquet(), path.name, rng), strict=False):
        if number % 2:
            pq.write_table(table.replace_schema_metadata({"huggingface": mutated(said, rng)}), path)
        else:
            path.write_bytes(data)
        try:
            went_through(source, CLASSES, None)
            went_through(source, None, None)
        except Exception as error:
            raise AssertionError(f"case {number}") from error


def test_translations_that_are_there(tmp_path: Path) -> None:
    columns = {"text": ["a", "b"] * 20, "back": ["c", "d"] * 20}
    sink, rng = pa.BufferOutputStream(), random.Random("ready")
    pq.write_table(pa.table(columns), sink)
    content = sink.getvalue().to_pybytes()
    for number, data in zip(range(120), mutants(content, "de.parquet", rng), strict=False):
        (tmp_path / "de.parquet").write_bytes(data)
        try:
            told(partial(ready_of, str(tmp_path), ["de"], "back"))
        except Exception as error:
            raise AssertionError(f"case {number}: {data[:200]!r}") from error


# -- configurations -------------------------------------------------------------------------------

KEYS = [
    "seed", "run.name", "benchmark.targets", "benchmark.max_rows", "benchmark.prior", "files.paths",
    "files.paths.de.train", "files.words", "train.batch_size", "train.max_grad_norm",
    "resources.annotators",
    "resources.autoscale", "translation.codes", "store.root", "method", "method.lambda",
    "method.name", "benchmark.toy", "benchmark.toy.x", "benchmark", "x.y", "files.labels",
]  # fmt: skip
VALUES = [
    "[" * DEEP, "[" * 500 + "]" * 500, '{"a":' * DEEP, '{"a":' * 500 + "1" + "}" * 500,
    "9" * 5000, "9" * 4000, "9" * 30, "-1", "1e999", "NaN", "-Infinity", "null", "true", '""',
    "\udcff", '"\\ud800"', "\u202e\u0000x", "a" * 10_000, "," * 10_000, "?" * 3000, "s3://a:b@c",
    '{"": 1}', '{"../x": {"train": "y"}}', '{"de[/x]": "test"}', "[]", "{}", "[null]", "[[1],[2]]",
    '[{"nodes": 99999999999999999999, "cpus": 1}]', "0x10", "1_000", "2024-01-01", "\U0001d7d9",
    "\u0663", '{"de": {"train": [1, 2]}}', "de,de", "..", "all", "://" * 900, "{" * 3000,
]  # fmt: skip


def settles(flags: Sequence[str], files: Sequence[Path] = ()) -> str:
    """Whether a configuration comes of it; anything but a clear message is an error."""
    is_told = told(partial(load, JOB, flags=flags, files=files, methods=SCHEMAS))
    return "told" if is_told else "taken"


@pytest.mark.parametrize("key", KEYS)
def test_flags(key: str) -> None:
    ends = {settles([f"{key}={value}"]) for value in VALUES}
    assert "told" in ends


def test_flags_with_faults() -> None:
    rng, ends = random.Random("flags"), set[str]()
    for _ in range(700):
        flag = f"{rng.choice(KEYS)}={rng.choice(VALUES)[:300]}"
        data = mutated(flag.encode("utf-8", "surrogateescape"), rng)
        ends.add(settles([data.decode("utf-8", "surrogateescape")]))
    assert ends == {"told", "taken"}


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join(f'*{before}' for _ in range(9))}]}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
DOCUMENTS = [
    ALIASES, MERGES, "a: &a [*a]\n", "a: &a {b: *a}\n", "[" * DEEP, "a: " + "{b: " * DEEP,
    "seed: 2024-13-45\n", "seed: 2024-01-01\n", "seed: " + "9" * 5000, "seed: 0x" + "f" * 9000,
    "seed: !!python/object:os.system {}\n", "seed: !!binary eA==\n", "seed: !!set {a, b}\n",
    "2024-01-01: 3\n", "1: 2\n", "? [a]\n: 3\n", "seed: 190:20:30\n", "- a\n", "true: 1\n",
    "seed: .inf\n", "seed: 3\n---\nseed: 4\n", "run: {name: \"a\\0b\"}\n", "seed: |\n  x\n",
    "k" * 500 + ": 3\n", "seed: &x 3\nrun: {name: *y}\n", "%YAML 9.9\n---\nseed: 1\n", "\x07: 1\n",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_documents(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(DOCUMENTS[number], encoding="utf-8")
    assert settles([], [path]) in ("told", "taken")


def test_documents_with_faults(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "jobs/presets/small-encoder.yaml").read_bytes()
    rng, path, ends = random.Random("documents"), tmp_path / "a.yaml", set[str]()
    for _ in range(200):
        path.write_bytes(mutated(text, rng))
        ends.add(settles([], [path]))
    assert ends == {"told", "taken"}
