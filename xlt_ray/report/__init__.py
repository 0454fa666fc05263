"""What a run shows: progress while it works, tables and pages when it is done.

progress   a live line, or one per step
record     the report as data
tables     as text and Markdown
wide_table that fits a terminal
screen     the terminal, whose reader may stop
page       as a page
timeline   when its steps were computed
look       its sentences, a page for each language
suggestions  rows for annotation tools
write      report.json and report.md
comparison a comparison as data
compare    its tables
comparison_details  its rounds, settings and parts that did nothing
significance  paired bootstrap over sentences
published  tables as the papers print them
sweep      a sweep: data and tables
surface    its response surface
card       the card of a model
figures    bars and curves by matplotlib
svg        small pictures of a page
"""

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
