"""The notebook runs from its first cell to its last."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/tour.ipynb"

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_the_notebook_runs(ray_cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "tour"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["report"]["average"] is not None
    assert names["counts"] == {"files": 1, "written": 1, "rows": 120, "unreadable": 0}
    shown = capsys.readouterr().out
    assert "task:    token, entities in bio" in shown
