"""What all tests share: a sealed environment, the sample data and one local Ray."""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Read when libraries are first imported, here and in every process a test starts.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # never the user's own ~/.ray/auth_token
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# Idle workers stay for the tests that come: they share one Ray, where a run has its own.
os.environ["RAY_idle_worker_killing_time_threshold_ms"] = "600000"  # noqa: SIM112
# Nor does a Ray start workers before anything asks for one: many tests never do.
os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112
# A thread that waits for others leaves its core to the processes that run beside it.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# Processes that tests start compile a module once, not each of them again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.pop("RAY_ADDRESS", None)  # tests never run on somebody's cluster
os.environ.pop("XLT_DEBUG", None)  # what users are told has no traces

from filelock import FileLock  # noqa: E402

from tests.home import move, short_temporary_folder  # noqa: E402

move()

from tests.s3 import CREDENTIALS, S3  # noqa: E402

os.environ.update(CREDENTIALS)  # never the user's own

from xlt_ray.engine.environment import prepare  # noqa: E402

prepare(local=True)

import pytest  # noqa: E402
import torch  # noqa: E402

from tests.world import Encoders, World, write_backbone, write_corpus  # noqa: E402
from xlt_ray.models import pretrain  # noqa: E402
from xlt_ray.models.pretrain import PretrainSettings  # noqa: E402

torch.set_num_threads(1)  # threads that wait for a busy core cost more than they give


SLOW_FIRST = ("test_toy", "test_wheel", "test_no_target_leak", "test_commit_points")
"""Files that take longest. Where tests run side by side, they begin first; then come those that
take seconds, without the session's Ray and with it; what is quick fills what is left."""
LONG = os.environ.get("XLT_LONG") == "1"


def _fixtures(item: pytest.Item) -> Collection[str]:
    return getattr(item, "fixturenames", ())


def _rank(item: pytest.Item, on_ray: set[Path]) -> int:
    if item.path.stem in SLOW_FIRST:
        return SLOW_FIRST.index(item.path.stem)
    if item.path.parent.name == "unit":
        return len(SLOW_FIRST) + 2
    return len(SLOW_FIRST) + (item.path in on_ray)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run; marks what uses the cluster or the sample data."""
    waiting = {item for item in items if item.get_closest_marker("long") and not LONG}
    first = {item.path: item for item in reversed(items) if item not in waiting}
    on_ray = {path for path, item in first.items() if "ray_cluster" in _fixtures(item)}
    items.sort(key=lambda item: _rank(item, on_ray))
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    no_network = pytest.mark.skip(reason="needs the model hub: set XLT_NETWORK=1")
    too_long = pytest.mark.skip(reason="takes long: set XLT_LONG=1, as `make test-all` does")
    for item in items:
        fixtures = _fixtures(item)
        if "ray_cluster" in fixtures:
            item.add_marker("ray")
        if "shared" in fixtures:
            item.add_marker("shared")
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if item.get_closest_marker("network") and os.environ.get("XLT_NETWORK") != "1":
            item.add_marker(no_network)
        if item in waiting:
            item.add_marker(too_long)


@pytest.fixture(scope="session", autouse=True)
def no_waits_for_the_disk() -> Iterator[None]:
    """A test cannot cut the power, so this process need not wait until bytes are on the disk.

    Tests that look at what is forced to it, and in which order, put their own in this one's place.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real sample data and a small encoder, beside the repository."""
    folder = Path(os.environ.get("XLT_SHARED") or ROOT.parent / "shared")
    if folder.is_dir():
        return folder
    reason = f"no sample data at {folder} (set XLT_SHARED to its folder)"
    if os.environ.get("XLT_REQUIRE_SHARED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The sample data sets."""
    return _part(shared / "data")


@pytest.fixture(scope="session")
def shared_model(shared: Path) -> Path:
    """The small multilingual encoder."""
    return _part(shared / "models" / "mini-xlmr")


def _part(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.fail(f"the sample data has no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """One local Ray for the whole session; gives its address."""
    import ray

    # Ray keeps Unix sockets in there, whose paths may have 107 characters.
    folder = tempfile.mkdtemp(prefix="xlt-", dir=short_temporary_folder())
    try:
        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=300_000_000,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3-protocol server on loopback."""
    server = S3(tmp_path_factory.mktemp("s3") / "server.log")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def toy_encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """Encoders of the embedded benchmark that tests have pre-trained, in whichever process."""
    return Encoders(_of_all_processes(tmp_path_factory) / "toy-encoders")


def _of_all_processes(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all processes of this call of pytest."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture
def brief_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded benchmark's encoder has a third of its steps, in this process."""
    brief = partial(PretrainSettings, steps=PretrainSettings.steps // 3)
    monkeypatch.setattr(pretrain, "PretrainSettings", brief)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Corpora, and an encoder that the first process to need it pre-trains for all of them."""
    root, backbone = tmp_path_factory.mktemp("world"), _of_all_processes(tmp_path_factory) / "world"
    with FileLock(f"{backbone}.lock"):
        if not backbone.is_dir():
            write_backbone(root / "backbone").rename(backbone)
    return World(
        corpus=write_corpus(root / "corpus"),
        noisy=write_corpus(root / "noisy", noisy_targets=True),
        backbone=backbone,
    )
