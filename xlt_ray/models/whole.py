"""Whether the files of a checkpoint can be loaded, seen before anything is run.

A download that broke off, a pointer in place of a large file and a family that transformers does
not know all end a run in the middle otherwise, and starting it again does not help.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError

CODE = "needs code of its own (auto_map), which is not run; take one that transformers has itself"


def check_whole(files: Sequence[Path], what: str) -> None:
    """See that a checkpoint's configuration and tokenizer load, and that its weights are whole.

    Args:
        files: Its files, all in one folder.
        what: What messages begin with.

    Raises:
        ConfigError: naming the file, and what is wrong with it.
    """
    folder = files[0].parent
    names = {path.name for path in files}
    known = {path.name: _json(path, what) for path in files if path.suffix == ".json"}
    _check_config(folder, known["config.json"], what)
    for path in files:
        if path.suffix == ".safetensors":
            _check_weights(path, what)
        elif path.name.endswith(".safetensors.index.json"):
            parts = known[path.name].get("weight_map")
            if not isinstance(parts, dict):
                raise _fault(path, "has no weight_map", what)
            for part in sorted({str(name) for name in parts.values()}):
                if part not in names:  # nor any file of another folder
                    raise _fault(folder / part, f"is not there, and {path.name} names it", what)
    _check_tokenizer(folder, known, what)


def _fault(path: Path, reason: str, what: str) -> ConfigError:
    return ConfigError(f"{what}{path}: {reason}")


def _json(path: Path, what: str) -> dict[str, Any]:
    """The object in a file; of files that hold something else, none of which is read here, {}."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise _fault(path, "is no JSON", what) from None
    read_here = path.name.endswith(("config.json", ".index.json", "spans.json", "xlt_ray.json"))
    if not isinstance(found, dict) and read_here:
        raise _fault(path, "holds no JSON object", what)
    return found if isinstance(found, dict) else {}


def _check_config(folder: Path, config: dict[str, Any], what: str) -> None:
    path, family = folder / "config.json", config.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        if "auto_map" in config:
            raise _fault(path, CODE, what)
        version = transformers.__version__
        raise _fault(path, f"model_type {family!r} is none that transformers {version} knows", what)
    try:
        AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what checks values there has no base class of its own
        raise _fault(path, f"cannot be loaded ({_said(error)})", what) from None


def _check_weights(path: Path, what: str) -> None:
    try:
        with safe_open(str(path), framework="np"):  # reads the header, and compares sizes
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise _fault(path, f"is no whole safetensors file ({_said(error)})", what) from None


def _check_tokenizer(folder: Path, known: dict[str, dict[str, Any]], what: str) -> None:
    path = folder / "tokenizer.json"
    if path.name in known:
        try:
            Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain ones
            raise _fault(path, f"is no tokenizer ({_said(error)})", what) from None
    settings = "tokenizer_config.json"
    try:
        AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        advice = "pip install 'xlt-ray[translate]'"
        raise _fault(folder, f"its tokenizer needs more ({_said(error)}); {advice}", what) from None
    except Exception as error:  # as many kinds as there are tokenizers
        if "auto_map" in known.get(settings, {}):
            raise _fault(folder / settings, CODE, what) from None
        raise _fault(folder, f"its tokenizer cannot be loaded ({_said(error)})", what) from None


def _said(error: Exception) -> str:
    """The first line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redacted(lines[0]) if lines else type(error).__name__
