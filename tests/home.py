"""A home of the tests' own: nothing that a user keeps is read, and nothing is written beside it."""

import atexit
import os
import shutil
import site
import tempfile
from pathlib import Path

PLACES = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "HF_HOME": ".cache/huggingface",
    "TORCH_HOME": ".cache/torch",
    "TORCHINDUCTOR_CACHE_DIR": ".cache/torchinductor",
    "TRITON_HOME": ".",
    "MPLCONFIGDIR": ".config/matplotlib",
}
"""Variables that lead elsewhere where a user has set them, and their places in the new home."""
FORGOTTEN = (
    "HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_URI", "RAY_AUTH_TOKEN_PATH", "WANDB_API_KEY",
    "WANDB_DIR",
)  # fmt: skip
"""Variables of a user that lead to what is the user's."""


def short_temporary_folder() -> str:
    """Where Ray may keep its Unix sockets, whose paths have 107 characters at most."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 20 else "/tmp"


def move() -> Path:
    """Give this process, and those that it starts, a new home; it goes when the process ends.

    Returns:
        The new home.
    """
    # Packages below the old home stay where they are for the processes that tests start.
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())
    folder = Path(tempfile.mkdtemp(prefix="xlt-", dir=short_temporary_folder()))
    home = folder / "home"
    home.mkdir()
    os.environ["HOME"] = str(home)
    for name, place in PLACES.items():
        os.environ[name] = str(home / place)
    for name in FORGOTTEN:
        os.environ.pop(name, None)
    # `ray.init` notes its address where another `ray.init` of the user's would look for one.
    os.environ["RAY_TMPDIR"] = str(folder)
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a fork
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return home
