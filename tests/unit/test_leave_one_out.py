"""What leaving one source out changes: who is a target, who learns from whom, what is averaged."""

from pathlib import Path
from typing import Any

import pytest

from tests.reports import example
from xlt_ray.commands.cli import run_job
from xlt_ray.commands.trial import Trial
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import lookup, resolve_targets
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.report.tables import markdown
from xlt_ray.run.check import configure_run
from xlt_ray.run.corpora import RunCorpora
from xlt_ray.run.exit_codes import DONE

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
TOY: dict[str, Any] = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "lvm"}}


def library(**benchmark: Any) -> RunCorpora:
    config = configure_run({**TOY, "benchmark": {"name": "toy", **benchmark}})
    return RunCorpora(config, None, PLAN)  # type: ignore[arg-type]


def test_all_targets_are_all_languages() -> None:
    sources, toy = ("mira", "nolu"), lookup("toy")
    assert resolve_targets(toy, None, "all", source_languages=sources)[0] == "teska"
    kept = resolve_targets(toy, None, "all", source_languages=sources, keep_sources=True)
    assert kept == toy.languages


def test_a_source_is_taught_by_the_others() -> None:
    options = {"source": ["mira", "nolu"], "targets": ["mira", "pavri"]}
    left_out = library(**options, leave_one_out=True)
    assert left_out.pools == ("mira", "pavri")
    assert left_out.sources_of("mira") == ("nolu",)
    assert left_out.sources_of("pavri") == ("mira", "nolu")
    assert library(**options).pools == ("pavri",)


def test_sources_can_be_adapted_like_targets() -> None:
    options = {"source": ["mira"], "targets": ["mira", "pavri"], "adapt_source": True}
    adapted = library(**options)
    assert adapted.pools == ("pavri", "mira")
    assert adapted.context.languages == ("mira", "pavri")
    with pytest.raises(ConfigError, match="adapted already"):
        library(**options, leave_one_out=True)


def test_nobody_is_taught_by_itself() -> None:
    alone = library(source=["mira"], targets=["mira"], leave_one_out=True)
    with pytest.raises(ConfigError, match="mira is the only source, and a target too"):
        alone.sources_of("mira")


def test_dev_text_is_of_sources() -> None:
    with pytest.raises(ConfigError, match=r"benchmark\.dev: 'nolu' is no source, there are: mira"):
        library(dev=["nolu"])


def test_a_targets_own_dev_text_chooses_its_model_in_a_sweep_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = library(
        source=["mira", "nolu"], targets=["mira", "pavri"], leave_one_out=True, dev=["mira"]
    )
    monkeypatch.setattr(found, "source", lambda split, *names: (split, *names))
    assert found.dev("pavri") == found.dev() == ("dev", "mira")
    with pytest.raises(ConfigError, match="mira is a target, and its own labels may not choose"):
        found.dev("mira")
    monkeypatch.setattr(found, "policy", Trial(lambda score: None))
    assert found.dev("mira") == ("dev", "mira")


def test_methods_with_one_model_for_all_targets_cannot_leave_one_out() -> None:
    values = {**TOY, "benchmark": {"name": "toy", "leave_one_out": True}}
    for name in ("cltp", "bl_single", "st"):
        with pytest.raises(ConfigError, match=f"leave_one_out: {name} trains one model for all"):
            configure_run({**values, "method": {"name": name}})
    for name in ("dt", "hard_cat", "kd_re", "mrt"):
        configure_run({**values, "method": {"name": name}})


def test_the_plan_has_every_source_model_once_and_em_for_every_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = {"name": "toy", "source": ["mira", "nolu"], "targets": ["mira", "nolu", "pavri"],
                 "leave_one_out": True, "max_rows": 6}  # fmt: skip
    values = {**TOY, "benchmark": benchmark, "store": {"root": str(tmp_path)}}
    assert run_job(values, argv=["--dry-run", "--set", "method.epochs=2"]) == DONE
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    steps = [line[1:] for line in lines if line and line[0].isdigit()]
    trained = [" ".join(step[: step.index("model")]) for step in steps if "model" in step]
    expected = ["source mira", "source nolu"]
    for target in ("mira", "nolu", "pavri"):
        expected += [f"{target} start", f"{target} M-step 1", f"{target} M-step 2"]
    assert trained == expected
    learnt = next(" ".join(step) for step in steps if step[:3] == ["pavri", "M-step", "1"])
    assert "6 sentences" in learnt, "one language's text, and not that of all"


def test_averages_are_over_all_targets(tmp_path: Path) -> None:
    report = example()
    assert report.counted == ["nl", "de"]
    assert report.sources_only == ["en"]
    left_out = example(config={"benchmark": {"leave_one_out": True}})
    assert left_out.counted == ["en", "nl", "de"]
    assert left_out.sources_only == []
    assert left_out.average == pytest.approx((0.875 + 0.75 + 1 / 3) / 3)
    page = markdown(left_out)
    assert "The average is over the targets, each learnt without its own gold." in page
    assert "en (source)" not in page
    assert "en (source)" in markdown(report)
