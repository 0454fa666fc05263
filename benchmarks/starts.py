"""What goes before the work: imports, a run that finds all its steps, Ray, uploads and checksums.

Everything that a person waits for is timed in a process of its own, as they wait for it, beside the
least that it could take: a process that does nothing, or that imports PyTorch and Ray.

    python -m benchmarks.starts [--repeats 5] [--gigabytes 1]
"""

import argparse
import cProfile
import hashlib
import io
import os
import pstats
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.fs as pafs
import yaml
from ray._private.runtime_env.packaging import create_package

from benchmarks.measure import Comparison, Contender, table, take_turns, title
from benchmarks.setting import EMBEDDED, small_backbone
from xlt_ray.data.readers.files import DataFile

ROOT = Path(__file__).resolve().parents[1]
LEAST = "import torch, ray"
CALL = "from xlt_ray.commands.main import main; import sys; sys.exit(main(sys.argv[1:]))"
PARTS: Mapping[str, tuple[str, str]] = {
    "text: checksums of files, benchmarks": ("corpora.py", "source"),
    "fingerprints": ("steps.py", "fingerprint"),
    "steps that are looked for": ("artifacts.py", "find"),
}
"""What of a run is shown, and the function that holds it: seconds within each, one in another."""


def said(code: str, *words: str) -> str:
    """Run Python in a process of its own; gives what it says, or fails with it."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def imports(repeats: int) -> Comparison:
    """The command and the package, from nothing."""
    contenders = [
        Contender("Python that does nothing", lambda: said("pass")),
        Contender("import xlt_ray", lambda: said("import xlt_ray")),
        Contender("xlt-ray --help", lambda: said(CALL, "--help")),
        Contender(LEAST, lambda: said(LEAST)),
    ]
    return measured("Starts of the command", contenders, repeats)


def cached_run(folder: Path, repeats: int) -> tuple[Comparison, dict[str, float], int]:
    """A run whose steps are all there, what it is made of, and how many steps they are."""
    values: dict[str, Any] = EMBEDDED.values({"train": 64, "dev": 32, "test": 32})
    values |= {
        "backbone": small_backbone(folder / "encoder"),
        "method": {"name": "cltp", "source_epochs": 1, "round_epochs": 1, "rounds": 7},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1},
        "run": {"name": "cached"},
        "store": {"root": str(folder / "store")},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    run = ("run", "--config", str(path))
    said(CALL, *run)
    ledger = folder / "store/runs/cached/ledger.jsonl"
    steps = len(ledger.read_text().splitlines())
    contenders = [
        Contender(LEAST, lambda: said(LEAST)),
        Contender(f"a run of {steps} steps that are there", lambda: said(CALL, *run)),
    ]
    return measured("A run with nothing to do", contenders, repeats), profiled(run), steps


def profiled(words: tuple[str, ...]) -> dict[str, float]:
    """Seconds of the parts of a command, in this process, which has imported everything."""
    from xlt_ray.commands.main import main

    profile = cProfile.Profile()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        profile.runcall(main, list(words))
    stats: Any = pstats.Stats(profile)
    found = dict.fromkeys(PARTS, 0.0)
    for (path, _, function), (_, _, _, seconds, _) in stats.stats.items():
        for name, (file, called) in PARTS.items():
            if function == called and Path(path).name == file:
                found[name] += seconds
    return {**found, "all of it": stats.total_tt}


def own_ray(repeats: int) -> Comparison:
    """A local Ray, as a run starts one for itself, and as little of one as there is."""
    least = "import ray; ray.init(address='local', num_cpus=2, include_dashboard=False)"
    ours = (
        "from xlt_ray.engine.environment import prepare; prepare(local=True);"
        "from xlt_ray.run.check import configure_run; from xlt_ray.run.session import connected;"
        "from xlt_ray.engine.local_ray import needed;"
        "keys = {'benchmark': {'name': 'toy'}, 'backbone': 'toy', 'method': {'name': 'bl_direct'}};"
        "config = configure_run(keys);"
        "entered = connected(config); entered.__enter__(); needed();"
        "entered.__exit__(None, None, None)"
    )
    contenders = [
        Contender("import ray; ray.init()", lambda: said(least)),
        Contender("the Ray of a run, started and stopped", lambda: said(ours)),
    ]
    return measured("A local Ray", contenders, repeats)


def upload(folder: Path) -> str:
    """What a job uploads, as Ray packs it."""
    package = folder / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    with zipfile.ZipFile(package) as packed:
        sizes = {item.filename: item.file_size for item in packed.infolist()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    named = ", ".join(f"{name} ({sizes[name] / 1e3:.0f} kB)" for name in largest)
    whole = sum(sizes.values()) / 1e6
    return f"A job uploads {len(sizes)} files, {whole:.2f} MB; the largest: {named}."


def checksums(folder: Path, gigabytes: float, repeats: int) -> Comparison:
    """The checksum of a corpus, which every start of a run takes, beside that of the library."""
    path = folder / "corpus.txt"
    block = os.urandom(1 << 20)
    with path.open("wb") as stream:
        for _ in range(max(1, round(gigabytes * 1000))):
            stream.write(block)
    file = DataFile(pafs.LocalFileSystem(), str(path), path.name, str(path), path.stat().st_size)

    def bare() -> None:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")

    contenders = [Contender("sha256 of the standard library", bare), Contender("here", file.digest)]
    found = measured(f"Checksums of {gigabytes:g} GB", contenders, repeats)
    path.unlink()
    return found


def measured(name: str, contenders: list[Contender], repeats: int) -> Comparison:
    """Contenders that took turns."""
    load = os.getloadavg()[0]
    timings = take_turns(contenders, repeats=repeats)
    return Comparison(name, "times", 1, timings, load=(load, os.getloadavg()[0]))


def starts(repeats: int, gigabytes: float) -> tuple[list[Any], str]:
    """Everything, and the tables."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        cached, parts, steps = cached_run(folder, repeats)
        found = [imports(repeats), cached, own_ray(repeats), checksums(folder, gigabytes, repeats)]
        packed = upload(folder)
    lines = [
        f"| of the run of {steps} steps, in a process that has imported all | s |",
        "|:--|--:|",
    ]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in parts.items()]
    shown = "\n".join([*map(table, found), *lines, "", packed, ""])
    return [*(item.to_json() for item in found), parts], shown


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    options = parser.parse_args()
    print(starts(options.repeats, options.gigabytes)[1])


if __name__ == "__main__":
    main()
