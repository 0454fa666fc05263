"""Claims of the papers: measure them, write their page, or try one of each method.

python -m benchmarks.claims keep FOLDER...      keeps finished runs of folders, <store.root>/runs
python -m benchmarks.claims measure FOLDER...   reads such folders, and what was kept
python -m benchmarks.claims page                writes docs/claims.md
python -m benchmarks.claims tables              writes tables of kept runs into their pages
python -m benchmarks.claims proof [--data FOLDER] [--backbone FOLDER]
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims.kept import read_kept, runs_to_keep, write_kept
from benchmarks.claims.measure import measure
from benchmarks.claims.measured import read_measured, write_measured
from benchmarks.claims.page import PAGE, write_page
from benchmarks.claims.proof import Asked, carry_out
from benchmarks.claims.schema import missing, read_claims
from benchmarks.claims.tables import write_tables
from benchmarks.claims.which import PAGE as WHICH
from benchmarks.claims.which import write_which
from xlt_ray.config.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    plain = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser("benchmarks.claims", description=__doc__, formatter_class=plain)
    commands = found.add_subparsers(dest="command", required=True)
    told = commands.add_parser("measure", help="figures of claims from finished comparisons")
    told.add_argument("folders", nargs="*", type=Path, help="folders of runs, <store.root>/runs")
    told = commands.add_parser("keep", help="keep finished runs, for seeds to be added later")
    told.add_argument("folders", nargs="+", type=Path, help="folders of runs, <store.root>/runs")
    commands.add_parser("page", help="write docs/claims.md")
    commands.add_parser("tables", help="write tables of kept runs into docs/results")
    proof = commands.add_parser("proof", help="one claim of each method, in minutes")
    proof.add_argument("--data", type=Path, help="folder with wikiann, udpos, xnli and sentiment")
    proof.add_argument("--backbone", default=os.environ.get("XLT_BACKBONE") or None,
                       help="folder of an encoder, or its name on the hub")  # fmt: skip
    proof.add_argument("--store", type=Path, default=Path("~/xlt_ray/proof").expanduser())
    proof.add_argument("--only", default="", help="methods, comma separated")
    proof.add_argument("--at-once", type=int, default=2, help="comparisons at once at most")
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Carry out a command; returns the exit code."""
    options = parser().parse_args(words)
    try:
        if options.command == "proof":
            asked = Asked(options.data, options.backbone, options.store)
            only = [name for name in options.only.split(",") if name]
            return carry_out(asked, at_once=options.at_once, only=only)
        if options.command == "keep":
            for run in runs_to_keep(options.folders):
                print(write_kept(run))
            return 0
        if options.command == "tables":
            kept = read_kept()
            for path in write_tables(kept):
                print(path)
            write_which(kept)
            print(WHICH)
            return 0
        claims, measured = read_claims(), read_measured()
        if options.command == "measure":
            new = measure(claims, options.folders, kept=read_kept())
            write_measured(measured.updated(new, claims))
            print(f"{len(new.claims)} of {len(claims)} claims measured")
            return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_page(claims, measured)
    print(PAGE)
    faults = [*missing(claims), *(f"{x}: needs a why" for x in measured.unexplained(claims))]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
