"""What ``ray job submit --working-dir .`` uploads from a checkout."""

import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 3_000_000  # source text, uncompressed; a folder of data or a venv has more


def test_the_package_and_the_jobs_are_uploaded_and_nothing_else(tmp_path: Path) -> None:
    archive = tmp_path / "upload.zip"
    create_package(str(ROOT), archive, include_gitignore=True)
    with zipfile.ZipFile(archive) as content:
        names = set(content.namelist())
    assert archive.stat().st_size < MOST_BYTES
    wanted = [*ROOT.glob("xlt_ray/**/*.py"), *ROOT.glob("jobs/**/*.yaml"), *ROOT.glob("jobs/*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names
    assert "xlt_ray/report/published.json" in names
    rooms = {"xlt_ray", "jobs", "tune_spaces"}
    files = {"LICENSE", "Makefile", "constraints.txt", "pyproject.toml", ".rayignore"}
    assert {name.split("/")[0] for name in names} <= rooms | files
