"""IAM, as far as the check asks for it."""

import pytest

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def test_a_role_has_its_trust_policy_as_an_object_once_the_client_has_decoded_it(sim):
    sim.order("roles", {"name": "web", "path": "/fleet/", "trust": TRUST})
    role = sim.client("iam").get_role(RoleName="web")["Role"]
    assert role["Arn"] == "arn:aws:iam::123456789012:role/fleet/web"
    assert role["AssumeRolePolicyDocument"] == TRUST


def test_a_role_that_is_not_there_is_said_not_to_be(sim, refused):
    assert refused(sim.client("iam").get_role, RoleName="nobody")[0] == "NoSuchEntity"


@pytest.mark.parametrize("given, taken", [({"ExternalId": "x-7"}, True), ({"ExternalId": "x-8"}, False), ({}, False)])
def test_a_role_that_asks_for_an_external_id_is_assumed_with_it_alone(sim, refused, given, taken):
    wants = {"StringEquals": {"sts:ExternalId": "x-7"}}
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole", "Condition": wants}
    sim.order("roles", {"name": "asks", "trust": {"Statement": [statement]}})
    assume = {"RoleArn": "arn:aws:iam::123456789012:role/asks", "RoleSessionName": "enrolld-w", **given}
    if taken:
        assert sim.client("sts").assume_role(**assume)["AssumedRoleUser"]["Arn"].endswith("assumed-role/asks/enrolld-w")
    else:
        assert refused(sim.client("sts").assume_role, **assume)[0] == "AccessDenied"
