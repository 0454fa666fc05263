"""The rooms of the package: who may import whom, how long a file may be, clean imports."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "xlt_ray").rglob("*.py"))
JOBS = sorted([*(ROOT / "jobs").rglob("*.py"), *(ROOT / "cluster").rglob("*.py")])

LAYERS: list[set[str]] = [
    {"labels"},
    {"config"},
    {"store"},
    {"data", "ops", "metrics"},
    {"models"},
    {"recipe", "report"},
    {"methods", "engine"},
    {"run"},
    {"commands"},
    {"oracle", "api"},
    {"jobs", "cluster"},
]
"""Rooms from the lowest up. A module imports from its own layer and from those below."""
_OUTSIDE = {"jobs", "cluster"}
"""Rooms beside the package."""
APART = {"methods": "engine", "engine": "methods", "oracle": "api", "api": "oracle"}
"""Rooms of one layer that do not see each other."""
GIVES_GOLD = "xlt_ray.run.gold"
"""The one module that makes the right to read gold labels."""
BUILT_ON = {
    "xlt_ray.methods.nl": {"conlst"},
    "xlt_ray.methods.flexmatch": {"conlst"},
}
"""Baselines that are made of parts of a method, and of which."""

LINES = {"ops": 200, "methods": 300, "run.driver": 200}
MOST_LINES = 500

RAY_ROOMS = {"engine", "jobs", "cluster"}
"""Rooms whose own code may import Ray; what stands on them has it loaded."""
BARE_MODULES = {"xlt_ray", "xlt_ray.labels", "xlt_ray.config.schema", "xlt_ray.config.layers"}
HEAVY = {"transformers.modeling_utils", "ray.data", "ray.train", "scipy.stats"}
"""Modules that take a second of a core or more: who needs them imports them where it does."""
SEARCHES = ["xlt_ray.engine.tune", "xlt_ray.commands.trial"]
"""Modules that stand on Ray Tune, which is heavy; a sweep imports them when it begins."""
FREE = "bare", "without ray", "with ray"
"""Kinds of modules by the libraries that importing them may load."""

IMPORT_ALL = """
import importlib, json, sys, warnings
loaded, heavy = {}, set(json.loads(sys.argv[2]))
for name in json.loads(sys.argv[1]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.import_module(name)
    loaded[name] = sorted({m.split(".")[0] for m in sys.modules} | set(sys.modules) & heavy)
print(json.dumps(loaded))
"""
"""Imports some modules, one after another, and tells what is loaded after each."""


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
    return layer(module) >= layer("xlt_ray.engine") and room(module) != "methods"


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


def of_kind(kind: str) -> list[str]:
    """Modules that may load nothing heavy, everything but Ray, or Ray as well."""
    modules = [module_name(path) for path in FILES]
    if kind == "bare":
        return [name for name in modules if name in BARE_MODULES]
    return [name for name in modules if stands_on_ray(name) == (kind == "with ray")]


@pytest.mark.slow
def test_imports_bring_in_no_heavy_library_without_use() -> None:
    """All modules import without a warning, and load no library that is not theirs; those that may
    load the fewest go first."""
    banned = {
        "bare": {"torch", "ray", "transformers", "datasets", "pandas"},
        "without ray": {"ray", *HEAVY},
        "with ray": HEAVY,
    }
    kinds = {kind: [x for x in of_kind(kind) if x not in SEARCHES] for kind in FREE}
    in_order = dict.fromkeys(x for modules in kinds.values() for x in modules)
    everything = [*in_order, *SEARCHES]
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps(everything), json.dumps(sorted(HEAVY))],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    loaded = {module: set(names) for module, names in json.loads(run.stdout).items()}
    for kind, modules in kinds.items():
        for module in modules:
            assert not banned[kind] & loaded[module], module


def loads(path: Path) -> set[str]:
    """Modules that have to be there, whole, before a module is: those that it imports as it is
    imported itself, and the packages that these lie in, but not those that it lies in, too."""
    module, found = module_name(path), set[str]()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if is_module(name) else node.module for name in names}
    for name in [name for name in found if name.startswith("xlt_ray.")]:
        parts = name.split(".")
        found |= {".".join(parts[:end]) for end in range(1, len(parts))}
    return {x for x in found if is_module(x) and not module.startswith(f"{x}.") and x != module}


@pytest.mark.slow
def test_modules_may_be_imported_in_any_order() -> None:
    """No module needs, on the way, one that is still being imported."""
    graph = {module_name(path): loads(path) for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.slow
@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    module = module_name(path)
    if module == "xlt_ray":
        eager = {name for name in loads(path) if name.startswith("xlt_ray.")}
        assert eager == {"xlt_ray.config", "xlt_ray.config.errors"}
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
            assert APART.get(room(module)) != room(name), f"{where}: they do not see each other"
            if room(module) == "ops":
                assert room(name) in {"ops", "labels"}, where


@pytest.mark.slow
@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=module_name)
def test_a_method_sees_no_other_method(path: Path) -> None:
    """What several methods need is in methods/shared; a baseline that is built on a method says so,
    and the registry alone knows them all."""
    parts = module_name(path).split(".")
    if parts[:2] != ["xlt_ray", "methods"] or len(parts) < 3:
        return
    own = {"shared", parts[2], *BUILT_ON.get(".".join(parts), ())}
    for name, line in imports(path).items():
        if name.startswith("xlt_ray.methods."):
            other = name.split(".")[2]
            assert other in own, f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_gold_has_one_door(path: Path) -> None:
    """Nothing below a run names the module that makes the right to gold."""
    module = module_name(path)
    if layer(module) < layer("xlt_ray.run"):
        assert GIVES_GOLD not in imports(path)


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=str)
def test_a_folder_says_what_is_in_it(folder: Path) -> None:
    """The docstring of a package names each of its files, and each folder in it."""
    if folder == ROOT / "xlt_ray":
        return
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}
    named = set(re.findall(r"\w+", text))
    assert not names - named, f"{folder}/__init__.py does not name {sorted(names - named)}"


@pytest.mark.slow
@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=module_name)
def test_file_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES.get(
        module_name(path).removeprefix("xlt_ray."), LINES.get(room(module_name(path)), MOST_LINES)
    )


def test_rules_see_what_they_are_for() -> None:
    assert room("xlt_ray.run.driver") == "run"
    assert room("xlt_ray.data.benchmarks.toy") == "data"
    assert layer("xlt_ray.methods.cltp") < layer("xlt_ray.run.driver")
    assert "xlt_ray.labels" in imports(ROOT / "xlt_ray" / "metrics.py")
    assert len(FILES) > 10
