"""The notebook runs from its first cell to its last."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.world import Encoders

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/tour.ipynb"

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_the_notebook_runs(
    toy_encoders: Encoders,
    brief_pretraining: None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the notebook's store goes with it
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "tour"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            if "run" not in names:
                toy_encoders.take(Path(names["store"]))
    toy_encoders.keep(Path(names["store"]))
    assert names["run"].average is not None
    assert names["run"]._repr_html_().startswith("<iframe ")
    assert len(names["found"]) == 2
    assert names["table"].num_rows == 120
    assert {"prediction", "confidence"} <= set(names["table"].column_names)
    shown = capsys.readouterr().out
    assert "task:    token, entities in bio" in shown
