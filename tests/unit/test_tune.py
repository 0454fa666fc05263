"""What a sweep tries, and how the cluster is divided among its trials."""

import pytest
from ray import tune

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine import tune as tune_module
from xlt_ray.engine.tune import HEAD, Search, draw, grid, is_point, points, share

SPACE = {"lambda": tune.choice([2, 4, 8]), "tau": tune.choice([5, 10])}
OPEN = {"lr": tune.loguniform(1e-6, 1e-4), "samples": tune.randint(1, 5)}
GPU_NODE = {"CPU": 16.0, "GPU": 8.0}


def resources(**values: object) -> ResourcesConfig:
    return ResourcesConfig.model_validate(values)


def test_a_grid_has_every_cell_once() -> None:
    cells = grid(SPACE)
    assert len(cells) == len({tuple(cell.values()) for cell in cells}) == 6
    assert cells[:3] == [{"lambda": 2, "tau": 5}, {"lambda": 2, "tau": 10}, {"lambda": 4, "tau": 5}]


def test_a_grid_needs_lists() -> None:
    with pytest.raises(ValueError, match="lr: a grid needs a list of values"):
        grid(OPEN)


def test_draws_are_distinct_plain_and_repeat_themselves() -> None:
    drawn = draw(OPEN, 8, seed=3)
    assert draw(OPEN, 8, seed=3) == drawn
    assert draw(OPEN, 5, seed=3) == drawn[:5]
    assert draw(OPEN, 8, seed=4) != drawn
    assert all(1e-6 <= one["lr"] <= 1e-4 and type(one["lr"]) is float for one in drawn)
    assert all(one["samples"] in range(1, 5) and type(one["samples"]) is int for one in drawn)


def test_a_finite_space_may_be_drawn_empty() -> None:
    drawn = draw(SPACE, 50, seed=0)
    assert sorted(map(tuple, (one.values() for one in drawn))) == sorted(
        tuple(one.values()) for one in grid(SPACE)
    )


@pytest.mark.parametrize(("algorithm", "number"), [("random", 3), ("asha", 3), ("grid", 6)])
def test_points_are_known_beforehand(algorithm: str, number: int) -> None:
    search = Search(SPACE, algorithm, 3, 1, {})  # type: ignore[arg-type]
    known = points(search)
    assert known is not None
    assert len(known) == number


def test_optuna_decides_as_it_goes() -> None:
    assert points(Search(SPACE, "optuna", 3, 1, {})) is None


def test_what_another_space_proposed_is_no_point_of_this() -> None:
    assert is_point({"lambda": 4, "tau": 10}, SPACE)
    assert not is_point({"lambda": 16, "tau": 10}, SPACE)
    assert not is_point({"lambda": 4}, SPACE)
    assert not is_point({"lambda": 4, "tau": 10, "beta": 1}, SPACE)
    assert is_point({"lr": 2e-6, "samples": 1}, OPEN)
    assert not is_point({"lr": 2.0, "samples": 1}, OPEN)


def test_optuna_goes_on_with_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")

    def proposed(*known: dict[str, object]) -> list[dict[str, object]]:
        searcher = tune_module._optuna(Search(OPEN, "optuna", 6, 1, {}, known=known))
        searcher.set_search_properties("source_dev", "max", OPEN)
        return [searcher.suggest(str(number)) for number in range(6)]

    first = proposed()
    assert len({tuple(one.values()) for one in first}) == 6
    again = proposed(*first[:3])
    assert again[:3] == first[:3]
    assert not any(one in first for one in again[3:])


def test_two_cores_run_two_trials_that_do_everything_themselves() -> None:
    part = share(resources(), [{"CPU": 2.0}], trials=12)
    assert (part.resources.train_workers, part.resources.annotators) == (0, 0)
    assert part.resources.train_cpus == 1
    assert part.concurrent == 2
    # Half of the CPUs stay free for tasks that read text, however many trials are at work.
    assert part.concurrent * part.holds["CPU"] <= 1.0


def test_few_trials_have_several_cores_each() -> None:
    part = share(resources(), [{"CPU": 16.0}], trials=4)
    assert part.resources.train_cpus == 4
    assert part.concurrent == 4


def test_one_gpu_serves_one_trial_at_a_time() -> None:
    part = share(resources(), [{"CPU": 8.0, "GPU": 1.0}], trials=12)
    assert (part.resources.train_workers, part.resources.annotators) == (1, 1)
    assert part.holds == HEAD, "the GPU is held by steps, never by trials"
    assert part.concurrent == 1


@pytest.mark.parametrize(
    ("workers", "annotators", "concurrent"),
    [(None, None, 96), (4, None, 24), (1, 8, 12), (8, (2, 16), 12)],
)
def test_a_hundred_gpus_serve_as_many_trials_as_their_steps_fit(
    workers: int | None, annotators: object, concurrent: int
) -> None:
    nodes = [{"CPU": 8.0}, *[GPU_NODE] * 12]
    config = resources(train_workers=workers, annotators=annotators, train_cpus=2)
    part = share(config, nodes, trials=200)
    assert part.concurrent == concurrent
    assert part.holds == HEAD


def test_a_cluster_without_workers_counts_with_those_it_can_add() -> None:
    growing = resources(autoscale=[{"nodes": 4, "cpus": 8, "gpus": 1}])
    part = share(growing, [{"CPU": 4.0, "node:__internal_head__": 1.0}], trials=12)
    assert (part.resources.train_workers, part.concurrent) == (1, 4)
    assert part.holds == HEAD, "a trial waits on the head and keeps no node from going"


def test_a_trial_that_does_everything_itself_has_no_annotators() -> None:
    with pytest.raises(ConfigError, match=r"resources.annotators: 2, but trials that train in"):
        share(resources(train_workers=0, annotators=2), [{"CPU": 4.0}], trials=4)


def test_what_no_node_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"resources.train_cpus: 8, but no node has"):
        share(resources(train_cpus=8), [{"CPU": 4.0}, {"CPU": 4.0}], trials=4)
    with pytest.raises(ConfigError, match=r"resources.train_workers: asks for 4"):
        share(resources(train_workers=4), [GPU_NODE | {"GPU": 2.0}], trials=4)
