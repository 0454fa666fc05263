"""Checkpoints inside a train step, from which a killed step goes on.

``<store>/work/<fingerprint>/step-<n>/`` holds one safetensors file per worker and, written last,
``complete.json``. Ray Train's own checkpoints are not used: they are committed some time after
``report`` returns and do not exist in its in-process mode, and a step must resume alike in both.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from xlt_ray.store.fault_points import reached
from xlt_ray.store.files import listed, open_root, read_bytes, read_json, write_bytes

KEPT = 2


class Checkpoints:
    """The checkpoints of one train step."""

    def __init__(self, root: str, fingerprint: str):
        self.fs, base = open_root(root)
        self.folder = f"{base}/work/{fingerprint}"

    def steps(self) -> list[int]:
        """Numbers of the complete checkpoints, in order."""
        found = listed(self.fs, self.folder)
        names = [item.base_name for item in found if item.base_name.startswith("step-")]
        numbers = [int(name.removeprefix("step-")) for name in names]
        return sorted(n for n in numbers if self._meta(n) is not None)

    def save_part(self, step: int, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write one worker's tensors."""
        data = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        folder = f"{self.folder}/step-{step:09d}"
        self.fs.create_dir(folder, recursive=True)
        write_bytes(self.fs, f"{folder}/{name}.safetensors", data)

    def complete(self, step: int, meta: Mapping[str, Any]) -> None:
        """Make a checkpoint visible, once every worker has written its part, and drop old ones."""
        data = json.dumps(meta, sort_keys=True).encode()
        reached("checkpoint.written")
        write_bytes(self.fs, f"{self.folder}/step-{step:09d}/complete.json", data)
        reached("checkpoint.complete")
        for old in self.steps()[:-KEPT]:
            with suppress(FileNotFoundError):  # another driver, of another cluster, was faster
                self.fs.delete_file(f"{self.folder}/step-{old:09d}/complete.json")
                reached("checkpoint.dropping")
                self.fs.delete_dir(f"{self.folder}/step-{old:09d}")

    def load_part(self, step: int, name: str) -> dict[str, Tensor]:
        """One worker's tensors."""
        data = read_bytes(self.fs, f"{self.folder}/step-{step:09d}/{name}.safetensors")
        assert data is not None, f"{self.folder}: checkpoint {step} lacks {name}"
        return load(data)

    def meta(self, step: int) -> dict[str, Any]:
        """What was saved besides the tensors."""
        meta = self._meta(step)
        assert meta is not None
        return meta

    def drop(self) -> None:
        """Remove everything; the step is committed."""
        with suppress(FileNotFoundError):
            self.fs.delete_dir(self.folder)

    def _meta(self, step: int) -> dict[str, Any] | None:
        return read_json(self.fs, f"{self.folder}/step-{step:09d}/complete.json")
