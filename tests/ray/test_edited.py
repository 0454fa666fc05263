"""Files that somebody edits between the look that names a result and the reading of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands.cli import run_job
from xlt_ray.run import reading
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.exit_codes import BAD_CONFIG
from xlt_ray.run.reading import read
from xlt_ray.run.session import connected, open_run

pytestmark = pytest.mark.ray

OTHER = "".join(f"zz{n}\tO\nyy\tB-PER\n\n" for n in range(120))
TEXTS = [f"es ist {n}" for n in range(40)]
LABELS = ["negative", "neutral", "positive", "neutral"] * 10


def driven(values: dict[str, Any], tmp_path: Path, language: str, split: str, content: str) -> Any:
    """What a step that reads a split gives."""
    values["resources"] = {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}
    values["store"] = {"root": str(tmp_path / "store")}
    config = configure_run({"method": {"name": "bl_direct"}, **values})
    with connected(config), open_run(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        return read(driver.reading, content, "x", (language,), split)  # type: ignore[arg-type]


def edited_before_reading(monkeypatch: pytest.MonkeyPatch, path: Path, data: bytes) -> None:
    """Edit a file once a step is named, and just before it reads."""
    whole = reading.run_read

    def late(*arguments: Any) -> Any:
        path.write_bytes(data)
        return whole(*arguments)

    monkeypatch.setattr(reading, "run_read", late)


def artifacts(tmp_path: Path) -> list[str]:
    return sorted(
        path.parent.name for path in (tmp_path / "store/artifacts").rglob("manifest.json")
    )


@pytest.mark.parametrize("content", ["text", "gold"])
@pytest.mark.parametrize(
    "benchmark",
    [{}, {"partition": 20}, {"prior": {SOURCE: "random"}, "prior_rows": 20}],
    ids=["file", "part", "tilted"],
)
def test_files_of_a_benchmark(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    benchmark: dict[str, Any], content: str,
) -> None:  # fmt: skip
    root = Path(shutil.copytree(world.corpus, tmp_path / "corpus"))
    chosen = {"name": "wikiann", "root": str(root), "source": [SOURCE], "targets": [TARGETS[0]]}
    values = {"benchmark": chosen | benchmark, "backbone": str(world.backbone)}
    edited_before_reading(monkeypatch, root / SOURCE / "train.txt", OTHER.encode())
    with pytest.raises(ValueError, match=rf"{SOURCE}/train\.txt: has changed while the run was"):
        driven(values, tmp_path, SOURCE, "train", content)
    assert artifacts(tmp_path) == []
    monkeypatch.undo()
    assert driven(values, tmp_path, SOURCE, "train", content).info["rows"] > 0


@pytest.mark.parametrize("split", ["train", "dev"])
def test_own_files_of_which_some_rows_are_held_out(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    path = Path(shutil.copy(world.corpus / SOURCE / "train.txt", tmp_path / "a.conll"))
    shutil.copy(world.corpus / SOURCE / "test.txt", tmp_path / "b.conll")
    files = {SOURCE: {"train": str(path)}, TARGETS[0]: {"unlabelled": str(tmp_path / "b.conll")}}
    values = {
        "benchmark": {"name": "files"},
        "files": {"paths": files},
        "backbone": str(world.backbone),
    }
    edited_before_reading(monkeypatch, path, OTHER.encode())
    with pytest.raises(ValueError, match=r"a\.conll: has changed while the run was reading it"):
        driven(values, tmp_path, SOURCE, split, "text")


@pytest.mark.parametrize("name", ["sentiment", "marc"])
def test_parquet_in_the_layout_of_the_hub(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The rows of the second are drawn at random, for which the file is read twice."""
    (tmp_path / "data/en").mkdir(parents=True)
    path = tmp_path / "data/en/train.parquet"
    pq.write_table(pa.table({"text": TEXTS, "label": LABELS}), path)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [f"{text}!" for text in TEXTS], "label": LABELS}), sink)
    chosen = {"name": name, "root": str(tmp_path / "data"), "source": ["en"], "max_rows": 10}
    values = {"benchmark": chosen | {"targets": ["en"]}, "backbone": str(world.backbone)}
    values["benchmark"]["leave_one_out"] = False
    edited_before_reading(monkeypatch, path, sink.getvalue().to_pybytes())
    with pytest.raises(ValueError, match=r"en/train\.parquet: has changed while the run was"):
        driven(values, tmp_path, "en", "train", "text")


def test_text_and_labels_of_a_split_are_of_the_same_file(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    """Text that was read before an edit, and labels after it, would not be of the same rows."""
    root = Path(shutil.copytree(world.corpus, tmp_path / "corpus"))
    values = {
        "benchmark": {"name": "wikiann", "root": str(root), "source": [SOURCE],
                      "targets": [TARGETS[0]]},
        "backbone": str(world.backbone),
        "method": {"name": "bl_direct"},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2},
        "store": {"root": str(tmp_path / "store")},
    }  # fmt: skip
    config = configure_run(values)
    with connected(config), open_run(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        read(driver.reading, "text", "x", (SOURCE,), "dev")
        (root / SOURCE / "dev.txt").write_text(OTHER)
        with pytest.raises(ValueError, match=rf"{SOURCE}/dev\.txt: has changed"):
            read(driver.reading, "gold", "x", (SOURCE,), "dev")


def test_a_run_says_it_and_the_same_command_goes_on(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from xlt_ray.commands.self_train import JOB

    root = Path(shutil.copytree(world.corpus, tmp_path / "corpus"))
    path = root / TARGETS[0] / "test.txt"
    flags = [
        "benchmark.name=wikiann", f"benchmark.root={root}", f"benchmark.source={SOURCE}",
        f"benchmark.targets={TARGETS[0]}", f"backbone={world.backbone}", "method.name=bl_direct",
        f"store.root={tmp_path / 'store'}", "resources.annotators=0", "resources.num_cpus=2",
    ]  # fmt: skip
    edited_before_reading(monkeypatch, path, OTHER.encode())
    argv = [part for flag in flags for part in ("--set", flag)]
    assert run_job({}, argv=argv, job=JOB) == BAD_CONFIG
    message = capsys.readouterr().err
    assert message.startswith(f"error: {TARGETS[0]}/test.txt: has changed while the run was")
    assert json.dumps(message).count("\\n") == 1
