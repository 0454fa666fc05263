"""Checkpoints that cannot be loaded are named at the door: folder, file and what is wrong."""

import ast
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.encoders import write_encoder
from tests.pages import ROOT, of_kind, place
from xlt_ray.commands import predict
from xlt_ray.commands.cli import run_job
from xlt_ray.report.card import _SPANS, _STOCK

Shown = pytest.CaptureFixture[str]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def with_keys(**keys: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        found = {**json.loads(path.read_text()), **keys}
        path.write_text(json.dumps({key: x for key, x in found.items() if x is not None}))

    return change


def of(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


BROKEN = {
    "cut weights": ("model.safetensors", cut),
    "no weights": ("model.safetensors", of(b"")),
    "other weights": ("model.safetensors", of(b"version https://git-lfs.github.com/spec/v1\n")),
    "too long a header": ("model.safetensors", of(struct.pack("<Q", 1 << 40) + b"{}")),
    "cut tokenizer": ("tokenizer.json", cut),
    "no tokenizer": ("tokenizer.json", of(b"{}")),
    "settings of a tokenizer": ("tokenizer_config.json", of(b"[]")),
    "cut config": ("config.json", of(b'{"model_type"')),
    "config of nothing": ("config.json", of(b"{}")),
    "config of a list": ("config.json", of(b"[1]")),
    "config of bytes": ("config.json", of(b"\xff\xfe{}")),
    "another family": ("config.json", with_keys(model_type="nobody-knows")),
    "layers in words": ("config.json", with_keys(num_hidden_layers="two")),
}


def run(encoder: Path, store: Path, *more: str) -> int:
    values = {"benchmark.name": "toy", "benchmark.toy": '{"train": 20, "dev": 10, "test": 10}',
              "backbone": encoder, "method.name": "bl_direct", "train.max_length": 32,
              "resources.annotators": 0, "resources.train_workers": 0,
              "store.root": store}  # fmt: skip
    flags = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return run_job({}, "", [*flags, *more])


@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_backbone_is_named(kind: str, tmp_path: Path, capsys: Shown) -> None:
    file, breaking = BROKEN[kind]
    encoder = write_encoder(tmp_path / "encoder")
    breaking(encoder / file)
    capsys.readouterr()
    assert run(encoder, tmp_path / "store", "--dry-run") == 2
    shown = capsys.readouterr()
    (line,) = [x for x in shown.out.splitlines() if x.startswith("missing: backbone")]
    assert f"{encoder}/{file}" in line
    assert run(encoder, tmp_path / "store") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: backbone {encoder}")
    assert f"{encoder}/{file}" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["model-00002-of-00002.safetensors", "../elsewhere.safetensors", "/elsewhere"]
)
def test_a_part_of_the_weights_that_is_not_there_is_named(
    tmp_path: Path, capsys: Shown, part: str
) -> None:
    """Nor is one that lies in another folder, though there may be such a file."""
    encoder = write_encoder(tmp_path / "encoder")
    (tmp_path / "elsewhere.safetensors").write_bytes((encoder / "model.safetensors").read_bytes())
    index = {"weight_map": {"a": "model.safetensors", "b": part}}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert run(encoder, tmp_path / "store", "--dry-run") == 2
    assert f"{encoder / part}: is not there" in capsys.readouterr().out


def test_a_whole_backbone_is_taken(tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    assert run(encoder, tmp_path / "store", "--dry-run") == 0


RUNS_CODE = 'raise SystemExit("code of a checkpoint was run")\n'


@pytest.fixture
def with_code(tmp_path: Path) -> Path:
    """An encoder of a family of its own, whose code is beside it."""
    encoder = write_encoder(tmp_path / "encoder")
    found = json.loads((encoder / "config.json").read_text())
    found |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig",
                                                "AutoModel": "own.OwnModel"}}  # fmt: skip
    (encoder / "config.json").write_text(json.dumps(found))
    (encoder / "own.py").write_text(RUNS_CODE)
    return encoder


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_code_of_a_checkpoint_is_not_run(
    with_code: Path, tmp_path: Path, more: list[str], capsys: Shown
) -> None:
    assert run(with_code, tmp_path / "store", *more) == 2
    shown = capsys.readouterr()
    (line,) = [x for x in (shown.out + shown.err).splitlines() if "config.json" in x]
    assert f"{with_code}/config.json: needs code of its own" in line
    assert "which is not run" in line


def test_nor_that_of_a_model_that_labels(with_code: Path, tmp_path: Path, capsys: Shown) -> None:
    text = tmp_path / "text.txt"
    text.write_text("ka lo\n")
    values = {"predict.model": with_code, "predict.files": text, "predict.to": tmp_path / "out",
              "store.root": tmp_path / "store"}  # fmt: skip
    flags = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    assert run_job({}, "", flags, job=predict.JOB) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: predict.model: {with_code}/config.json: needs code of its own")


def test_nor_that_of_a_tokenizer(tmp_path: Path) -> None:
    """Its tokenizer.json says everything that transformers' own class needs."""
    encoder = write_encoder(tmp_path / "encoder")
    path = encoder / "tokenizer_config.json"
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    (encoder / "own.py").write_text(RUNS_CODE)
    assert run(encoder, tmp_path / "store", "--dry-run") == 0


def called(node: ast.Call) -> str:
    """What a call names: ``AutoConfig.from_pretrained``, ``pipeline``."""
    function = node.func
    if isinstance(function, ast.Attribute):
        owner = function.value
        return f"{owner.id if isinstance(owner, ast.Name) else ''}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def refuses_code(node: ast.Call, tree: ast.Module) -> bool:
    """Whether a call, or the dictionary that it passes on, says that no code is to be run."""
    for word in node.keywords:
        if word.arg == "trust_remote_code":
            return isinstance(word.value, ast.Constant) and word.value.value is False
        if word.arg is None and isinstance(word.value, ast.Name):
            for found in ast.walk(tree):
                is_it = isinstance(found, ast.Assign) and any(
                    isinstance(name, ast.Name) and name.id == word.value.id
                    for name in found.targets
                )
                if is_it and '"trust_remote_code": False' in ast.unparse(found).replace("'", '"'):
                    return True
    return False


def asking(text: str) -> list[int]:
    """Lines of calls that would ask on a terminal whether to run a checkpoint's code."""
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    lines = list[int]()
    for node in calls:
        name = called(node)
        is_auto = name.endswith((".from_pretrained", ".from_config")) or name == "pipeline"
        if is_auto and name != "SpanTagger.from_pretrained" and not refuses_code(node, tree):
            lines.append(node.lineno)
    return lines


FOLDERS = ("xlt_ray", "jobs", "cluster", "benchmarks", "tests")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.slow
def test_no_call_leaves_it_open_whether_code_is_run() -> None:
    found = {path: asking(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


def test_nor_does_a_page() -> None:
    for block in (*of_kind("python"), *of_kind("python no-run")):
        assert asking(block.text) == [], place(block)
    for text in (_STOCK, _SPANS):  # of the cards of exported models
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert asking(code.format(task="x", more="")) == []


def test_such_calls_are_found() -> None:
    assert asking("AutoModel.from_pretrained(folder)") == [1]
    assert asking("AutoModel.from_pretrained(folder, trust_remote_code=True)") == [1]
    assert asking("x = {'a': 1}\nf(AutoModel.from_pretrained(folder, **x))") == [2]
    assert asking("pipeline('x', model=folder)") == [1]
    assert not asking("x = {'trust_remote_code': False}\nAutoModel.from_pretrained(folder, **x)")
    assert not asking("SpanTagger.from_pretrained(folder)")
