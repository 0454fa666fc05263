"""The jobs as a user calls them: exit codes, messages, the plan, a whole small run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.encoders import write_encoder
from tests.world import SOURCE, TARGETS, write_corpus
from xlt_ray.commands.cli import run_job

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"train": 60, "dev": 60, "test": 60}
JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py"))


def call(job: str, *flags: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a job to its end."""
    return subprocess.run(
        [sys.executable, f"jobs/{job}", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def here(capsys: pytest.CaptureFixture[str], job: str, *flags: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a job in this process, as its file calls `run_job`."""
    names = runpy.run_path(str(ROOT / "jobs" / job))
    code = run_job(names["DEFAULTS"], names["__doc__"], list(flags))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows of a source and its targets."""
    return write_corpus(tmp_path_factory.mktemp("jobs") / "corpus", sizes=SIZES)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


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


@pytest.mark.parametrize("own", [NER, NLI], ids=["wikiann", "xnli"])
def test_dry_run_of_the_paper_setting_without_a_hub(
    tmp_path: Path, own: dict, capsys: pytest.CaptureFixture[str]
):
    name, rounds = own["benchmark.name"], own["method.rounds"]
    code, shown, told = here(
        capsys, f"cltp_{name}.py", "--dry-run", *sets(**{"store.root": tmp_path})
    )
    assert code == 2
    assert {f"{key}: {value}" for key, value in (PAPER | own).items()} <= set(shown.splitlines())
    assert "missing: backbone: 'FacebookAI/xlm-roberta-large'" in shown
    assert "missing: test text, test gold, source train text" in shown
    assert f"round {rounds} annotation" in shown
    assert f"round {rounds + 1} annotation" not in shown
    assert "Traceback" not in shown + told
    assert not any((tmp_path / "artifacts").rglob("manifest.json"))
    assert (tmp_path / f"runs/cltp-{name}-s0/resolved.json").exists()


@pytest.mark.slow
def test_bad_configuration_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As a process, and the other case in this one."""
    store = {"store.root": tmp_path}
    done = call("cltp_wikiann.py", *sets(**store, **{"method.nosuch": 1}))
    assert done.returncode == 2
    assert "method.nosuch: unknown key; allowed:" in done.stderr
    assert "Traceback" not in done.stderr

    code, _, told = here(
        capsys, "cltp_wikiann.py", *sets(**store, **{"benchmark.targets": "de,xx"})
    )
    assert code == 2
    assert "xx" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_files_of_ones_own(
    corpus: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """So little needs no Ray, see `xlt_ray.engine.local_ray`."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # with GPUs it starts at once
    (tmp_path / "ray").mkdir()
    flags = sets(
        **{
            "benchmark.root": corpus,
            "benchmark.source": SOURCE,
            "benchmark.targets": ",".join(TARGETS),
            "backbone": backbone,
            "train.max_length": 48,
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


def test_too_many_bad_rows_stop_the_run(
    corpus: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = tmp_path / "corpus"
    for path in corpus.rglob("*.txt"):
        copy = root / path.relative_to(corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        copy.write_text(text.replace("\tO\n", "\tOUT\n") if SOURCE in copy.parts else text)
    flags = sets(
        **{
            "benchmark.root": root,
            "benchmark.source": SOURCE,
            "benchmark.targets": TARGETS[0],
            "backbone": backbone,
            "train.max_length": 48,
            "store.root": tmp_path / "store",
            "resources.num_cpus": 2,
            "resources.annotators": 0,
        }
    )
    code, _, told = here(capsys, "cltp_wikiann.py", *flags)
    assert code == 2
    assert f"{SOURCE}/test.txt:" in told  # test splits are read first
    assert "'OUT'" in told
    assert "data.max_bad_fraction" in told
    assert "Traceback" not in told
