"""``cluster/aws.yaml`` through Ray's own provider, against a simulated AWS."""

import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).resolve().parents[2] / "cluster/aws.yaml"
ACCOUNT = "123456789012"


def filled_in() -> dict[str, Any]:
    """The file, with what it has in capitals made and named."""
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="xlt", Description="nodes", VpcId=vpc)["GroupId"]
    for role in ("head", "worker"):
        iam.create_instance_profile(InstanceProfileName=f"xlt-ray-{role}")
    text = FILE.read_text(encoding="utf-8")
    assert {"ACCOUNT", "BUCKET"} == set(re.findall(r"\b[A-Z]{6,}\b", text)) - {"REJECT"}
    for name, value in {"ACCOUNT": ACCOUNT, "subnet-ID": subnet, "sg-ID": group}.items():
        text = text.replace(name, value)
    # Images by parameter are looked up by AWS itself, which the simulation does not do.
    return yaml.safe_load(
        re.sub(r"resolve:ssm:\S+", ec2.describe_images()["Images"][0]["ImageId"], text)
    )


@pytest.mark.slow
def test_nodes_are_private_and_workers_spot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launches a head and a worker, and looks at what AWS was asked for."""
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the key pair in ~/.ssh
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "simulated")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        config = prepare_config(filled_in())
        validate_config(config)
        config = AWSNodeProvider.fillout_available_node_types_resources(config)
        worker = config["available_node_types"]["gpu"]["resources"]
        assert (worker["CPU"], worker["GPU"], worker["accelerator_type:A10G"]) == (8, 1, 1)
        config = AWSNodeProvider.bootstrap_config(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for kind, spec in config["available_node_types"].items():
            tags = {"ray-node-kind": kind, "ray-user-node-type": kind}
            provider.create_node(spec["node_config"], tags, 1)
        ec2 = boto3.client("ec2")
        found = [
            node for item in ec2.describe_instances()["Reservations"] for node in item["Instances"]
        ]
        groups = {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    lifecycles = {node["InstanceType"]: node.get("InstanceLifecycle") for node in found}
    assert lifecycles == {"m6i.2xlarge": None, "g5.2xlarge": "spot"}
    assert not [node for node in found if node.get("PublicIpAddress")]
    interfaces = [item for node in found for item in node["NetworkInterfaces"]]
    assert {group["GroupName"] for item in interfaces for group in item["Groups"]} == {"xlt"}
    assert groups == {"default", "xlt"}, "Ray has made a group, which lets in SSH from anywhere"
