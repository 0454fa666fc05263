"""What a step computes, as data: the fields of a task are what its result depends on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.fingerprint import RUNTIME


@dataclass(frozen=True, kw_only=True)
class StepTask(ABC):
    """A step before it is computed, and everything that whoever computes it needs.

    Every field is a parameter of the step, and so part of its fingerprint, unless it is marked as
    `RUNTIME`: such a field says where or how the step is computed, and changes no byte.

    Attributes:
        attempt: Where the result goes; None until the step is computed.
    """

    kind: ClassVar[str]
    """Folder of the store."""
    resumes: ClassVar[bool] = False
    """Whether it goes on from files that an earlier attempt has written whole."""

    attempt: Attempt | None = field(default=None, metadata=RUNTIME)

    @property
    @abstractmethod
    def inputs(self) -> tuple[Artifact, ...]:
        """Artifacts that it reads."""

    @property
    @abstractmethod
    def modules(self) -> tuple[str, ...]:
        """Modules that compute it; those that they import count, too."""

    @property
    def out(self) -> Attempt:
        """Where the result goes."""
        assert self.attempt is not None, "the step is not being computed"
        return self.attempt

    def into(self, attempt: Attempt) -> Self:
        """The task with a place for its result."""
        return replace(self, attempt=attempt)
