"""The files in ``cluster/``: each fits its schema, and the project's own rules for clusters.

``tests/data/kuberay.json`` holds the fields of KubeRay's custom resources, written down from its
reference; unlike the API server it refuses those that it does not know.
"""

import copy
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray import autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config

from xlt_ray.config.layers import read_yaml
from xlt_ray.config.schema import NodeGroup, ResourcesConfig

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHED = ["aws.yaml", "gcp.yaml"]
PODS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]
MANIFESTS = [*PODS, "kuberay/network.yaml"]
PROVIDER_KEYS = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"},
    "gcp": {"type", "region", "availability_zone", "project_id", "use_internal_ips"},
}
"""Settings of the provider that are used; Ray's schema lets any others pass."""


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def python_version() -> str:
    """The Python of constraints.txt, as its head names it."""
    found = re.search(r"\(Python (\d+\.\d+)", (ROOT / "constraints.txt").read_text())
    assert found is not None
    return found[1]


def check_launcher(config: dict[str, Any]) -> None:
    """Ray's schema for what the file says, and for what Ray makes of it.

    Raises:
        jsonschema.ValidationError: a key is unknown, or a value of the wrong type.
        ValueError: the parts do not fit each other.
    """
    schema = Path(autoscaler.__file__).with_name("ray-schema.json")
    jsonschema.validate(config, json.loads(schema.read_text(encoding="utf-8")))
    unknown = set(config["provider"]) - PROVIDER_KEYS[config["provider"]["type"]]
    if unknown:
        raise jsonschema.ValidationError(f"provider: {unknown}")
    validate_config(prepare_config(copy.deepcopy(config)))


@cache
def kuberay() -> dict[str, Any]:
    return json.loads((ROOT / "tests/data/kuberay.json").read_text(encoding="utf-8"))


def check_manifest(manifest: dict[str, Any]) -> None:
    """The schema of the manifest's kind.

    Raises:
        jsonschema.ValidationError: a field is unknown or missing, or has a wrong value.
    """
    schema = {**kuberay()[manifest["kind"]], "$defs": kuberay()["$defs"]}
    jsonschema.validate(manifest, schema, cls=jsonschema.Draft202012Validator)


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"].get("rayClusterSpec") or manifest["spec"]


def changed(source: Any, path: str, value: Any) -> Any:
    """A copy with another value at a dotted path; numbers are places in lists."""
    result = here = copy.deepcopy(source)
    *parents, last = path.split(".")
    for key in parents:
        here = here[int(key) if isinstance(here, list) else key]
    here[last] = value
    return result


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_launcher_file_fits_rays_schema(name: str) -> None:
    check_launcher(load(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("idle_timeout", 5),
        ("idle_timeout_minutes", "5"),
        ("provider.use_internal_ip", True),
        ("docker.worker_images", "x"),
        ("available_node_types.gpu.max_worker", 8),
        ("available_node_types.gpu.resources.GPU", -1),
        ("available_node_types.gpu.min_workers", 9),
        ("head_node_type", "none"),
    ],
)
def test_a_launcher_file_with_a_fault_is_refused(name: str, path: str, value: object) -> None:
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check_launcher(changed(load(name), path, value))


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_fits_the_schema_of_its_kind(name: str) -> None:
    check_manifest(load(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("kuberay/raycluster.yaml", "spec.enableInTreeAutoscale", True),
        ("kuberay/raycluster.yaml", "spec.autoscalerOptions.version", "v3"),
        ("kuberay/raycluster.yaml", "spec.workerGroupSpecs.0.minReplica", 0),
        ("kuberay/raycluster.yaml", "spec.workerGroupSpecs.0.minReplicas", -1),
        ("kuberay/raycluster.yaml", "spec.workerGroupSpecs.0.rayStartParams.num-cpus", 8),
        ("kuberay/raycluster.yaml", "spec.headGroupSpec.template.spec.container", []),
        ("kuberay/raycluster.yaml", "spec.headGroupSpec.template.spec.volumes.0.emptyDir", {}),
        ("kuberay/raycluster.yaml", "kind", "RayJob"),
        ("kuberay/rayjob.yaml", "spec.backoffLimits", 1),
        ("kuberay/rayjob.yaml", "spec.submissionMode", "Http"),
        ("kuberay/rayjob.yaml", "spec.rayClusterSpec.authOptions.secret", "x"),
        ("kuberay/network.yaml", "spec.ingress.0.form", []),
    ],
)
def test_a_manifest_with_a_fault_is_refused(name: str, path: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_manifest(changed(load(name), path, value))


def test_a_job_has_the_cluster_of_the_cluster_file() -> None:
    cluster, job = (cluster_of(load(name)) for name in PODS)
    assert job == cluster


def strings(value: Any) -> Iterator[str]:
    """Every string in a file's content."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_versions_are_those_of_the_constraints() -> None:
    ray, python = pinned("ray"), python_version().replace(".", "")
    images = []
    for name in [*LAUNCHED, *PODS]:
        images += [x for x in strings(load(name)) if re.match(r"(rayproject/ray|.*/xlt-ray):", x)]
    base = re.search(r"^FROM (\S+)$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    assert len(images) == 10
    for image in [*images, base[1]]:
        tag = image.partition(":")[2]
        assert re.fullmatch(rf"(ray)?{re.escape(ray)}-py{python}(-[cg]pu)?", tag), image
    for name in PODS:
        assert cluster_of(load(name))["rayVersion"] == ray


def start_flags(commands: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Variables and flags of the one ``ray start`` among the commands."""
    (words,) = (words for words in map(shlex.split, commands) if "start" in words)
    at = words.index("start")
    variables = dict(word.split("=", 1) for word in words[:at] if "=" in word)
    return variables, {word.partition("=")[0]: word.partition("=")[2] for word in words[at + 1 :]}


@pytest.mark.parametrize("name", LAUNCHED)
def test_nothing_of_a_launched_cluster_is_public(name: str) -> None:
    config = load(name)
    assert config["provider"]["use_internal_ips"] is True
    assert "0.0.0.0" not in " ".join(strings(config))
    head, worker = (
        start_flags(config[f"{role}_start_ray_commands"]) for role in ("head", "worker")
    )
    assert head[0]["RAY_AUTH_MODE"] == worker[0]["RAY_AUTH_MODE"] == "token"
    assert head[1]["--dashboard-host"] == "127.0.0.1"
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]
    assert "chmod 600 /home/ray/.ray/auth_token" in config["setup_commands"]
    (rule,) = config["initialization_commands"]
    assert "--dport 10001 ! -i lo -j REJECT" in rule
    assert "--ray-client-server-port" not in head[1], "the rule is for the port that Ray takes"
    for node in config["available_node_types"].values():
        for interface in node["node_config"].get("NetworkInterfaces", []):
            assert interface["AssociatePublicIpAddress"] is False
        for interface in node["node_config"].get("networkInterfaces", []):
            assert "accessConfigs" not in interface
        assert {"NetworkInterfaces", "networkInterfaces"} & set(node["node_config"])


@pytest.mark.parametrize("name", LAUNCHED)
def test_launched_gpu_nodes_are_spot_nodes_that_go_when_idle(name: str) -> None:
    config = load(name)
    head, gpu = (config["available_node_types"][kind] for kind in ("head", "gpu"))
    assert config["head_node_type"] == "head"
    assert head["resources"]["GPU"] == 0
    assert gpu["min_workers"] == 0 < gpu["max_workers"] == config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 15
    node = gpu["node_config"]
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    assert "spot" in (market, node.get("scheduling", {}).get("provisioningModel", "").lower())
    for role, kind in (("head", head), ("worker", gpu)):
        _, flags = start_flags(config[f"{role}_start_ray_commands"])
        assert int(flags["--num-cpus"]) == kind["resources"]["CPU"]
        assert int(flags["--num-gpus"]) == kind["resources"]["GPU"]
    assert "--constraint /home/ray/xlt_ray/constraints.txt" in config["setup_commands"][0]


@pytest.mark.parametrize("name", PODS)
def test_nothing_of_a_kuberay_cluster_is_public(name: str) -> None:
    cluster = cluster_of(load(name))
    policy = load("kuberay/network.yaml")["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["authOptions"]["secretName"]
    head = cluster["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    assert head["enableIngress"] is False
    assert "headService" not in head
    (container,) = head["template"]["spec"]["containers"]
    assert {port["containerPort"] for port in container["ports"]} == {6379, 8265}
    for group in (head, *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [
            port for c in pod["containers"] for port in c.get("ports", []) if "hostPort" in port
        ]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert chosen.items() <= group["template"]["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress"]
    own, operator = policy["ingress"]
    assert own["from"] == [{"podSelector": {"matchLabels": chosen}}]
    assert [port["port"] for port in operator["ports"]] == [8265]


OPERATORS = {
    "Helm": {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/instance": "kuberay",
             "app.kubernetes.io/component": "kuberay-operator"},
    "Kustomize": {"app.kubernetes.io/name": "kuberay",
                  "app.kubernetes.io/component": "kuberay-operator"},
}  # fmt: skip
"""Labels of the operator's pod by what installed it."""
OTHERS = [
    {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/created-by": "kuberay-operator"},
    {"app.kubernetes.io/component": "kuberay-operator"},
    {},
]
"""Labels of other pods: of another Ray cluster, for one."""


def test_the_operator_may_submit_jobs_whatever_installed_it() -> None:
    _, operator = load("kuberay/network.yaml")["spec"]["ingress"]

    def may(labels: dict[str, str]) -> bool:
        return any(
            peer["podSelector"]["matchLabels"].items() <= labels.items()
            for peer in operator["from"]
            if peer["namespaceSelector"] == {}
        )

    assert {name: may(labels) for name, labels in OPERATORS.items()} == {
        "Helm": True, "Kustomize": True,
    }  # fmt: skip
    assert not [labels for labels in OTHERS if may(labels)]


@pytest.mark.parametrize("name", PODS)
def test_kuberay_gpu_workers_start_at_none(name: str) -> None:
    cluster = cluster_of(load(name))
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert 0 < cluster["autoscalerOptions"]["idleTimeoutSeconds"] <= 900
    head, (group,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "6", "num-gpus": "0"}
    assert "nvidia.com/gpu" not in " ".join(strings(head))
    assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
    (container,) = group["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    assert group["rayStartParams"]["num-cpus"] == limits["cpu"]
    assert group["rayStartParams"]["num-gpus"] == limits["nvidia.com/gpu"]
    for spec in (head, group):
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        mounts = pod["containers"][0]["volumeMounts"]
        assert {"name": "store", "mountPath": "/store"} in mounts


def test_the_configuration_for_these_clusters_has_their_sizes() -> None:
    values = read_yaml(ROOT / "jobs/presets/autoscale.yaml")["resources"]
    groups = ResourcesConfig.model_validate(values).autoscale
    for name in LAUNCHED:
        gpu = load(name)["available_node_types"]["gpu"]
        size = {"cpus": gpu["resources"]["CPU"], "gpus": gpu["resources"]["GPU"]}
        assert groups == (NodeGroup(nodes=gpu["max_workers"], **size),)
    for name in PODS:
        (group,) = cluster_of(load(name))["workerGroupSpecs"]
        params = group["rayStartParams"]
        size = {"cpus": params["num-cpus"], "gpus": params["num-gpus"]}
        assert groups == (NodeGroup(nodes=group["maxReplicas"], **size),)
