"""The wheel in an environment of its own: every command of a plain install, away from the checkout.

The environment has what the wheel asks for without extras, and nothing else of this one: each file
of those distributions is linked, so that nothing is fetched and nothing else can be imported.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Sequence
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.encoders import write_encoder
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, make_source, unlabelled_text
from xlt_ray.labels import LabelSet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "xlt_ray", "tune_spaces", "jobs")
OPTIONAL = ("onnxruntime", "optuna", "matplotlib", "mlflow", "wandb", "sacremoses",
            "fastapi")  # fmt: skip
"""What extras bring, one module of each."""


def build(folder: Path) -> Path:
    """The wheel, from a copy of the checkout: a build leaves folders behind."""
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )  # fmt: skip
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments: str) -> None:
    # There lies what an editable install says of the checkout, which pip would take for the wheel.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def asked_for(wheel: Path) -> list[Distribution]:
    """What pip would install for a wheel without extras."""
    with zipfile.ZipFile(wheel) as content:
        (name,) = (x for x in content.namelist() if x.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(content.read(name).decode())
    waiting = [(text, "") for text in metadata.get_all("Requires-Dist", [])]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        text, extra = waiting.pop()
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        key = canonicalize_name(wanted.name)
        found.setdefault(key, distribution(key))
        for inner in {"", *wanted.extras}:
            if (key, inner) not in seen:
                seen.add((key, inner))
                waiting += [(x, inner) for x in found[key].requires or ()]
    return list(found.values())


def link(packages: list[Distribution], site: Path) -> None:
    """Have the files of distributions in a folder of packages."""
    for package in packages:
        for file in package.files or ():
            if ".." not in file.parts:
                place = site / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(str(file.locate())).resolve())


class Said(NamedTuple):
    """What a command said.

    Attributes:
        code: Its exit code.
        output: What it printed.
        errors: What it printed as an error.
    """

    code: int
    output: str
    errors: str


class Installed:
    """A plain install, and a folder to call it in."""

    def __init__(self, folder: Path, short: Path):
        wheel = build(folder)
        self.bin = folder / "venv/bin"
        venv.create(folder / "venv")
        (site,) = (folder / "venv/lib").glob("python*/site-packages")
        link(asked_for(wheel), site)
        python = str(self.bin / "python")
        pip("--python", python, "install", "--no-deps", "--no-index", str(wheel))
        self.here = folder / "here"
        self.here.mkdir()
        ours = ("PYTHONPATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "PYTHONDONTWRITEBYTECODE")
        self.env = {key: value for key, value in os.environ.items() if key not in ours}
        self.env |= {"HOME": str(folder / "home"), "RAY_TMPDIR": str(short),
                     "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}  # fmt: skip
        (folder / "home").mkdir()

    def call(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """What a program of the environment does."""
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]], cwd=self.here, env=self.env,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def one_by_one(self, commands: Sequence[list[str]]) -> list[Said]:
        """What commands of ``xlt-ray``, in one process of the
        environment: what they import takes longer than what they do."""
        done = self.call("python", "-c", ONE_BY_ONE, json.dumps(commands))
        assert done.returncode == 0, done.stderr
        codes, *shown = (text.split(f"{END}\n") for text in (done.stdout, done.stderr))
        (told,) = shown
        assert len(codes) == len(told) == len(commands) + 1, done.stderr
        found = []
        for text, errors in zip(codes[:-1], told[:-1], strict=True):
            output, _, code = text.rstrip("\n").rpartition("\n")
            found.append(Said(int(code), output.removesuffix("\n"), errors))
        return found


def words(name: str, *flags: str, **keys: object) -> list[str]:
    """The words of a job with values by key, after ``xlt-ray``."""
    values = {"store.root": "store", **{k.replace("__", "."): x for k, x in keys.items()}}
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return [name, *sets, *flags]


END = "-- end of a command --"
ONE_BY_ONE = f"""
import json, sys
from xlt_ray.commands.main import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    print(f"\\n{{code}}\\n{END}", flush=True)
    print("{END}", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    # Ray keeps Unix sockets in there, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="xlt-", dir="/tmp", ignore_cleanup_errors=True) as ray:
        yield Installed(tmp_path_factory.mktemp("wheel"), Path(ray))


TOY = {
    "benchmark__name": "toy",
    "benchmark__targets": LANGUAGES[1],
    "benchmark__toy": '{"train": 40, "dev": 20, "test": 20, "target_train": 20}',
    "train__max_length": 48,
    "resources__train_cpus": 1,
}
CLTP = {
    "method__name": "cltp", "method__source_epochs": 1, "method__rounds": 1,
    "method__round_epochs": 1, "method__final_epochs": 1, "method__ratio": 0.2,
}  # fmt: skip


def write_files(folder: Path) -> dict[str, object]:
    """Files of one's own: entities of a source, text of a target."""
    source, target = LANGUAGES[:2]
    names, lines = LABELS["ner"], list[str]()
    for example in make_source("ner", source, "train", {"train": 60}).examples(LabelSet(names)):
        pairs = zip(example.tokens or (), example.labels or (), strict=True)  # type: ignore[union-attr]
        lines += [f"{token}\t{names[label]}\n" for token, label in pairs] + ["\n"]
    (folder / "train.conll").write_text("".join(lines))
    text = unlabelled_text(target, size=30)
    (folder / "text.txt").write_text("".join(f"{' '.join(words)}\n" for words in text))
    return {
        f"files__paths__{source}__train": folder / "train.conll",
        f"files__paths__{target}__unlabelled": folder / "text.txt",
    }


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where text is labelled, and where a model goes."""
    return tmp_path_factory.mktemp("labelled")


@pytest.fixture(scope="module")
def said(
    plain: Installed, tmp_path_factory: pytest.TempPathFactory, labelled: Path
) -> dict[str, Said]:
    """What the commands of a session said, from the first plan to the last page."""
    encoder = write_encoder(tmp_path_factory.mktemp("encoder"))
    planned = {"backbone": "toy", **CLTP, **TOY}
    store = ("--store", "store")
    (labelled / "text.txt").write_text("ka lo\nlo ka\n")
    commands = {
        "plan of a run": words("run", "--dry-run", **planned),
        "plan of a sweep": words("sweep", "--dry-run", **planned),
        "keys": ["keys"],
        "run": words(
            "run", backbone=encoder, method__name="bl_direct", method__source_epochs=1,
            run__name="words", **TOY,
        ),
        "recommended": words(
            "run", backbone=encoder, train__max_length=48, run__name="own",
            resources__train_cpus=1, method__source_epochs=1, method__rounds=1,
            method__round_epochs=1, method__final_epochs=1, **write_files(labelled),
        ),
        "runs": ["runs", *store],
        "runs words": ["runs", "words", *store],
        "report": ["report", "words", *store],
        "gc": ["gc", *store],
        "predict": words(
            "predict", predict__model="words", predict__files=labelled / "text.txt",
            predict__to=labelled / "there",
        ),
        "export": words("export", export__run="words", export__to=labelled / "model"),
        "compare": words(
            "compare", backbone=encoder, compare__methods='{"bl_direct": {"source_epochs": 1}}',
            compare__seeds="[0]", run__name="both", **TOY,
        ),
        "report both": ["report", "both", *store],
        "[tune]": words("sweep", "--dry-run", sweep__search="optuna", **planned),
        "[onnx]": words("export", export__run="words", export__to=labelled / "x",
                        export__onnx="true"),
        "[track]": words("run", "--dry-run", run__trackers="mlflow,wandb", **planned),
        "[serve]": words("serve", serve__model="words"),
        "sweep": words(
            "sweep", backbone=encoder, sweep__trials=1, run__name="search",
            resources__num_cpus=2, resources__train_workers=0, **CLTP, **TOY,
        ),
    }  # fmt: skip
    return dict(zip(commands, plain.one_by_one(list(commands.values())), strict=True))


def test_nothing_but_what_is_asked_for_is_there(plain: Installed) -> None:
    script = (
        "import importlib.util, xlt_ray; print(xlt_ray.__file__);"
        f"print([x for x in {OPTIONAL!r} if importlib.util.find_spec(x)])"
    )
    done = plain.call("python", "-c", script)
    place, optional = done.stdout.splitlines()
    assert Path(place).is_relative_to(plain.bin.parent)
    assert optional == "[]"


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_the_defaults_are_planned(said: dict[str, Said], name: str) -> None:
    done = said[f"plan of a {name}"]
    assert done.code == 0, done.errors


def test_the_recommended_method_runs(said: dict[str, Said]) -> None:
    done = said["recommended"]
    assert done.code == 0, done.errors
    assert "method:  sl_evi" in done.output


def test_a_finished_run_is_looked_at_and_used(said: dict[str, Said], labelled: Path) -> None:
    for name in ("run", "runs", "runs words", "report", "gc", "predict", "export"):
        assert said[name].code == 0, said[name].errors
    assert "words" in said["runs"].output
    assert "source" in said["runs words"].output
    assert said["report"].output.endswith("report.html")
    assert any((labelled / "there").iterdir())
    assert (labelled / "model/README.md").exists()


def test_a_comparison_runs(said: dict[str, Said]) -> None:
    for name in ("compare", "report both"):
        assert said[name].code == 0, said[name].errors
    assert said["report both"].output.strip().endswith("compare.html")


def test_a_sweep_searches_the_space_that_the_wheel_brings(said: dict[str, Said]) -> None:
    done = said["sweep"]
    assert done.code == 0, done.output + done.errors
    assert "no figure: figures need matplotlib: pip install 'xlt-ray[plots]'" in done.output


def test_keys_and_completion(plain: Installed, said: dict[str, Said]) -> None:
    """The latter by the program that the wheel brings."""
    assert said["keys"].code == 0, said["keys"].errors
    assert "method.lambda=" in said["keys"].output
    assert "predict" in plain.call("xlt-ray", "--print-completion", "bash").stdout


@pytest.mark.parametrize("extra", ["tune", "onnx", "track", "serve"])
def test_what_extras_bring_is_named(said: dict[str, Said], extra: str) -> None:
    code, _, told = said[f"[{extra}]"]
    (line,) = told.splitlines()
    assert line.startswith("error: ")
    assert f"pip install 'xlt-ray[{extra}]'" in line
    assert code == 2
