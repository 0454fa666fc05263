"""Presets: each is read, checked as its command would, and found by name or by file."""

from pathlib import Path

import pytest

from xlt_ray.commands import compare, main
from xlt_ray.commands.presets import Preset, preset, presets
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import to_dict
from xlt_ray.oracle import calibration, prior_shift
from xlt_ray.run.check import configure_run

ALL = presets()
_STUDIED = {"compare": {"methods": {"iwda": {"name": "iwda"}}}, "backbone": "FOLDER"}
_CALIBRATED = {"compare": {"methods": {"FlexMatch": {"name": "flexmatch"}}}, "backbone": "FOLDER"}


@pytest.mark.slow
@pytest.mark.parametrize("item", ALL, ids=lambda item: item.name)
def test_every_preset_is_right(item: Preset) -> None:
    """One for a command stands by itself; the others go with one that does."""
    assert item.description
    backbone = {"backbone": "FOLDER"}
    if item.command == "compare":
        assert compare.configure(backbone, [str(item.path)]).rows
    elif item.command == "run":
        config = to_dict(configure_run(backbone, [str(item.path)]))
        for section in ("benchmark", "method", "train"):
            for key, value in item.keys.get(section, {}).items():
                assert config[section][key] == value
    elif "study" in item.keys:
        assert prior_shift.configure(_STUDIED, [str(item.path)])
    elif "compare" in item.keys:
        assert calibration.JOB.configure(_CALIBRATED, [str(item.path)], [])
    else:
        config = to_dict(configure_run(preset("cltp-wikiann").keys, [str(item.path)]))
        for section, keys in item.keys.items():
            assert {key: config[section][key] for key in keys} == keys


@pytest.mark.parametrize(
    ("name", "psi", "sigma"),
    [
        ("lvm-conll", 10, 2), ("lvm-absa", 10, 2), ("lvm-udpos", 10, 2), ("lvm-ontonotes", 10, 4),
    ],
)  # fmt: skip
def test_lvm_has_the_scales_that_its_paper_prints(name: str, psi: float, sigma: float) -> None:
    method = preset(name).keys["method"]
    assert method == {"name": "lvm", "tau_psi": psi, "tau_sigma": sigma}


LEARN_ALIKE = ["mrt", "hard_vote", "hard_cat", "kd_re", "dt"]


@pytest.mark.slow
@pytest.mark.parametrize("method", LEARN_ALIKE)
@pytest.mark.parametrize("item", [x for x in ALL if x.keys.get("method", {}).get("name") == "lvm"],
                         ids=lambda item: item.name)  # fmt: skip
def test_a_preset_of_lvm_runs_what_learns_as_it_does(item: Preset, method: str) -> None:
    config = configure_run(item.keys, flags=[f"method.name={method}"])
    assert config.method.name == method


def test_a_preset_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# Mine.\nbenchmark: {name: toy}\n")
    assert preset(str(path)).keys == {"benchmark": {"name": "toy"}}
    assert preset("quickstart").keys["run"] == {"name": "quickstart"}
    with pytest.raises(ConfigError, match=r"there is no 'quickstrt'; give a YAML file, or one"):
        preset("quickstrt")


@pytest.mark.slow
def test_the_command_takes_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["--set", f"store.root={tmp_path}", "--set", "benchmark.max_rows=8", "--dry-run"]
    assert main.main(["run", "quickstart", *flags]) == 0
    out = capsys.readouterr().out
    assert "round 4 selection" in out


def test_one_of_another_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "cltp-table3"]) == 2
    assert "preset cltp-table3: is one of xlt-ray compare" in capsys.readouterr().err


def test_the_list_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [item.name for item in ALL]
