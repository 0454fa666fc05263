"""Fingerprints: which changes of code, parameters and inputs make another result."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import xlt_ray
from xlt_ray.store import fingerprint as module
from xlt_ray.store.fingerprint import PLUMBING, code_digest, fingerprint

Digest = Callable[..., str]
CACHES = (module._path, module.tree_of, module._imports, module._within, module._module_digest)

PLAIN = {
    "steps.py": "from probe.inner import work\n\ndef run(x):\n    return work(x) + 1\n",
    "inner/__init__.py": "",
    "inner/work.py": "import probe.constants\nfrom probe import plumbing\n\nRATE = 2\n",
    "constants.py": "import json\n\nPI = 3\n",
    "plumbing.py": "WAY = 'local'\n",
    "other.py": "X = 1\n",
}


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Digest]:
    """Digest of ``probe.steps`` in a package of the given files."""
    monkeypatch.setattr(module, "PACKAGE", "probe")
    monkeypatch.setattr(module, "PLUMBING", frozenset({"probe.plumbing"}))
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(names: tuple[str, ...] = ("probe.steps",), **changes: str) -> str:
        files = {**PLAIN, **{name.replace("__", "/") + ".py": x for name, x in changes.items()}}
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / "probe" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()
        return code_digest(*names)

    yield of
    forget()


def forget() -> None:
    for cached in CACHES:
        cached.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "probe"]:
        del sys.modules[name]


def test_comments_layout_and_docstrings_do_not_matter(digest: Digest) -> None:
    text = '"""About."""\nfrom probe.inner import work  # why\n\n\ndef run(\n    x,\n):\n'
    text += '    """Runs."""\n    return (work(x) + 1)\n'
    assert digest(steps=text) == digest()


def test_nothing_is_imported_to_know_what_is_imported(digest: Digest) -> None:
    digest(steps="from probe.inner import work\nfrom probe.constants import PI\n")
    assert not {name for name in sys.modules if name.startswith("probe.")}


def test_attribute_docstrings_do_not_matter(digest: Digest) -> None:
    assert digest(constants='import json\n\nPI = 3\n"""About."""\n') == digest()


@pytest.mark.parametrize(
    "text",
    [
        "from probe.inner import work\n\ndef run(x):\n    return work(x) + 2\n",
        "from probe.inner import work\n\ndef run(y):\n    return work(y) + 1\n",
        "from probe.inner import work\n\ndef run(x):\n    return 'work(x) + 1'\n",
    ],
)
def test_code_matters(digest: Digest, text: str) -> None:
    assert digest(steps=text) != digest()


def test_imports_are_followed(digest: Digest) -> None:
    """probe.steps -> probe.inner.work (a module imported by name) -> probe.constants."""
    assert digest(inner__work=PLAIN["inner/work.py"] + "MORE = 1\n") != digest()
    assert digest(constants="import json\n\nPI = 4\n") != digest()


def test_imports_inside_functions_are_followed(digest: Digest) -> None:
    lazy = "def run(x):\n    from probe.other import X\n    return X\n"
    assert digest(steps=lazy, other="X = 1\n") != digest(steps=lazy, other="X = 2\n")


def test_what_is_not_imported_does_not_matter(digest: Digest) -> None:
    assert digest(other="X = 2\n") == digest()


def test_plumbing_does_not_matter(digest: Digest) -> None:
    assert digest(plumbing="WAY = 's3'\n") == digest()
    assert "xlt_ray.store" in PLUMBING


def test_the_order_in_which_modules_are_named_does_not_matter(digest: Digest) -> None:
    names = ("probe.steps", "probe.other")
    assert digest(names) == digest(names[::-1])
    assert digest(names) != digest()


def test_an_import_cycle_ends(digest: Digest) -> None:
    assert digest(constants="import probe.steps\n") != digest()


@pytest.mark.slow
def test_steps_at_once_may_each_ask_for_theirs(digest: Digest) -> None:
    """A collection within a parse lets the other threads go on, as those of Ray's callbacks do."""
    deep = "X = " + "(1 + " * 40 + "1" + ")" * 40 + "\n"
    expected = digest(steps=deep * 40)

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(1e-6)

    gc.callbacks.append(give_way)
    threshold = gc.get_threshold()
    gc.set_threshold(50)
    try:
        for _ in range(3):
            forget()
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(code_digest, ["probe.steps"] * 4))
            assert found == [expected] * 4
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(give_way)


def test_the_digest_of_the_package_is_that_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are compared by it; a room that it leaves out may differ."""
    read: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or whole(self))
    module.package_digest.__wrapped__()
    there = set(Path(xlt_ray.__file__).parent.rglob("*.py"))
    assert {path for path in read if path.suffix == ".py"} == there


@pytest.mark.slow
def test_real_steps_stand_on_what_computes_them() -> None:
    closure = module.closure_of(["xlt_ray.engine.train.processes"])
    assert {"xlt_ray.models.tagger", "xlt_ray.data.batches.planning", "xlt_ray.labels"} <= closure
    assert not {name for name in closure if name.startswith(("xlt_ray.store", "xlt_ray.config"))}
    assert "xlt_ray.run.driver" not in closure
    assert not {name for name in closure if name.startswith("xlt_ray.methods.cltp")}


def of(
    kind: str = "model",
    params: object = None,
    inputs: tuple[str, ...] = ("a", "b"),
    code: str = "c",
) -> str:
    params = {"x": 1, "y": [1, 2]} if params is None else params
    return fingerprint(kind, params=params, inputs=inputs, code=code)


def test_everything_named_matters() -> None:
    changed = [
        of(kind="other"),
        of(params={"x": 1, "y": [2, 1]}),
        of(params={"x": 1.5, "y": [1, 2]}),
        of(inputs=("b", "a")),
        of(inputs=("a",)),
        of(inputs=("ab",)),
        of(code="d"),
    ]
    assert len({of(), *changed}) == len(changed) + 1


def test_the_order_of_keys_does_not_matter() -> None:
    assert of(params={"y": [1, 2], "x": 1}) == of()


def test_it_is_a_name_for_a_folder() -> None:
    assert len(of()) == 40
    assert set(of()) <= set("0123456789abcdef")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        of(params={"x": float("nan")})
    with pytest.raises(TypeError):
        of(params={"x": {1, 2}})
