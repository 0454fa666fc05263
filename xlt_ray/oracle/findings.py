"""Where an analysis leaves what it found: pictures, a page, and the figures behind them."""

import json
from collections.abc import Mapping
from typing import Any

from xlt_ray.report.figures import Pictures, write_pictures
from xlt_ray.store.run_folder import RunFolder


def publish(
    folder: RunFolder,
    name: str,
    findings: Mapping[str, Any],
    page: str,
    pictures: Mapping[str, Pictures],
) -> None:
    """Write all of it, the figures last: who finds them finds the rest.

    Args:
        folder: Folder of the analysis, whose lease the caller holds.
        name: Name of the page and of the file of figures.
        findings: The figures.
        page: The page, as Markdown.
        pictures: Content of the pictures by name and ending.
    """
    for title, found in pictures.items():
        write_pictures(title, found, folder.write)
    folder.write(f"{name}.md", page.encode())
    text = json.dumps(findings, sort_keys=True, indent=1, ensure_ascii=False)
    folder.write(f"{name}.json", text.encode() + b"\n")
    print(f"oracle: {folder.path}/{name}.md", flush=True)
