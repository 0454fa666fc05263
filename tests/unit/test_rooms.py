"""The rooms of the package: who may import whom, how long a file may be, clean imports."""

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "xlt_ray").rglob("*.py"))
JOBS = sorted([*(ROOT / "jobs").rglob("*.py"), *(ROOT / "cluster").rglob("*.py")])

LAYERS: list[set[str]] = [
    {
        "labels",
        "config",
        "credentials",
        "extras",
        "shapes",
        "layered",
        "points",
        "machine",
        "files",
        "manifest",
        "parquet",
        "store",
        "data.schema",
    },
    {
        "fingerprint",
        "libraries",
        "ledger",
        "steps",
        "starting",
        "data",
        "ops",
        "evaluate",
        "report",
    },
    {"models"},
    {"methods"},
    {"engine"},
    {"translations", "reading"},
    {"gold"},
    {"library"},
    {"driver", "verbs"},
    {"plan", "scoring", "oracle.driver", "oracle.iwda", "oracle.measures"},
    {"cli"},
    {"compare", "export", "finished", "oracle", "predict", "self_train", "shelf", "trial"},
    {"ablation", "sweep", "sweep_config"},
    {"console"},
    {"jobs", "cluster"},
]
"""Rooms from the lowest up. A module imports from its own layer and from those below."""
_OUTSIDE = {"jobs", "cluster"}
"""Rooms beside the package."""

LINES = {"ops": 200, "methods": 300, "driver": 200}
MOST_LINES = 500

RAY_ROOMS = {"engine", "driver", "oracle", "oracle.driver", "cli", "jobs", "cluster"}
"""Rooms whose own code may import Ray; what stands on them has it loaded."""
BARE_MODULES = {"xlt_ray", "xlt_ray.config", "xlt_ray.labels", "xlt_ray.layered"}
LIBRARIES = ["torch", "transformers.models.auto.modeling_auto", "pyarrow.parquet", "datasets"]
RAY_PARTS = ["ray", "ray.data", "ray.train", "ray.train.torch", "ray.tune"]

IMPORT_EACH = """
import importlib, json, os, sys, warnings
for libraries, modules in json.loads(sys.argv[1]):
    for name in libraries:
        importlib.import_module(name)
    for name in modules:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            answer = {"error": None}
            try:
                warnings.simplefilter("error")
                importlib.import_module(name)
            except BaseException as error:
                answer["error"] = f"{type(error).__name__}: {error}"
            answer["loaded"] = sorted({m.split(".")[0] for m in sys.modules})
            os.write(writer, json.dumps({name: answer}).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            print(pipe.read(), flush=True)
        os.waitpid(child, 0)
"""
"""Imports each module in a fork of an interpreter that holds none of the project's modules."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room of a module: the name in LAYERS, or else the first name in the package."""
    if module.split(".")[0] in _OUTSIDE:
        return module.split(".")[0]
    inner = module.removeprefix("xlt_ray").removeprefix(".")
    known = {name for layer in LAYERS for name in layer}
    return inner if inner in known else inner.split(".")[0]


def layer(module: str) -> int:
    """The layer of a module; 0 for the package itself and for a room without a place."""
    return next((i for i, rooms in enumerate(LAYERS) if room(module) in rooms), 0)


def stands_on_ray(module: str) -> bool:
    return layer(module) >= layer("xlt_ray.engine")


@cache
def imports(path: Path) -> dict[str, int]:
    """Modules a file imports, anywhere in it, with the line."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if is_module(name) else node.module: node.lineno for name in names}
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def fresh_imports() -> dict[str, dict]:
    """What importing each module pulls in, by module.

    Loaded before is only what a room may use, so that a fork shows what else a module brings along.
    """
    modules = [module_name(path) for path in FILES]
    free = [name for name in modules if name not in BARE_MODULES]
    with_ray = [name for name in free if stands_on_ray(name)]
    without = [name for name in free if not stands_on_ray(name)]
    bare = sorted(BARE_MODULES & set(modules))
    shares = [
        [[[], bare[part::2]], [LIBRARIES, without[part::2]], [RAY_PARTS, with_ray[part::2]]]
        for part in (0, 1)
    ]
    with ThreadPoolExecutor(len(shares)) as pool:
        found = pool.map(import_each, shares)
        return {name: answer for answers in found for name, answer in answers.items()}


def import_each(groups: list[list[list[str]]]) -> dict[str, dict]:
    """What importing each module of some groups pulls in, in an interpreter of their own."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, json.dumps(groups)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answers: dict[str, dict] = {}
    for line in run.stdout.splitlines():
        answers |= json.loads(line)
    return answers


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_cleanly(path: Path) -> None:
    answer = fresh_imports()[module_name(path)]
    assert answer["error"] is None


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_pulls_in_no_heavy_library_it_has_no_use_for(path: Path) -> None:
    module = module_name(path)
    loaded = set(fresh_imports()[module]["loaded"])
    if module in BARE_MODULES:
        assert not loaded & {"torch", "ray", "transformers", "datasets", "pandas"}
    if not stands_on_ray(module):
        assert "ray" not in loaded


@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    module = module_name(path)
    if module == "xlt_ray":
        assert not [name for name in imports(path) if name.startswith("xlt_ray")]
        return
    known = {name for rooms in LAYERS for name in rooms}
    assert room(module) in known, f"give {room(module)!r} a layer in {Path(__file__).name}"
    for name, line in imports(path).items():
        where = f"{path.relative_to(ROOT)}:{line} imports {name}"
        library = name.split(".")[0]
        assert library != "tests", where
        assert library not in _OUTSIDE or room(module) == library, where
        assert library != "ray" or room(module) in RAY_ROOMS, where
        if name.startswith("xlt_ray."):
            assert layer(name) <= layer(module), where
            if room(module) == "ops":
                assert room(name) in {"ops", "labels"}, where
            if room(module) in {"engine", "driver"} and room(name) == "methods":
                allowed = {
                    f"xlt_ray.methods.{part}" for part in ("base", "choice", "facts", "parts")
                }
                assert name in allowed, f"{where}: it must not know the method"


@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=module_name)
def test_file_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES.get(room(module_name(path)), MOST_LINES)


def test_rules_see_what_they_are_for() -> None:
    assert room("xlt_ray.data.schema") == "data.schema"
    assert room("xlt_ray.data.toy") == "data"
    assert layer("xlt_ray.methods.cltp") < layer("xlt_ray.driver")
    assert "xlt_ray.labels" in imports(ROOT / "xlt_ray" / "evaluate.py")
    assert len(FILES) > 10
