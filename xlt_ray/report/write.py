"""Writes report.json and report.md."""

import json
from collections.abc import Callable

from xlt_ray.report.record import Report
from xlt_ray.report.tables import markdown

WriteBytes = Callable[[str, bytes], None]
"""Writes a named file whole: after a crash there is the old file or the new one."""


def write_report(report: Report, write_bytes: WriteBytes) -> None:
    """Writes both files; a repeated run gives the same bytes but for `seconds` and `cached`.

    Args:
        report: The report.
        write_bytes: Writes a file of the run's folder, local or in object storage.
    """
    write_bytes("report.md", markdown(report).encode())
    write_bytes("report.json", json_bytes(report))  # last: who finds it finds both


def json_bytes(report: Report) -> bytes:
    """The bytes of report.json: sorted keys, floats in full precision."""
    text = json.dumps(
        report.to_json(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"
