"""What a dry run shows of files: rows as understood, labels, lengths, scripts and duplicates."""

from pathlib import Path

import pytest

from xlt_ray.data.readers.words import main_script
from xlt_ray.run.check import configure_run
from xlt_ray.run.seen import seen_lines


def lines_of(tmp_path: Path, method: str = "maral") -> list[str]:
    config = configure_run({
        "benchmark": {"name": "files", "targets": ["th"]},
        "files": {"paths": {
            "en": {"train": [f"{tmp_path}/en.conll"]},
            "th": {"unlabelled": [f"{tmp_path}/th.txt"], "test": [f"{tmp_path}/th.conll"]},
        }},
        "method": {"name": method}, "backbone": "FOLDER",
        "store": {"root": str(tmp_path / "store")},
    })  # fmt: skip
    return seen_lines(config)


def test_rows_are_shown_as_they_were_understood(tmp_path: Path) -> None:
    long = "".join(f"w{n}\t{'B' if n == 0 else 'I'}-ORG\n" for n in range(6))
    first = "Ada\tB-PER\nleft\tO\nRome\tB-LOC\n\n"
    (tmp_path / "en.conll").write_text(f"{first}{first}{long}\n{first.replace('Ada', ' ')}")
    (tmp_path / "th.txt").write_text("เขาไป\nเขาไป\nabc def\n")
    (tmp_path / "th.conll").write_text("ก\tB-PER\n\n")
    shown = "\n".join(lines_of(tmp_path))
    assert "en train: 3 rows; 1 that could not be read; 1 with the text of an earlier" in shown
    assert "not read: 1 x empty token ' ', it needs a character other than a space (first" in shown
    assert "    Ada/B-PER left Rome/B-LOC" in shown
    assert "  labels: PER 2, LOC 2, ORG 1" in shown
    assert "  warning: one row alone has ORG" in shown
    assert "  entities: 4 of 1, 1 of 6 words" in shown
    assert "warning: 20% of the entities have more than method.max_len=4 words and cannot" in shown
    assert "th unlabelled: 3 rows; 1 with the text of an earlier one; Thai, Latin" in shown
    assert "    เ ข า ไ ป" in shown
    assert "th test: 1 rows; Thai" in shown
    assert "ก/B-PER" not in shown, "labels of a target are not looked at"
    assert "max_len" not in "\n".join(lines_of(tmp_path, "cltp"))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Ja 7", "Latin"), ("привет a", "Cyrillic"), ("東京タ", "Han"), ("مرحبا", "Arabic"),
        ("नमस्ते", "Devanagari"), ("ሰላም", "Ethiopic"), ("12 !", "no letters"), ("", "no letters"),
        ("ߒߞߏ", "another script"),
    ],
)  # fmt: skip
def test_the_script_of_a_text(text: str, script: str) -> None:
    assert main_script(text) == script
