"""README and docs: what they show runs, what they name exists.

Blocks marked ``python`` are executed, each as a module of its own, in an empty folder and without a
cluster; ``python no-run`` is only compiled here. Commands in ``sh`` blocks are checked: make
targets, jobs, their flags and keys; what needs a cluster runs in ``tests/ray/test_pages.py``.
``text`` blocks are pictures.
"""

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cluster.local import parse, shape_of
from tests.pages import FENCE, PAGES, ROOT, Block, blocks, called, commands, of_kind, place
from xlt_ray.commands.compare import CompareSection
from xlt_ray.commands.main import parser
from xlt_ray.commands.sweep_config import SweepSection
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.labellers import LabellerConfig
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import BENCHMARKS
from xlt_ray.methods import METHODS

MOST_LINES = 190
CODE_LINK = re.compile(r"\[`(\w+)`\]\(([^)#]+\.py)\)")
KEY = re.compile(
    r"`((?:benchmark|files|method|train|data|translation|resources|store|run|compare)\.[a-z_]+[a-z_.]*)`"
)
FILES = {"run.name", "run.md", "data.md", "compare.md", "compare.tex", "compare.json"}
"""Other things that look like keys, or are keys and files."""
PYTHON = {"python", ".venv/bin/python"}
COMMAND = {"xlt-ray", ".venv/bin/xlt-ray"}
NOT_OURS = {"docker", "hf", "kubectl", "ray", "sh"}
"""Programs of others; how they are called is not checked."""


def problem(words: list[str]) -> str | None:
    """What is wrong with a command, if anything is."""
    program, *rest = words
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        wrong = [word for word in rest if "=" not in word and word not in targets]
        return f"no target {wrong[0]}" if wrong else None
    if (program in PYTHON and rest and rest[0].startswith("jobs/")) or program in COMMAND:
        return job_problem(words)
    if program in PYTHON and rest[:1] == ["cluster/local.py"]:
        return local_problem(rest[1:])
    if program in PYTHON and rest[:1] == ["-m"]:
        return None if importlib.util.find_spec(rest[1]) else f"no module {rest[1]}"
    return None if program in NOT_OURS else f"unknown program {program}"


def job_problem(words: list[str]) -> str | None:
    try:
        found = called(words)
    except (FileNotFoundError, ConfigError) as error:
        return str(error) if isinstance(error, ConfigError) else f"no file {words[1]}"
    if found is None:
        return _look_problem(words[1:])
    given: dict[str, list[str]] = {"--config": [], "--set": []}
    rest = iter(found.flags)
    for flag in rest:
        if flag in given:
            given[flag].append(next(rest))
        elif flag not in ("--dry-run", "--help"):
            return f"unknown flag {flag}"
    files = [str(ROOT / name) for name in given["--config"]]
    try:
        found.job.configure(found.defaults, files, given["--set"])
    except ValueError as error:
        theirs = ("export.run: no finished run", "predict.model: 'quickstart' is no finished run",
                  "serve.model: 'quickstart' is no finished run")  # fmt: skip
        if str(error).startswith(theirs) or re.match(r"files\.paths\.\w+\.\w+: ", str(error)):
            return None  # it is the reader's
        return str(error)
    return None


def _look_problem(words: list[str]) -> str | None:
    """What is wrong with a command that looks at a store."""
    try:
        parser().parse_args(words)
    except SystemExit as error:
        return f"xlt-ray {shlex.join(words)}: exit code {error.code}" if error.code else None
    return None


def local_problem(flags: list[str]) -> str | None:
    try:
        parsed = parse(flags)
        shape_of(parsed)
    except (SystemExit, ValueError) as error:
        return f"cluster/local.py: {error}"
    return problem(parsed.command) if parsed.command else None


def keys(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a schema with its default."""
    for name, field in schema.model_fields.items():
        key, inner = f"{prefix}{field.alias or name}", field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{key}.")
        else:
            yield key, field.get_default(call_default_factory=True, validated_data={})


def schema(method: str = "cltp") -> dict[str, Any]:
    return dict(keys(RunConfig[METHODS[method].Config]))


@pytest.mark.slow
@pytest.mark.parametrize("block", of_kind("python"), ids=place)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is a file, so that classes in it have a module and fingerprints a source."""
    name = f"example_{block.page.stem}_{block.line}"
    file = tmp_path / f"{name}.py"
    file.write_text(block.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, name, module)
    before = dict(BENCHMARKS), dict(METHODS)
    try:
        spec.loader.exec_module(module)
    finally:
        BENCHMARKS.clear()
        METHODS.clear()
        BENCHMARKS.update(before[0])
        METHODS.update(before[1])


@pytest.mark.parametrize("block", of_kind("python no-run"), ids=place)
def test_python_compiles(block: Block) -> None:
    compile(block.text, place(block), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("block", of_kind("sh"), ids=place)
def test_commands_are_right(block: Block, tmp_path: Path) -> None:
    for language in ("en", "de", "es", "ru"):
        folder = tmp_path / "wikiann" / language
        folder.mkdir(parents=True)
        (folder / "train.txt").touch()
    found = list(commands(block.text.replace("FOLDER/", f"{tmp_path}/")))
    assert found
    for words in found:
        assert problem(words) is None, shlex.join(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path) -> None:
    """Every fence is of a known kind; linked functions and named keys exist; the page is short."""
    content = page.read_text(encoding="utf-8")
    kinds = {block.kind for block in blocks() if block.page == page}
    assert kinds <= {"python", "python no-run", "sh", "text"}
    assert len(content.splitlines()) <= MOST_LINES
    for name, target in CODE_LINK.findall(content):
        source = (page.parent / target).read_text(encoding="utf-8")
        assert re.search(rf"^(?:def|class) {name}\b", source, re.MULTILINE), f"{target}: {name}"
    for key in set(KEY.findall(FENCE.sub("", content))) - FILES:
        assert is_key(key), key


def is_key(key: str) -> bool:
    inner_of = ("benchmark.max_rows.", "benchmark.toy.", "compare.methods.", "compare.shared.")
    inner_of += ("sweep.keys.", "sweep.groups.")
    return key in known_keys() or key.startswith(inner_of)


@cache
def known_keys() -> set[str]:
    of_runs = (key for name in METHODS for key in schema(name))
    return {*of_runs, *compare_keys(), *sweep_keys()}


def compare_keys() -> dict[str, Any]:
    return dict(keys(CompareSection, "compare."))


def sweep_keys() -> dict[str, Any]:
    return dict(keys(SweepSection, "sweep."))


def test_every_key_is_documented() -> None:
    run_page = (ROOT / "docs/run.md").read_text(encoding="utf-8")
    own = {
        name: (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
        for name, page in (
            ("method", "cltp"),
            ("files", "own-data"),
            ("translation", "translation"),
        )
    }
    for key in schema():
        page = own.get(key.split(".")[0], run_page)
        assert key == "method.name" or f"`{key}`" in page, key
    labellers_page = (ROOT / "docs/labellers.md").read_text(encoding="utf-8")
    for key in dict(keys(LabellerConfig, "labellers.NAME.")):
        assert f"`{key}`" in labellers_page, key
    compare_page = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    for key in compare_keys():
        assert f"`{key}`" in compare_page, key
    sweep_page = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    for key in sweep_keys():
        assert f"`{key}`" in sweep_page, key


@pytest.mark.parametrize("name", ["cltp", "lvm", "conlst", "maral"])
def test_defaults_of_the_method(name: str) -> None:
    """The key table of the method's page has the schema's defaults."""
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`method\.\w+`(?:, )?)+) \| ([^|]+) \|", page, re.MULTILINE)
    shown = {}
    for names, values in rows:
        shown |= zip(re.findall(r"`(.+?)`", names), values.strip().split(", "), strict=True)
    wanted = {key: value for key, value in schema(name).items() if key.startswith("method.")}
    del wanted["method.name"]
    assert set(shown) == set(wanted)
    for key, value in wanted.items():
        assert is_shown(shown[key], value), key


def is_shown(text: str, value: Any) -> bool:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return text == str(value).lower()
    return float(text) == value


@pytest.mark.slow
def test_defaults_of_the_baselines() -> None:
    """A column per method, or for some that have the same keys; a dash for a key it lacks."""
    page = (ROOT / "docs/baselines.md").read_text(encoding="utf-8")
    named: set[str] = set()
    for start in re.finditer(r"^\| Key[^|]*\|", page, re.MULTILINE):
        table = page[start.start() :].split("\n\n")[0].splitlines()
        _, *columns = cells(table[0])
        rows = {line[0].strip("`"): line[1:] for line in map(cells, table[2:])}
        for position, column in enumerate(columns):
            for name in column.split(", "):
                named.add(name)
                wanted = {k: v for k, v in schema(name).items() if k.startswith("method.")}
                del wanted["method.name"]
                shown = {k: line[position] for k, line in rows.items() if line[position] != "-"}
                assert set(shown) == set(wanted), name
                for key, value in wanted.items():
                    assert is_shown(shown[key], value), f"{name} {key}"
    assert {*named, "cltp", "mrt", "lvm", "iwda", "kd", "conlst", "nl", "flexmatch"} | {
        "maral",
        "bl_spans",
    } == set(METHODS)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_files_in_the_readme_exist() -> None:
    (tree,) = [b.text for b in of_kind("text") if b.page.name == "README.md"]
    folders: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = ROOT.joinpath(*folders[:depth], name)
        assert path.is_dir() if name.endswith("/") else path.is_file(), path
        folders[depth:] = [name]


def test_pages_are_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert page.name == "index.md" or f"]({page.name})" in index


@pytest.mark.slow
def test_faults_are_found() -> None:
    assert list(commands("A=b make x \\\n  y # z\n\n")) == [["make", "x", "y"]]
    assert problem(["make", "quickstart", "PYTHON=python3"]) is None
    assert problem(["make", "nothing"]) == "no target nothing"
    assert problem(["rm", "x"]) == "unknown program rm"
    local = ["python", "cluster/local.py", "--workers", "3"]
    assert problem([*local, "--", "python", "jobs/quickstart.py"]) is None
    assert problem([*local, "--", "rm"]) == "unknown program rm"
    wrong = problem([*local, "--autoscale", "--max-workers", "2"])
    assert wrong == "cluster/local.py: max_workers 2: below workers, 3"
    assert problem(["python", "jobs/none.py"]) == "no file jobs/none.py"
    assert problem(["python", "jobs/quickstart.py", "--fast"]) == "unknown flag --fast"
    wrong = problem(["python", "jobs/quickstart.py", "--set", "train.batch=4"])
    assert wrong is not None
    assert "train.batch: unknown key" in wrong
    assert schema()["method.lambda"] == 4.0
    assert not is_key("train.batch")
