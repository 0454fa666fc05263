"""Presets: settings of papers and of measured tables, as YAML files that ship with the package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import Keys, read_yaml

FOLDER = Path(__file__).parents[1] / "presets"


@dataclass(frozen=True)
class Preset:
    """A preset.

    Attributes:
        name: Its name.
        path: Its file.
        description: The comment at its beginning.
        keys: Its keys.
    """

    name: str
    path: Path
    description: str
    keys: Keys

    @property
    def command(self) -> str:
        """What carries it out, ``run`` or ``compare``; empty: it goes with others, as --config, or
        with an analysis in jobs/."""
        if "methods" in self.keys.get("compare", {}) and "study" not in self.keys:
            return "compare"
        is_run = "name" in self.keys.get("method", {}) and "name" in self.keys.get("benchmark", {})
        return "run" if is_run else ""


def presets() -> list[Preset]:
    """All presets, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]


def preset(name: str) -> Preset:
    """A preset by name, or the one in a file.

    Args:
        name: Its name, or the path of a YAML file.

    Raises:
        ConfigError: there is none; lists what there is.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(item.stem for item in sorted(FOLDER.glob("*.yaml")))
        raise ConfigError(f"preset: there is no {name!r}; give a YAML file, or one of: {there}")
    return _read(path)


def _read(path: Path) -> Preset:
    lines = path.read_text(encoding="utf-8").splitlines()
    head = list[str]()
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    keys: dict[str, Any] = read_yaml(path)
    return Preset(path.stem, path, "\n".join(head), Keys(keys, f"preset {path.stem}"))
