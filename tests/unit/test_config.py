"""Configuration: merging, flags, messages, and what every shipped file says."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import describe, load, parse_set, schema_for, to_dict
from xlt_ray.config.schema import (
    MethodConfig,
    NodeGroup,
    RunConfig,
    Section,
    part_of,
)
from xlt_ray.data.benchmarks.registry import BENCHMARKS
from xlt_ray.methods import METHODS
from xlt_ray.methods.iwda.recipe import IWDAConfig
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.methods.maral.recipe import MARALConfig
from xlt_ray.methods.maral.student_config import StudentConfig
from xlt_ray.run.check import recipes

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {name: item.Config for name, item in METHODS.items()}
JOB: dict[str, Any] = {
    "benchmark": {"name": "wikiann", "targets": "all"},
    "backbone": "some/encoder",
    "method": {"name": "cltp", "tau": 7},
}


def resolve(*flags: str, files: tuple[Path, ...] = ()) -> RunConfig[Any]:
    return load(JOB, files=files, flags=flags, methods=SCHEMAS)


def refusal(*flags: str, files: tuple[Path, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(*flags, files=files)
    return str(caught.value)


def yaml_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# -- merging --------------------------------------------------------------------------------------


def test_later_layers_win_key_by_key(tmp_path: Path) -> None:
    first = yaml_file(tmp_path, "a.yaml", "method: {tau: 8, beta: 3}\nseed: 1\n")
    second = yaml_file(tmp_path, "b.yaml", "method: {tau: 9}\n")
    config = resolve("seed=2", "method.ratio=0.5", files=(first, second))
    assert (config.method.tau, config.method.beta, config.seed) == (9, 3, 2)
    assert config.method.ratio == 0.5
    assert config.method.name == "cltp"
    assert config.backbone == "some/encoder"


def test_flags_apply_in_order() -> None:
    assert resolve("seed=2", "seed=3").seed == 3


def test_keys_beside_the_name_of_another_method_are_left_behind(tmp_path: Path) -> None:
    """Those of a job's own method that the named one does not have; what a user gives stays."""
    assert not hasattr(resolve("method.name=bl_direct").method, "tau")
    kept = resolve("method.name=sl_evi", files=(yaml_file(tmp_path, "a.yaml", "seed: 1\n"),))
    assert kept.method.name == "sl_evi"
    own = yaml_file(tmp_path, "b.yaml", "method: {name: lvm, mu_sigma: 0.5, lr: 1e-3}\n")
    config = resolve("method.name=mrt", files=(own,))
    assert config.method.model_dump()["lr"] == 1e-3
    assert "method.tau: unknown key" in refusal("method.name=bl_direct", "method.tau=8")
    assert "method.tau: unknown key" in refusal("method.tau=8", "method.name=bl_direct")
    after = yaml_file(tmp_path, "c.yaml", "method: {name: mrt, mu_sigma: 0.5}\n")
    assert "method.mu_sigma: unknown key" in refusal(files=(own, after))


def test_the_defaults_of_a_job_are_not_changed() -> None:
    before = json.dumps(JOB)
    resolve("method.tau=3", "benchmark.max_rows.train=5")
    assert json.dumps(JOB) == before


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert resolve(files=(yaml_file(tmp_path, "a.yaml", "# nothing\n"),)) == resolve()


# -- --set ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("a.b=3", {"a": {"b": 3}}),
        ("a=1e-5", {"a": 1e-5}),
        ("a=true", {"a": True}),
        ("a=null", {"a": None}),
        ("a=no", {"a": "no"}),
        ("a=de,nl", {"a": "de,nl"}),
        ('a=["de", "nl"]', {"a": ["de", "nl"]}),
        ("a=[de, no]", {"a": ["de", "no"]}),
        ("a=[1, x]", {"a": [1, "x"]}),
        ("a={token: 1, tag: -1}", {"a": {"token": 1, "tag": -1}}),
        ("a=[ab]*.txt", {"a": "[ab]*.txt"}),
        ("a={x", {"a": "{x"}),
        ('a="3"', {"a": "3"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": ""}),
        ("a.b.c={}", {"a": {"b": {"c": {}}}}),
    ],
)
def test_values_are_json_or_yaml_in_brackets_if_they_parse(
    flag: str, value: Mapping[str, Any]
) -> None:
    assert parse_set(flag) == value


@pytest.mark.parametrize("flag", ["a", "=3", ".a=3", "a.=3", "a..b=3"])
def test_a_flag_without_key_or_value_is_refused(flag: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_set(flag)


def test_lists_of_names_take_commas() -> None:
    config = resolve("benchmark.targets=de, no ,nl", "benchmark.source=en")
    assert config.benchmark.targets == ("de", "no", "nl")
    assert config.benchmark.source == ("en",)
    assert resolve('benchmark.targets=["no"]').benchmark.targets == ("no",)
    assert resolve().benchmark.targets == "all"


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "y", "NO"])
def test_languages_are_not_booleans_in_files(tmp_path: Path, word: str) -> None:
    path = yaml_file(tmp_path, "a.yaml", f"benchmark: {{targets: [{word}, de]}}\n")
    assert resolve(files=(path,)).benchmark.targets == (word, "de")


def test_booleans_and_exponents_in_files(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "a.yaml", "train: {deterministic: false, weight_decay: 1e-5}\n")
    config = resolve(files=(path,))
    assert config.train.deterministic is False
    assert config.train.weight_decay == 1e-5


def test_a_limit_holds_for_all_splits_or_for_some() -> None:
    assert [
        resolve("benchmark.max_rows=5").benchmark.max_rows_of(s) for s in ("train", "test")
    ] == [5, 5]
    config = resolve("benchmark.max_rows.train=5", "benchmark.max_rows.dev=6")
    assert [config.benchmark.max_rows_of(s) for s in ("train", "dev", "test")] == [5, 6, None]
    assert resolve().benchmark.max_rows_of("train") is None


def test_a_pool_is_a_number_or_two() -> None:
    assert resolve("resources.annotators=3").resources.annotators == 3
    assert resolve("resources.annotators=1,4").resources.annotators == (1, 4)


def test_node_groups_are_given_as_a_list() -> None:
    flag = 'resources.autoscale=[{"nodes": 8, "cpus": 4, "gpus": 1}, {"nodes": 2, "cpus": 16}]'
    groups = load(JOB, flags=[flag], methods=SCHEMAS).resources.autoscale
    assert groups == (NodeGroup(nodes=8, cpus=4, gpus=1), NodeGroup(nodes=2, cpus=16, gpus=0))
    assert load(JOB, methods=SCHEMAS).resources.autoscale == ()
    for wrong in ('[{"nodes": 0, "cpus": 4}]', '[{"nodes": 1}]', '[{"nodes": 1, "cpu": 4}]', "8"):
        with pytest.raises(ConfigError, match=r"resources\.autoscale"):
            load(JOB, flags=[f"resources.autoscale={wrong}"], methods=SCHEMAS)


def test_text_may_look_like_a_number() -> None:
    flags = ("run.name=2024", "backbone=7", "benchmark.revision=12", "benchmark.max_rows=3")
    config = resolve(*flags, "resources.annotators=2")
    assert (config.run.name, config.backbone, config.benchmark.revision) == ("2024", "7", "12")
    assert (config.benchmark.max_rows, config.resources.annotators) == (3, 2)
    assert "run.name: Input should be a valid string, got True" in refusal("run.name=true")


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("seed=" + "[" * 20_000, "nested more than 32 levels deep"),
        ("files.labels=" + "[" * 500 + "]" * 500, "nested more than 32 levels deep"),
        (".".join("a" * 5000) + "=1", "nested more than 32 levels deep"),
        ("seed=" + "9" * 5000, "4300 digits"),
        ("run.name=" + "9" * 4000, "run.name: a number of more than 1024 bits"),
        ("train.batch_size=" + "9" * 30, "train.batch_size: 9{30} does not fit into 64 bits"),
        ("run.name=a\udcff", "is no valid UTF-8"),
        ("files.paths." + "a" * 250 + ".train=b.conll", "a key has 200 letters at most"),
    ],
)
def test_text_that_is_no_value_is_told_in_a_line(flag: str, reason: str) -> None:
    text = refusal(flag)
    assert re.search(reason, text)
    assert len(text.splitlines()) == 1
    assert len(text) < 1000


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "parts"),
    [
        ("train.batch_size=0", ["train.batch_size: ", "greater than or equal to 1", "got 0"]),
        ("train.max_grad_norm=Infinity", ["train.max_grad_norm: ", "finite", "got inf"]),
        ("method.lambda=0.5", ["method.lambda: ", "greater than or equal to 1", "got 0.5"]),
        ("method.penalty=cubic", ["method.penalty: ", "'power' or 'linear'", "got 'cubic'"]),
        ("benchmark.unlabelled_split=x", ["'train', 'dev' or 'test'", "got 'x'"]),
        ("benchmark.unlabelled_split=dev,x", ["'train', 'dev' or 'test'", "got 'x'"]),
        ("benchmark.unlabelled_split=dev,dev", ["unlabelled_split: each split once, got dev, dev"]),
        ('benchmark.unlabelled_split={"de": "x"}', ["unlabelled_split.de: ", "got 'x'"]),
        ("benchmark.max_rows=0", ["benchmark.max_rows: ", "got 0"]),
        ("benchmark.max_rows.train=0", ["benchmark.max_rows.train: ", "got 0"]),
        (
            "benchmark.max_rows.half=3",
            ["benchmark.max_rows.half: ", "'train', 'dev', 'test' or 'unlabelled'"],
        ),
        ("benchmark.limit=3", ["benchmark.limit: is called benchmark.max_rows (from --set"]),
        ("own.files.en.train=x", ["own: is called files, and own.files files.paths (from --set"]),
        ("train.clip=2", ["train.clip: is called train.max_grad_norm (from --set"]),
        ("train.warmup=0.1", ["train.warmup: is called train.warmup_ratio (from --set"]),
        ("benchmark.targets=", ["benchmark.targets: ", "at least 1 item"]),
        ("benchmark.source=[3]", ["benchmark.source: ", "valid string", "got 3"]),
        ("resources.annotators=1,2,3", ["resources.annotators: ", "at most 2"]),
        ("run.name=../x", ["run.name: ", "pattern", "'../x'"]),
        ("seed=-1", ["seed: ", "greater than or equal to 0", "got -1"]),
        ("train=3", ["train: ", "dictionary", "got 3"]),
        ("method.name=magic", ["method.name: ", "'magic'", "allowed: bl_direct, ", " cltp, "]),
        ("method.name=[1]", ["method.name: ", "[1]", "allowed: bl_direct"]),
        ("translation.replace=true", ["translation.replace: neither model nor ready", "got True"]),
    ],
)
def test_messages_name_key_value_and_origin(flag: str, parts: list[str]) -> None:
    text = refusal(flag)
    for part in [*parts, f"(from --set {flag})"]:
        assert part in text


NAMES = ["x/../../pwned", "sw[/x]", "a" * 150, "..", "", " de", "de\n", "-de", "h\xe9", "a/b"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files.paths", lambda name: {name: {"train": "a.conll"}}),
        ("files.words", lambda name: {name: "blanks"}),
        ("benchmark.source", lambda name: [name]),
        ("benchmark.targets", lambda name: ["de", name]),
        ("benchmark.dev", lambda name: [name]),
        ("benchmark.unlabelled_split", lambda name: {name: "test"}),
        ("benchmark.prior", lambda name: {name: [1, 2]}),
        ("benchmark.prior_rows", lambda name: {name: 3}),
        ("benchmark.prior_seed", lambda name: {name: 3}),
        ("translation.languages", lambda name: [name]),
        ("translation.pivot", lambda name: name),
        ("translation.codes", lambda name: {name: "x"}),
    ],
)
def test_languages_have_names_that_files_may_have(
    key: str, value: Callable[[str], Any], name: str
) -> None:
    text = refusal(f"{key}={json.dumps(value(name))}")
    assert f"{key}" in text
    assert "the name of a language has letters a to z, digits" in text
    assert repr(name)[:50] in text


def test_all_known_languages_have_such_names() -> None:
    names = {name for item in BENCHMARKS.values() for name in item.languages}
    found = resolve(f"benchmark.targets={json.dumps([*sorted(names), 'pt-br', 'x.y'])}")
    assert len(found.benchmark.targets) == len(names) + 2


def test_no_message_names_a_key_that_nobody_can_write() -> None:
    for flag in ("benchmark.max_rows=x", "benchmark.targets=[3]", "resources.annotators=x"):
        keys = {line.split(": ")[0] for line in refusal(flag).splitlines()}
        assert keys == {flag.split("=")[0]}


def test_a_message_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    good = yaml_file(tmp_path, "good.yaml", "seed: 3\n")
    bad = yaml_file(tmp_path, "bad.yaml", "train: {max_grad_norm: -1}\n")
    assert f"train.max_grad_norm: Input should be greater than 0, got -1 (from {bad})" in refusal(
        files=(bad, good)
    )
    assert "(from --set train.max_grad_norm=-2)" in refusal("train.max_grad_norm=-2", files=(bad,))


def test_an_unknown_key_lists_its_siblings() -> None:
    text = refusal("data.shardrows=3")
    siblings = "batch_tokens, max_bad_fraction, max_fatal_rows, max_row_bytes, shard_rows"
    assert text == f"data.shardrows: unknown key; allowed: {siblings} (from --set data.shardrows=3)"
    assert "lambda" in refusal("method.lam=3").split("allowed: ")[1]
    top = "backbone, backbone_revision, benchmark, data, files, labellers, method, resources, run"
    top = f"{top}, seed, store, train, translation"
    assert f"trian: unknown key; allowed: {top} (from" in refusal("trian.max_grad_norm=1")


def test_every_wrong_key_has_its_line() -> None:
    lines = refusal("seed=-1", "train.max_grad_norm=0", "data.x=1").splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["data.x", "seed", "train.max_grad_norm"]


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^backbone: is required \(from defaults\)$"):
        load({"benchmark": {"name": "toy"}, "method": {"name": "cltp"}}, methods=SCHEMAS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a: [", "no valid YAML"), ("- 1\n", "expected keys and values"), ("3", "expected keys")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = yaml_file(tmp_path, "a.yaml", text)
    assert str(path) in (message := refusal(files=(path,)))
    assert reason in message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in refusal(files=(tmp_path / "none.yaml",))
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: \xe9\n")
    assert "no valid YAML" in refusal(files=(path,))


# -- the result -----------------------------------------------------------------------------------


def test_a_configuration_is_frozen() -> None:
    config = resolve()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # pyrefly: ignore [read-only]
    with pytest.raises(ValidationError, match="frozen"):
        config.method.tau = 3


def test_lambda_is_the_key_of_lambda() -> None:
    config = resolve("method.lambda=3")
    assert config.method.lam == 3
    assert to_dict(config)["method"]["lambda"] == 3
    assert "lam" not in to_dict(config)["method"]


def test_the_written_form_resolves_to_the_same_configuration() -> None:
    config = resolve("benchmark.max_rows.train=4", "resources.annotators=1,2", "method.lambda=3")
    written = json.loads(json.dumps(to_dict(config)))
    assert load(written, methods=SCHEMAS) == config


def test_the_name_of_a_run() -> None:
    assert resolve("seed=4").run_name == "cltp-wikiann-s4"
    assert resolve("run.name=mine").run_name == "mine"


def test_the_defaults_of_cltp_are_the_papers() -> None:
    """Its WikiANN setting: lambda 4, tau 10, beta 2, ratios 0.08, 0.6 and 1, 10 rounds of 3 epochs
    of which 3 are one-hot, learning rate 2e-5 throughout, XLM-R large's 10 source epochs."""
    config = load({**JOB, "method": {"name": "cltp"}}, methods=SCHEMAS)
    method = to_dict(config)["method"]
    assert {key: method[key] for key in ("lambda", "tau", "beta")} == {
        "lambda": 4.0, "tau": 10.0, "beta": 2.0,
    }  # fmt: skip
    assert (method["ratio"], method["src_ratio"], method["prev_ratio"]) == (0.08, 0.6, 1.0)
    assert (method["rounds"], method["one_hot_rounds"]) == (10, 3)
    assert method["source_lr"] == method["round_lr"] == 2e-5
    assert (method["source_epochs"], method["round_epochs"]) == (10, 3)
    assert (method["penalty"], method["label"], method["selection"]) == (
        "power", "partial", "per_class",
    )  # fmt: skip
    assert config.benchmark.unlabelled_split == "dev"
    assert config.benchmark.unlabelled_splits_of("de") == ("dev",)
    assert config.train.batch_size == 32


def leaves(schema: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in schema.model_fields.items():
        inner, key = field.annotation, prefix + (field.alias or name)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += leaves(inner, f"{key}.")
        else:
            found.append(key)
    return found


def test_help_has_every_key_with_default_and_meaning() -> None:
    schema = schema_for(JOB, SCHEMAS)
    lines = describe(schema, JOB)
    assert [line.split()[0] for line in lines] == leaves(schema)
    assert all(len(line.split()) > 2 for line in lines), "a key without a meaning"
    shown = {line.split()[0]: line.split()[1] for line in lines}
    assert shown["method.tau"] == "7"
    assert shown["method.lambda"] == "4.0"
    assert shown["seed"] == "0"
    assert "(required)" in next(x for x in describe(schema, {}) if x.split()[0] == "backbone")


@pytest.mark.parametrize("key", ["store.root", "benchmark.root"])
@pytest.mark.parametrize(
    "uri",
    [
        "s3://KEY:SECRET@bucket/x",
        "s3://KEY:SE/CR@ET@bucket/x",
        "s3://bucket/x?region=eu&secret_key=SECRET",
        "abfs://box@account/x?client_secret=SECRET",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_shown(key: str, uri: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: .*credentials") as caught:
        load(JOB, flags=[f"{key}={uri}"], methods=SCHEMAS)
    assert not {"SECRET", "SE/CR", "ET@"} & set(re.findall(r"SECRET|SE/CR|ET@", str(caught.value)))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/x@y?endpoint_override=127.0.0.1:9000&scheme=http&region=us-east-1",
        "hdfs://me@namenode:8020/x",
        "hdfs://namenode:8020/x@y",
        "abfs://box@account.dfs.core.windows.net/x",
    ],
)
def test_uris_without_secrets_are_taken(uri: str) -> None:
    config = load(JOB, flags=[f"store.root={uri}"], methods=SCHEMAS)
    assert config.store.root == uri


class Inner(Section, frozen=True):
    rate: float = Field(default=0.5, alias="lambda", gt=0)
    sizes: tuple[int, ...] = (1,)


class Outer(Inner, frozen=True):
    rate: float = Field(default=0.25, alias="lambda", gt=0)
    more: int = 3


def test_a_part_of_a_section_has_its_keys_alone() -> None:
    """With the values of the whole, also those that are its defaults."""
    whole = Outer.model_validate({"sizes": [2, 3], "more": 4})
    part = part_of(whole, Inner)
    assert type(part) is Inner
    assert part == Inner.model_validate({"lambda": 0.25, "sizes": (2, 3)})


@pytest.mark.parametrize(
    ("config", "part"), [(MARALConfig(), StudentConfig()), (IWDAConfig(), CriticSettings())]
)
def test_parts_of_methods_have_their_defaults_and_lines(
    config: MethodConfig, part: Section
) -> None:
    """What an objective is told is what the user reads; a key with fewer values says less."""
    assert part_of(config, type(part)) == part
    whole = type(config).model_fields
    for name, field in type(part).model_fields.items():
        if field.annotation == whole[name].annotation:
            assert whole[name].description == field.description, name


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("maral", ["name", "source_lr", "preset", "lr", "epochs", "k", "temp", "prune"]),
        ("iwda", ["name", "source_lr", "lr", "weighting", "lambda_da", "feature", "rho"]),
    ],
)
def test_keys_of_a_method_stand_in_the_order_of_its_parts(name: str, order: list[str]) -> None:
    keys = recipes()[name].Config.model_fields
    assert [key for key in keys if key in order] == order
    assert all(field.description for field in keys.values())
