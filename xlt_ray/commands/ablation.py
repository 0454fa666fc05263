"""A comparison of settings of one method, with a bar chart beside its tables."""

from typing import Any

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, compare, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.report.compare import Comparison
from xlt_ray.report.figures import comparison_figure, require_matplotlib, write_pictures
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder


def ablate(config: CompareConfig) -> dict[str, Any]:
    """Compare, and draw the averages; returns the comparison as plain values.

    Args:
        config: The configuration, from `xlt_ray.commands.compare.configure`.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
        LeaseHeldError: another driver is at work on this comparison or on one of its runs.
    """
    require_matplotlib()
    record = compare(config)
    folder = RunFolder(Store(config.first.store.root), config.name)
    pictures = comparison_figure(Comparison.from_json(record), heading=config.name)
    write_pictures("figure-averages", pictures, folder.write)
    print(f"figure:     {folder.path}/figure-averages.svg", flush=True)
    return record


def dry_run(config: CompareConfig) -> int:
    """The dry run of the comparison; raises ConfigError if the chart could not be drawn."""
    require_matplotlib()
    return dry_run_of_runs(config)


JOB = Job(configure, ablate, dry_run, keys)
"""What ``jobs/cltp_table3.py`` and ``jobs/cltp_table4.py`` do with their flags."""
