"""OpsWorks CM by the last boto3 that has it."""

import pytest
from botocore.exceptions import WaiterError

KEY = [
    {"Name": "CHEF_ORGANIZATION", "Value": "default"},
    {"Name": "CHEF_NODE_PUBLIC_KEY", "Value": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
]


@pytest.fixture(scope="module")
def cm(sim):
    return sim.client("opsworkscm")


def associate(cm, node, **more):
    arguments = {"ServerName": "prod-chef", "NodeName": node, "EngineAttributes": KEY, **more}
    return cm.associate_node(**arguments)["NodeAssociationStatusToken"]


def wait(cm, token, server="prod-chef"):
    waiter = cm.get_waiter("node_associated")
    waiter.wait(
        ServerName=server, NodeAssociationStatusToken=token, WaiterConfig={"Delay": 0.1, "MaxAttempts": 50}
    )


def test_servers_are_described_with_their_status(cm):
    server = cm.describe_servers(ServerName="prod-chef")["Servers"][0]
    assert (server["ServerName"], server["Engine"], server["Status"]) == ("prod-chef", "ChefAutomate", "HEALTHY")
    assert server["CreatedAt"].year > 2000
    assert any(one["ServerName"] == "prod-chef" for one in cm.describe_servers()["Servers"])


def test_a_node_is_associated_and_disassociated_by_the_waiter(sim, cm):
    token = associate(cm, "i-0a1b2c3d4e5f60718")
    status = cm.describe_node_association_status(ServerName="prod-chef", NodeAssociationStatusToken=token)
    assert status["NodeAssociationStatus"] == "IN_PROGRESS"
    wait(cm, token)
    assert "i-0a1b2c3d4e5f60718" in sim.state()["servers"]["prod-chef"]["nodes"]
    token = cm.disassociate_node(
        ServerName="prod-chef", NodeName="i-0a1b2c3d4e5f60718", EngineAttributes=KEY[:1]
    )["NodeAssociationStatusToken"]
    wait(cm, token)
    assert "i-0a1b2c3d4e5f60718" not in sim.state()["servers"]["prod-chef"].get("nodes", {})


def test_the_log_says_who_associated_which_key(sim, cm):
    sim.order("principals", {"access_key_id": "AKIAWORKER", "arn": "arn:aws:iam::123456789012:user/worker"})
    wait(cm, associate(sim.client("opsworkscm", key="AKIAWORKER"), "i-0bbbbbbbbbbbbbbbb"))
    entries = [one for one in sim.state()["associations"] if one["node"] == "i-0bbbbbbbbbbbbbbbb"]
    assert [one["what"] for one in entries] == ["associate_accepted", "associated"]
    assert {one["caller"] for one in entries} == {"arn:aws:iam::123456789012:user/worker"}
    assert len(entries[0]["fingerprint"]) == 32


@pytest.mark.parametrize("status", ["UNDER_MAINTENANCE", "BACKING_UP", "CONNECTION_LOST", "UNHEALTHY"])
def test_a_server_that_is_not_healthy_takes_no_node(sim, cm, refused, status):
    sim.order("server-status", {"server": "prod-chef", "status": status})
    code, message = refused(associate, cm=cm, node="i-0c")
    assert code == "InvalidStateException" and status in message
    with pytest.raises(cm.exceptions.InvalidStateException):
        cm.disassociate_node(ServerName="prod-chef", NodeName="x", EngineAttributes=KEY[:1])
    sim.order("server-status", {"server": "prod-chef", "status": "HEALTHY"})


def test_a_maintenance_ends_by_itself(sim, cm, refused):
    sim.order("server-status", {"server": "prod-chef", "status": "UNDER_MAINTENANCE", "for_ms": 5000})
    assert refused(associate, cm=cm, node="i-0d")[0] == "InvalidStateException"

    def healthy():
        return cm.describe_servers(ServerName="prod-chef")["Servers"][0]["Status"] == "HEALTHY"

    assert not healthy()
    sim.order("skip", {"ms": 5000})
    sim.until(healthy)
    associate(cm, "i-0d")


def test_an_unknown_server_is_not_found(cm):
    with pytest.raises(cm.exceptions.ResourceNotFoundException):
        associate(cm, "i-0e", ServerName="no-such-server")
    with pytest.raises(cm.exceptions.ResourceNotFoundException):
        cm.describe_servers(ServerName="no-such-server")


def test_an_unknown_token_is_not_found(cm):
    with pytest.raises(cm.exceptions.ResourceNotFoundException):
        cm.describe_node_association_status(ServerName="prod-chef", NodeAssociationStatusToken="unknown")


@pytest.mark.parametrize("node", ["with space", "ümlaut", "a/b", "$(id)", "a\nb"])
def test_node_names_follow_the_rule(cm, node):
    with pytest.raises(cm.exceptions.ValidationException) as caught:
        associate(cm, node)
    assert "nodeName" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("server", ["1st", "under_score", "a" * 41])
def test_server_names_follow_the_rule(cm, server):
    with pytest.raises(cm.exceptions.ValidationException):
        associate(cm, "i-0f", ServerName=server)


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        KEY[:1],
        KEY[1:],
        [{"Name": "CHEF_ORGANIZATION", "Value": "default"}, {"Name": "CHEF_NODE_PUBLIC_KEY", "Value": ""}],
        [*KEY, {"Name": "PUPPET_NODE_CSR", "Value": "x"}],
        [KEY[0], {"Name": "CHEF_NODE_PUBLIC_KEY", "Value": "x" * 10_001}],
    ],
)
def test_a_chef_server_needs_its_attributes(cm, attributes):
    with pytest.raises(cm.exceptions.ValidationException):
        associate(cm, "i-0f", EngineAttributes=attributes)


def test_a_puppet_server_takes_a_request_and_gives_a_certificate(sim, cm):
    sim.order("servers", {"name": "prod-puppet", "engine": "puppet", "options": {"association_ms": 0}})
    with pytest.raises(cm.exceptions.ValidationException):
        associate(cm, "web-1", ServerName="prod-puppet")
    csr = [{"Name": "PUPPET_NODE_CSR", "Value": "-----BEGIN CERTIFICATE REQUEST-----\n"}]
    token = associate(cm, "web-1", ServerName="prod-puppet", EngineAttributes=csr)
    status = cm.describe_node_association_status(ServerName="prod-puppet", NodeAssociationStatusToken=token)
    assert status["NodeAssociationStatus"] == "SUCCESS"
    assert status["EngineAttributes"][0]["Name"] == "PUPPET_NODE_CERT"
    assert status["EngineAttributes"][0]["Value"].startswith("-----BEGIN CERTIFICATE-----")
    cm.disassociate_node(ServerName="prod-puppet", NodeName="web-1")


@pytest.mark.parametrize("repeated", ["success", "failed", "validation"])
def test_what_a_repeated_association_answers_is_an_option(sim, cm, repeated):
    server = f"again-{repeated}"
    sim.order("servers", {"name": server, "options": {"association_ms": 0, "repeated": repeated}})
    wait(cm, associate(cm, "i-01", ServerName=server), server)
    if repeated == "validation":
        with pytest.raises(cm.exceptions.ValidationException):
            associate(cm, "i-01", ServerName=server)
        return
    token = associate(cm, "i-01", ServerName=server)
    if repeated == "failed":
        with pytest.raises(WaiterError):
            wait(cm, token, server)
    else:
        wait(cm, token, server)


def test_a_token_is_forgotten_in_time(sim, cm):
    sim.order("servers", {"name": "forgetful", "options": {"association_ms": 0, "token_known_ms": 0}})
    token = associate(cm, "i-01", ServerName="forgetful")
    with pytest.raises(cm.exceptions.ResourceNotFoundException):
        cm.describe_node_association_status(ServerName="forgetful", NodeAssociationStatusToken=token)


def test_throttling_is_the_services_own(sim, cm, refused):
    sim.order("faults", {"operation": "opsworks-cm:AssociateNode", "effect": {"kind": "throttle", "rate": 0.001, "burst": 2}})
    associate(cm, "i-02")
    associate(cm, "i-02")
    assert refused(associate, cm=cm, node="i-02") == ("ThrottlingException", "Rate exceeded")
    sim.order("faults", method="DELETE")
