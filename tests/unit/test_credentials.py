"""Credentials in URIs: none is taken in a configuration, and none is shown in a message."""

import json
import string
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xlt_ray.commands import export, predict
from xlt_ray.commands import main as console
from xlt_ray.commands.cli import run_job
from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import first_line
from xlt_ray.run.check import configure_run

SECRET = "hunter2SECRET"
CREDENTIALS = [
    "s3://KEY:{}@bucket/x",
    "S3://KEY:{}@bucket/x",
    "s3://KEY:12/{}@bucket/x",
    "s3://KEY%3A{}@bucket/x",
    "s3://KEY%3a{}%40bucket/x",
    "s3://KEY:a/b{}@bucket/x",
    "hdfs://me:{}@namenode:8020/x",
    "sftp://me:{}@host:22/x",
    "https://{}@host/x",
    "zip://a.zip::s3://KEY:{}@bucket/a.zip",
    "s3://bucket/x?access_key={}",
    "s3://bucket/x?region=eu&secret_key={}",
    "s3://bucket/x?SECRET_KEY={}",
    "s3://bucket/x?secret%5Fkey={}",
    "s3://bucket/x?%73ecret%2Dkey={}",
    "s3://bucket/x?session_token={}",
    "s3://bucket/x?region=eu;secret_key={}",
    "s3://bucket/x#secret_key={}",
    "s3://bucket/x?scheme=http&endpoint_override=me:{}@host:9000",
    "s3://bucket/x?endpoint_override=http%3A%2F%2Fme%3A{}%40host",
    "gs://bucket/x?access_token={}",
    "gs://bucket/x?private_key={}",
    "abfs://box@account/x?client_secret={}",
    "abfs://box@account.dfs.core.windows.net/x?account_key={}",
    "abfs://:{}@account/x",
    "abfs://box@account/x?sv=2024-11-04&ss=b&sp=rl&sig={}",
    "abfs://box@account/x?sv=2024-11-04&SIG={}",
    "az://box/x?sas_token=sv%3D2024-11-04%26sig%3D{}",
    "az://box/x?credential={}",
    "https://account.blob.core.windows.net/box/x?sv=2024-11-04&sig={}&se=2030-01-01",
    "https://host/x?X-Amz-Algorithm=AWS4&X-Amz-Credential=KEY%2Feu&X-Amz-Signature={}",
    "https://host/x?x-amz-security-token={}",
    "https://host/x?X-Goog-Signature={}",
    "https://host/x?AWSAccessKeyId=KEY&Signature={}",
    "https://host/x?api_key={}",
    "https://host/x?apikey={}",
    "https://host/x?auth={}",
    "https://host/x?jwt={}",
    "https://host/x?passwd={}",
    "https://host/x?next=https%253A%252F%252Fme%253A{}%2540host",
    "DefaultEndpointsProtocol=https;AccountName=me;AccountKey={};EndpointSuffix=core.windows.net",
    "AccountKey={};AccountName=me",
    "BlobEndpoint=https://me.blob.core.windows.net;SharedAccessSignature=sv=2024&sig={}",
    "az://box/x?connection_string=AccountName%3Dme%3BAccountKey%3D{}",
]
ORDINARY = [
    "s3://bucket/x@y?endpoint_override=127.0.0.1:9000&scheme=http&region=us-east-1",
    "s3://bucket/x?endpoint_override=http%3A%2F%2F127.0.0.1%3A9000&allow_bucket_creation=true",
    "s3://anonymous@bucket/x",
    "gs://anonymous@bucket/x?retry_limit_seconds=5",
    "hdfs://me@namenode:8020/x",
    "hdfs://namenode:8020/x@y",
    "abfs://box@account.dfs.core.windows.net/x?credential_kind=anonymous&enable_tls=true",
    "abfs://account/x?tenant_id=t&client_id=c",
    "file:///data/key=1/token=2/part.parquet",
    "ray://head:10001",
    "host:6379",
    "/data/x/y",
    "~/xlt_ray",
    "FacebookAI/xlm-roberta-large",
]


@pytest.mark.parametrize("pattern", CREDENTIALS)
def test_a_secret_is_refused_and_not_shown(pattern: str) -> None:
    uri = pattern.format(SECRET)
    for message in (uri, f"cannot open {uri!r}: no", f'"{uri}" (from --set store.root={uri})'):
        assert SECRET not in redacted(message)
    with pytest.raises(ConfigError, match=r"store\.root: .*credentials") as caught:
        run_with(**{"store.root": uri})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", ORDINARY)
def test_other_uris_are_taken(uri: str) -> None:
    assert run_with(**{"store.root": uri}).store.root == uri


def test_what_is_no_secret_stays_in_a_message() -> None:
    kept = "s3://bucket/x?region=eu&scheme=http: cannot be listed; lower it (see sweep.keys=1)"
    assert redacted(kept) == kept
    assert redacted("'s3://b/x?sig=a&region=eu': no") == "'s3://b/x?sig=***&region=eu': no"


NAMES = ["secret_key", "access_key", "session_token", "sig", "X-Amz-Signature", "password",
         "account_key", "sas_token", "api-key", "X-Goog-Signature", "private_key"]  # fmt: skip
SAFE = string.ascii_letters + string.digits
IN_PARAMETERS = st.text(SAFE + "-._~:/?@!$'()*+,;=%#[]\"", min_size=1, max_size=12)
"""Everything that somebody may have left as it is, but for blanks and the sign that ends it."""


def spelt(name: str, flips: list[bool]) -> str:
    """A name with some of its characters in percent notation, or in the other case."""
    letters = zip(name, flips, strict=False)
    return "".join(f"%{ord(x):02x}" if flip else x.swapcase() for x, flip in letters)


@given(
    st.sampled_from(NAMES), st.lists(st.booleans(), min_size=20, max_size=20),
    st.sampled_from("?&;#"), IN_PARAMETERS,
)  # fmt: skip
@example("sig", [False] * 20, "?", "a;b'c\"d")
def test_no_parameter_survives(name: str, flips: list[bool], mark: str, noise: str) -> None:
    secret = f"Zq{noise}7Zq"
    uri = f"s3://bucket/x?region=eu{mark}{spelt(name, flips)}={secret}"
    for text in (uri, f"failed: {uri!r}", f"a {uri} b", quote(uri, safe="")):
        assert "7Zq" not in redacted(text)
        assert "Zq7" not in redacted(text)
    with pytest.raises(ConfigError, match="credentials"):
        run_with(**{"store.root": uri})


@given(
    st.sampled_from(["s3", "abfs", "hdfs", "https", "S3"]), st.text(SAFE, max_size=5),
    st.text(SAFE + "-._~:/@!$'()*+;=%[]\"", min_size=1, max_size=12),
)  # fmt: skip
def test_no_password_survives(scheme: str, user: str, noise: str) -> None:
    uri = f"{scheme}://{user}:Zq{noise}7Zq@host/x"
    for text in (uri, f"failed: {uri!r}", quote(uri, safe="")):
        assert "7Zq" not in redacted(text)
    with pytest.raises(ConfigError, match="credentials"):
        run_with(**{"store.root": uri})


@given(
    st.sampled_from(["s3", "gs", "abfs", "hdfs", "file"]),
    st.text(SAFE + "-._~/@,+", max_size=20),
    st.dictionaries(
        st.sampled_from(["region", "scheme", "endpoint_override", "allow_bucket_creation"]),
        st.text(SAFE + "-._:", max_size=12),
    ),
)
def test_no_ordinary_uri_is_refused(scheme: str, path: str, parameters: dict[str, str]) -> None:
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    uri = f"{scheme}://bucket/{path}" + (f"?{query}" if query else "")
    assert run_with(**{"store.root": uri}).store.root == uri


def run_with(**given: Any) -> Any:
    """The configuration of a run with such keys."""
    base = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "cltp"}}
    return configure_run(base, flags=[f"{key}={json.dumps(value)}" for key, value in given.items()])


URI = f"abfs://box@account/x?sv=2024&sig={SECRET}"
OF_RUNS = {
    "benchmark.root": URI, "store.root": URI, "translation.ready": URI, "translation.model": URI,
    "translation.back": URI, "backbone": URI, "resources.address": f"ray://me:{SECRET}@head:10001",
    "method.start_from": URI,
}  # fmt: skip


@pytest.mark.parametrize(("key", "uri"), OF_RUNS.items())
def test_every_key_that_holds_a_uri_refuses_them(key: str, uri: str) -> None:
    method = {"method.name": "kd"} if key == "method.start_from" else {}
    with pytest.raises(ConfigError, match=rf"{key}: .*credentials") as caught:
        run_with(**method, **{key: uri})
    assert SECRET not in str(caught.value)


def test_files_of_ones_own_refuse_them_before_commas_part_them() -> None:
    for uri in (URI, f"s3://KEY:a,{SECRET}@bucket/x"):
        with pytest.raises(ConfigError, match="credentials") as caught:
            run_with(**{"benchmark.name": "files", "files.paths.en.train": uri})
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("job", "keys"),
    [
        (predict, {"predict.model": URI, "predict.files": "x", "predict.to": "y"}),
        (predict, {"predict.model": "m", "predict.files": URI, "predict.to": "y"}),
        (predict, {"predict.model": "m", "predict.files": "x", "predict.to": URI}),
        (export, {"export.run": "m", "export.to": URI}),
    ],
)
def test_those_of_jobs_do_too(job: Any, keys: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"(predict|export)\.\w+: .*credentials") as caught:
        job.configure({}, flags=[f"{key}={value}" for key, value in keys.items()])
    assert SECRET not in str(caught.value)


def test_the_looks_at_a_store_do_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["runs"], ["report", "x"], ["gc"]):
        assert console.main([*words, "--store", URI]) == 2
        shown = capsys.readouterr()
        assert "credentials" in shown.err
        assert SECRET not in shown.err + shown.out


def test_what_libraries_say_is_shown_without_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert SECRET not in first_line(RuntimeError(f"no answer from https://me:{SECRET}@host/x"))
    for error in (ValueError, RuntimeError):

        def fail(config: object, raised: type[Exception] = error) -> object:
            raise raised(f"no answer from {URI}")

        monkeypatch.setattr(sys.modules["xlt_ray.commands.cli"], "run", fail)
        values = {"benchmark.name": "toy", "backbone": "toy", "method.name": "cltp",
                  "store.root": tmp_path}  # fmt: skip
        flags = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        assert run_job({}, "", flags) in (2, 3)
        shown = capsys.readouterr()
        assert "no answer from abfs://" in shown.err
        assert SECRET not in shown.err
