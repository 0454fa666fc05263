"""Which method suits a task and the data at hand; docs/own-data.md says why."""

from dataclasses import dataclass

from xlt_ray.data.schema import Task


@dataclass(frozen=True)
class Recommendation:
    """A method, and why."""

    method: str
    reason: str


def recommend(task: Task, *, has_entities: bool, sources: int) -> Recommendation:
    """The method for a task.

    Args:
        task: Kind of task.
        has_entities: Whether its labels are entities in BIO.
        sources: Number of source languages.
    """
    if task == "token" and sources > 1:
        reason = "labels of words in several source languages: a model of each, weighed per target"
        return Recommendation("lvm", reason)
    if has_entities:
        reason = "entities and one source language: rounds learn from the least uncertain sentences"
        return Recommendation("sl_evi", reason)
    if task == "token":
        return Recommendation("lvm", "labels of words that are no entities")
    if task == "pair":
        return Recommendation("conlst", "pairs of sentences: negative labels come before positive")
    return Recommendation("iwda", "whole sentences: features of the languages are aligned by class")
