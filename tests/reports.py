"""A small finished report that tests of its forms share."""

from typing import Any

from xlt_ray.report.record import Report, RoundReport, StepReport


def example(**changes: Any) -> Report:
    """Two targets besides the source, which is a target too."""
    values: dict[str, Any] = {
        "run": "cltp-toy-s0",
        "method": "cltp",
        "benchmark": "toy",
        "metric": "f1",
        "source": ["en"],
        "targets": ["en", "nl", "de"],
        "zero_shot": {
            "en": {"f1": 0.9, "support": 50},
            "nl": {"f1": 0.5, "support": 40},
            "de": {"f1": 0.25, "support": 30},
        },
        "final": {
            "en": {"f1": 0.875, "support": 50},
            "nl": {"f1": 0.75, "support": 40},
            "de": {"f1": 1 / 3, "support": 30},
        },
        "rounds": [
            RoundReport(1, {"nl": 12, "de": 8}, {"1": 20}, 0.875),
            RoundReport(2, {"nl": 11, "de": 7}, {"10": 1, "2": 5, "1": 12}, None),
        ],
        "steps": [
            StepReport("source", "model", "a1b2c3d4e5f60718", 12.34, True),
            StepReport("round 1 | x", "annotation", "0" * 32, 0.05, False),
        ],
        "config": {"seed": 0, "method": {"name": "cltp", "lambda": 8.0}},
        "versions": {"torch": "2.13.0", "ray": "2.60.0"},
    }
    return Report(**values | changes)
