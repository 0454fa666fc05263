"""The jobs as a user calls them: exit codes, messages, the plan, a whole small run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands.cli import run_job

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py"))


def call(job: str, *flags: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a job to its end."""
    return subprocess.run(
        [sys.executable, f"jobs/{job}", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def sets(**values: object) -> list[str]:
    """``--set`` flags."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@pytest.mark.parametrize("job", JOBS)
def test_help_lists_every_key(job: str, capsys: pytest.CaptureFixture[str]):
    names = runpy.run_path(str(ROOT / "jobs" / job))
    with pytest.raises(SystemExit, match="0"):
        run_job(names["DEFAULTS"], names["__doc__"], ["--help"], job=names.get("JOB"))
    shown = capsys.readouterr().out
    own = ("compare.methods", "cltp: lambda")
    if "method" in names["DEFAULTS"]:
        keys = {
            "cltp": "lambda",
            "lvm": "mu_psi",
            "iwda": "lambda_iw",
            "conlst": "k_neg",
            "maral": "temp",
        }
        own = (f"method.{keys[names['DEFAULTS']['method']['name']]}", "seed")
    if job == "export.py":
        own = ("export.run", "export.distil")
    if job == "self_train.py":
        own = ("files.paths", "method.name")
    common = ("benchmark.root", "train.batch_size", "store.root")
    if job == "predict.py":
        common, own = ("store.root",), ("predict.model", "predict.words", "resources.annotators")
    for key in (*common, *own):
        assert f"  {key} " in shown


PAPER = {
    "backbone": "FacebookAI/xlm-roberta-large", "benchmark.source": '["en"]',
    "benchmark.targets": "all", "method.name": "cltp", "method.label": "partial",
    "method.lambda": 4.0, "method.tau": 10.0, "method.beta": 2.0, "method.ratio": 0.08,
    "method.prev_ratio": 1.0, "method.one_hot_rounds": 3, "method.source_lr": 2e-05,
    "method.round_epochs": 3, "train.batch_size": 32, "train.max_length": 128,
    "train.warmup_ratio": 0.1, "train.weight_decay": 0.0001, "train.max_grad_norm": 1.0,
    "train.dropout": 0.1,
    "train.dim_reduce": "null",
}  # fmt: skip
NER = {
    "benchmark.name": "wikiann", "method.source_epochs": 10, "method.round_lr": 2e-05,
    "method.src_ratio": 0.6, "method.rounds": 10,
}  # fmt: skip
NLI = {
    "benchmark.name": "xnli", "method.source_epochs": 5, "method.round_lr": 5e-06,
    "method.src_ratio": 0.01, "method.rounds": 8,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("own", [NER, NLI], ids=["wikiann", "xnli"])
def test_dry_run_of_the_paper_setting_without_a_hub(tmp_path: Path, own: dict):
    name, rounds = own["benchmark.name"], own["method.rounds"]
    done = call(f"cltp_{name}.py", "--dry-run", *sets(**{"store.root": tmp_path}))
    assert done.returncode == 2
    assert {f"{key}: {value}" for key, value in (PAPER | own).items()} <= set(
        done.stdout.splitlines()
    )
    assert "missing: backbone: 'FacebookAI/xlm-roberta-large'" in done.stdout
    assert "missing: test text, test gold, source train text" in done.stdout
    assert f"round {rounds} annotation" in done.stdout
    assert f"round {rounds + 1} annotation" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not any((tmp_path / "artifacts").rglob("manifest.json"))
    assert (tmp_path / f"runs/cltp-{name}-s0/resolved.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"method.nosuch": 1}, "method.nosuch: unknown key; allowed:"),
        ({"benchmark.targets": "de,xx"}, "xx"),
    ],
)
def test_bad_configuration_exits_with_2(tmp_path: Path, flags: dict, message: str):
    done = call("cltp_wikiann.py", *sets(**{"store.root": tmp_path}, **flags))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_files_of_ones_own(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So little needs no Ray, see `xlt_ray.engine.local_ray`."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # with GPUs it starts at once
    (tmp_path / "ray").mkdir()
    flags = sets(
        **{
            "benchmark.root": world.corpus,
            "benchmark.source": SOURCE,
            "benchmark.targets": ",".join(TARGETS),
            "backbone": world.backbone,
            "store.root": tmp_path / "store",
            "method.source_epochs": 1,
            "method.rounds": 1,
            "method.round_epochs": 1,
            "method.final_epochs": 1,
            "resources.num_cpus": 2,
            "resources.train_cpus": 1,
            "resources.annotators": 0,
        }
    )
    done = call("cltp_wikiann.py", *flags)
    assert done.returncode == 0, done.stderr
    assert "average of 2 targets" in done.stdout
    assert (tmp_path / "store/runs/cltp-wikiann-s0/report.md").exists()
    assert not list((tmp_path / "ray").iterdir())


@pytest.mark.slow
def test_too_many_bad_rows_stop_the_run(world: World, tmp_path: Path):
    root = tmp_path / "corpus"
    for path in world.corpus.rglob("*.txt"):
        copy = root / path.relative_to(world.corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        copy.write_text(text.replace("\tO\n", "\tOUT\n") if SOURCE in copy.parts else text)
    flags = sets(
        **{
            "benchmark.root": root,
            "benchmark.source": SOURCE,
            "benchmark.targets": TARGETS[0],
            "backbone": world.backbone,
            "store.root": tmp_path / "store",
            "resources.num_cpus": 2,
        }
    )
    done = call("cltp_wikiann.py", *flags)
    assert done.returncode == 2
    assert f"{SOURCE}/test.txt:" in done.stderr  # test splits are read first
    assert "'OUT'" in done.stderr
    assert "data.max_bad_fraction" in done.stderr
    assert "Traceback" not in done.stderr
