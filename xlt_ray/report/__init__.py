"""What a run shows: progress while it works, tables and files when it is done."""

from xlt_ray.report.page import run_page
from xlt_ray.report.record import Report, RoundReport, StepReport, versions_of
from xlt_ray.report.tables import terminal_table
from xlt_ray.report.write import write_report

__all__ = [
    "Report",
    "RoundReport",
    "StepReport",
    "run_page",
    "terminal_table",
    "versions_of",
    "write_report",
]
