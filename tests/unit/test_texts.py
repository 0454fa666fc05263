"""Texts in the repository: every YAML file parses, every relative Markdown link resolves."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {
    *(".git", ".venv", ".hypothesis", ".pytest_cache", ".ruff_cache", "__pycache__"),
    *("artifacts", "build", "mlruns", "node_modules", "runs", "store", "wandb"),
}
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")


def files(*suffixes: str) -> list[Path]:
    return sorted(_files(suffixes))


def _files(suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (Path(folder) / name for name in names if name.endswith(suffixes))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """Markdown without its code."""
    without_fences = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", without_fences)


def anchors(text: str) -> set[str]:
    """The anchors a hosted page gives its headings."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.slow
@pytest.mark.parametrize("path", files(".yaml", ".yml"), ids=relative)
def test_yaml_parses(path: Path) -> None:
    list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", files(".md"), ids=relative)
def test_links_resolve(path: Path) -> None:
    broken = []
    for target in LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        found = page.exists() and page.is_relative_to(ROOT)
        if found and anchor and page.suffix == ".md":
            found = anchor in anchors(page.read_text(encoding="utf-8"))
        if not found:
            broken.append(target)
    assert not broken


def test_constraints_cover_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert name[0].lower().replace("_", "-") in pinned


def test_texts_are_found() -> None:
    assert ROOT / ".pre-commit-config.yaml" in files(".yaml")
    assert anchors("# One: two\n## `x.py` rest") == {"one-two", "xpy-rest"}
    assert LINK.findall('[a](b.md#c) ![d](e.png "f")') == ["b.md#c", "e.png"]
