"""The metadata service of an instance, by botocore's own client: sessions alone, and credentials that are the instance's."""

import urllib.error
import urllib.request

import boto3
import botocore.session
import pytest
from botocore.utils import IMDSRegionProvider, InstanceMetadataFetcher

ROLE = "web-instances"


@pytest.fixture(scope="module")
def instance(sim):
    agent = {"publish": {"how": "never"}, "role": ROLE, "denied": ["autoscaling:*"]}
    [launched] = sim.launch(agent=agent)
    return launched


@pytest.fixture
def imds(sim, instance):
    return f"{sim.endpoint}/_imds/{instance}"


def asked(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_an_sdk_finds_the_roles_credentials_there_and_is_the_instance(sim, instance, imds, refused):
    fetcher = InstanceMetadataFetcher(timeout=5, num_attempts=1, config={"ec2_metadata_service_endpoint": imds, "ec2_metadata_v1_disabled": True})
    found = fetcher.retrieve_iam_role_credentials()
    assert found["role_name"] == ROLE
    keys = {"aws_access_key_id": found["access_key"], "aws_secret_access_key": found["secret_key"], "aws_session_token": found["token"]}
    client = lambda service: boto3.client(service, endpoint_url=sim.endpoint, region_name="eu-central-1", **keys)
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::123456789012:assumed-role/{ROLE}/{instance}"
    name = f"/enrolld/{instance}/public-key"
    client("ssm").put_parameter(Name=name, Value="a key", Type="String")
    [version] = sim.client("ssm").get_parameter_history(Name=name)["Parameters"]
    assert version["LastModifiedUser"].endswith(f"assumed-role/{ROLE}/{instance}")
    assert refused(client("autoscaling").describe_auto_scaling_instances)[0] == "AccessDenied"


def test_an_sdk_finds_the_region_there(imds, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds)
    assert IMDSRegionProvider(botocore.session.Session()).provide() == "eu-central-1"


def test_nothing_is_told_without_a_session_of_the_instances_own(sim, imds):
    path = f"{imds}/latest/meta-data/instance-id"
    assert asked(path)[0] == 401
    assert asked(f"{imds}/latest/api/token", "PUT")[0] == 400
    ttl = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert asked(f"{imds}/latest/api/token", "PUT", X_Forwarded_For="203.0.113.1", **ttl)[0] == 403
    status, token = asked(f"{imds}/latest/api/token", "PUT", **ttl)
    assert status == 200
    assert asked(path, X_aws_ec2_metadata_token=token)[0] == 200
    [other] = sim.launch()
    assert asked(f"{sim.endpoint}/_imds/{other}/latest/meta-data/instance-id", X_aws_ec2_metadata_token=token)[0] == 401
    assert asked(f"{imds}/latest/meta-data/nothing", X_aws_ec2_metadata_token=token)[0] == 404
    assert asked(f"{sim.endpoint}/_imds/i-00000000/latest/api/token", "PUT", **ttl)[0] == 404


def test_the_target_state_follows_the_instance(sim, instance, imds):
    def target():
        _, token = asked(f"{imds}/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
        return asked(f"{imds}/latest/meta-data/autoscaling/target-lifecycle-state", X_aws_ec2_metadata_token=token)[1]

    assert target() == "InService"
    sim.order("terminate", {"instances": [instance]})
    sim.until(lambda: target() == "Terminated")
