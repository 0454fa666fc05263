"""Durable steps over gold labels of the unlabelled text.

They give neither a corpus nor a model, so nothing of gold can be trained on. Only
`xlt_ray.oracle.channel` and `xlt_ray.methods.iwda.upper_bound` train with what they make of it,
which is their subject.
"""

from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.derive import OracleTask
from xlt_ray.recipe.driver import Derivation
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.gold import Gold
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import Artifact


class Oracle:
    """Looks at gold labels of the unlabelled text of a run."""

    def __init__(self, driver: RayDriver, gold: Gold):
        self.driver, self._right = driver, gold

    @property
    def gold(self) -> Artifact:
        """Gold labels of the unlabelled text.

        Raises:
            ConfigError: the run reads other words than those that have labels.
        """
        driver = self.driver
        if driver.benchmark.task == "token" and (names := driver.foreign):
            raise ConfigError(
                f"translation.replace: words of {', '.join(names)} are read in translation, and "
                "gold is of the words of the text; leave it out of what compares labels with gold"
            )
        return self._right.read("oracle", self.driver.pools, "unlabelled")

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """What a function makes of gold labels, as a durable step that says so by its kind."""
        task = OracleTask(function=function, artifacts=artifacts, arguments=parameters)
        return self.driver.runner.run(Step(title, task), self.driver.executor.derive)


def read_gold(oracle: Oracle) -> None:
    """Read the gold labels that are needed after a run before it begins."""
    oracle.gold  # noqa: B018
