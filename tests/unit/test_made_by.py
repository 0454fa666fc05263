"""What made a result, and which pages of results are older than the code."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tests.reports import example
from tests.unit.test_report_compare import comparison
from xlt_ray.methods import METHODS
from xlt_ray.report.compare import made_by_lines, markdown, versions_of
from xlt_ray.report.comparison import ComparisonRow
from xlt_ray.report.tables import markdown as report_markdown
from xlt_ray.run import made_by

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


def load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_check", RESULTS / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["results_check"] = module
    spec.loader.exec_module(module)
    return module


check = load_check()


def test_every_page_names_the_commit_that_made_it() -> None:
    pages = [check.read_page(path) for path in sorted(RESULTS.glob("*.md"))]
    assert pages
    for page in pages:
        assert page.commits, page.name
        assert {name for name, _ in page.codes} <= set(METHODS), page.name


@pytest.mark.slow
def test_a_page_is_older_where_its_code_is_another(tmp_path: Path) -> None:
    new, old = made_by.code_of(METHODS["cltp"]), "0" * 12
    (tmp_path / "a.md").write_text(f"Made by commit `ab12` with x. Code: cltp `{new}`.\n")
    (tmp_path / "b.md").write_text(
        f"Made by commit `ab12` with x. Code: cltp `{new}`, st `{old}`.\n"
    )
    (tmp_path / "c.md").write_text("Made by commit `ab12`, 2026-01-01, which added the numbers.\n")
    assert check.main(tmp_path) == 0
    (tmp_path / "d.md").write_text("# Numbers\n")
    verdicts = [check.read_page(path).verdict for path in sorted(tmp_path.glob("*.md"))]
    assert verdicts == [
        "as the code is",
        "made by ab12; older than the code of st",
        "made by ab12, before code was noted",
        "names no commit",
    ]
    assert check.main(tmp_path) == 1


@pytest.mark.slow
def test_the_digest_is_that_of_a_method_and_of_the_steps() -> None:
    codes = {name: made_by.code_of(method) for name, method in METHODS.items()}
    assert codes["cltp"] != codes["st"]
    assert codes["mrt"] == codes["lvm"]  # one module
    assert all(len(code) == made_by.SHOWN for code in codes.values())


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        command = ["git", "-C", str(tmp_path), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert made_by.commit_of(tmp_path / "none") is None
    git("init", "-q")
    (tmp_path / "xlt_ray").mkdir()
    (tmp_path / "xlt_ray/a.py").write_text("")
    git("add", ".")
    git("commit", "-qm", "x")
    head = git("rev-parse", "--short=12", "HEAD")
    made_by.commit_of.cache_clear()
    assert made_by.commit_of(tmp_path) == head
    (tmp_path / "xlt_ray/a.py").write_text("x = 1")
    made_by.commit_of.cache_clear()
    assert made_by.commit_of(tmp_path) == f"{head}+"
    made_by.commit_of.cache_clear()


def test_reports_and_comparisons_say_what_made_them() -> None:
    report = replace(example(), made_by={"commit": "ab12", "code": "0" * 12})
    assert "| xlt_ray commit | ab12 |" in report_markdown(report)
    plain = comparison()
    rows = [
        ComparisonRow(
            row.title,
            [replace(x, report=replace(x.report, made_by=report.made_by)) for x in row.trials],
        )
        for row in plain.rows
    ]
    found = replace(plain, rows=rows)
    line = "Made by commit `ab12` with ray 2.60.0, torch 2.13.0. Code: cltp `000000000000`."
    assert made_by_lines(found) == line
    assert markdown(found).rstrip().endswith(line)
    assert check.LINE.findall(line) == [("ab12", "cltp `000000000000`.")]
    assert made_by_lines(plain).startswith("Made by commit `unknown` with ray")


def test_rows_of_several_commits_name_each_with_its_own_code() -> None:
    plain = comparison()
    made = [{"commit": "ab12", "code": "0" * 12}, {"commit": "cd34", "code": "1" * 12}]
    rows = [
        ComparisonRow(
            row.title,
            [
                replace(x, report=replace(x.report, made_by=made[number % 2]))
                for number, x in enumerate(row.trials)
            ],
        )
        for row in plain.rows
    ]
    found = replace(plain, rows=rows)
    assert len(rows[0].trials) > 1
    packages = "with ray 2.60.0, torch 2.13.0"
    assert made_by_lines(found).split("\n\n") == [
        f"Made by commit `ab12` {packages}. Code: cltp `000000000000`.",
        f"Made by commit `cd34` {packages}. Code: cltp `111111111111`.",
    ]
    told = dict(versions_of(found))
    assert told["xlt_ray commit"] == "ab12, cd34"
    assert told["xlt_ray code, cltp"] == "000000000000, 111111111111"
