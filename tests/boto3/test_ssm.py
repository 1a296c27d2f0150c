"""Systems Manager by the current boto3."""

import json

import pytest

KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.fixture(scope="module")
def ssm(sim):
    return sim.client("ssm")


def put(ssm, name, value="x", **more):
    return ssm.put_parameter(Name=name, Value=value, **{"Type": "String", **more})


def test_a_parameter_is_put_read_and_deleted(ssm):
    assert put(ssm, "/a/one", KEY)["Version"] == 1
    parameter = ssm.get_parameter(Name="/a/one")["Parameter"]
    assert (parameter["Value"], parameter["Type"], parameter["Version"]) == (KEY, "String", 1)
    assert parameter["ARN"] == "arn:aws:ssm:eu-central-1:123456789012:parameter/a/one"
    assert parameter["LastModifiedDate"].year > 2000
    assert ssm.get_parameter(Name=parameter["ARN"])["Parameter"]["Value"] == KEY
    ssm.delete_parameter(Name="/a/one")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/a/one")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.delete_parameter(Name="/a/one")


def test_overwriting_must_be_asked_for(ssm):
    put(ssm, "/a/two")
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        put(ssm, "/a/two")
    assert put(ssm, "/a/two", "y", Overwrite=True)["Version"] == 2
    assert ssm.get_parameter(Name="/a/two:1")["Parameter"]["Value"] == "x"
    with pytest.raises(ssm.exceptions.ParameterVersionNotFound):
        ssm.get_parameter(Name="/a/two:9")


def test_the_history_says_who_wrote_what(sim, ssm):
    session = "arn:aws:sts::123456789012:assumed-role/enrolld-node/i-0a1b2c3d4e5f60718"
    sim.order("principals", {"access_key_id": "ASIAINSTANCE", "arn": session})
    put(sim.client("ssm", key="ASIAINSTANCE"), "/a/three", "mine", Type="SecureString")
    put(ssm, "/a/three", "yours", Type="SecureString", Overwrite=True)
    history = ssm.get_parameter_history(Name="/a/three", WithDecryption=True)["Parameters"]
    assert [(one["Value"], one["Version"], one["LastModifiedUser"]) for one in history] == [
        ("mine", 1, session),
        ("yours", 2, "arn:aws:iam::123456789012:root"),
    ]
    first = ssm.get_parameter_history(Name="/a/three", MaxResults=1)
    assert first["Parameters"][0]["Value"] != "mine" and first["NextToken"]
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter_history(Name="/a/nothing")


def test_a_batched_read_lists_unknown_names(ssm):
    put(ssm, "/b/one")
    answer = ssm.get_parameters(Names=["/b/one", "/b/none"], WithDecryption=True)
    assert [one["Name"] for one in answer["Parameters"]] == ["/b/one"]
    assert answer["InvalidParameters"] == ["/b/none"]


def test_one_bad_name_fails_the_whole_batch(sim, ssm, refused):
    put(ssm, "/c/one")
    put(ssm, "/c/denied/one")
    put(ssm, "/c/sealed/one", Type="SecureString")
    sim.order("ssm-options", {"denied_prefixes": ["/c/denied/"], "undecryptable_prefixes": ["/c/sealed/"]})
    for bad, code in [
        ("/c/denied/one", "AccessDeniedException"),
        ("/c/denied/none", "AccessDeniedException"),
        ("/c/sealed/one", "AccessDeniedException"),
        ("/c/with space", "ValidationException"),
        ("c/relative", "ValidationException"),
        ("/c/one:2:3", "ValidationException"),
    ]:
        assert refused(ssm.get_parameters, Names=["/c/one", bad], WithDecryption=True)[0] == code, bad
    assert ssm.get_parameters(Names=["/c/sealed/one"])["Parameters"][0]["Value"] != "x"
    sim.order("ssm-options", {})


def test_batches_are_of_ten(ssm, refused):
    names = [f"/d/{number}" for number in range(11)]
    assert refused(ssm.get_parameters, Names=names)[0] == "ValidationException"
    assert refused(ssm.delete_parameters, Names=names)[0] == "ValidationException"
    put(ssm, "/d/0")
    answer = ssm.delete_parameters(Names=names[:10])
    assert answer["DeletedParameters"] == ["/d/0"] and len(answer["InvalidParameters"]) == 9


@pytest.mark.parametrize(
    "name, code",
    [
        ("/aws/x", "AccessDeniedException"),
        ("awsx", "AccessDeniedException"),
        ("ssm-x", "ValidationException"),
        ("/with space", "ValidationException"),
        ("relative/path", "ValidationException"),
        ("/" + "/".join("abcdefghijklmnop"), "HierarchyLevelLimitExceededException"),
    ],
)
def test_names_follow_the_rules(ssm, refused, name, code):
    assert refused(put, ssm=ssm, name=name)[0] == code


def test_values_and_types_follow_the_rules(ssm, refused):
    assert refused(put, ssm=ssm, name="/e/large", value="x" * 4097)[0] == "ValidationException"
    assert put(ssm, "/e/large", "x" * 8192, Tier="Advanced")["Tier"] == "Advanced"
    assert refused(put, ssm=ssm, name="/e/kind", Type="Text")[0] == "ValidationException"
    assert refused(ssm.put_parameter, Name="/e/untyped", Value="x")[0] == "ValidationException"


def test_parameters_are_listed_by_path_in_pages(ssm):
    for number in range(25):
        put(ssm, f"/f/{number:02}/key")
    put(ssm, "/f/top")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/f", Recursive=True)
    assert len([one for page in pages for one in page["Parameters"]]) == 26
    assert [one["Name"] for one in ssm.get_parameters_by_path(Path="/f/")["Parameters"]] == ["/f/top"]


def test_descriptions_come_in_pages_that_may_be_empty(sim, ssm):
    sim.order("ssm-options", {"empty_pages": True})
    filters = [{"Key": "Name", "Option": "BeginsWith", "Values": ["/f/"]}]
    pages = list(ssm.get_paginator("describe_parameters").paginate(ParameterFilters=filters, PaginationConfig={"PageSize": 5}))
    sim.order("ssm-options", {})
    assert len({one["Name"] for page in pages for one in page["Parameters"]}) == 26
    assert any(page["Parameters"] == [] for page in pages)


def test_there_is_a_limit_to_the_number_of_parameters(sim, ssm):
    sim.order("ssm-options", {"parameter_limit": 1})
    with pytest.raises(ssm.exceptions.ParameterLimitExceeded):
        put(ssm, "/g/one-too-many")
    sim.order("ssm-options", {})


def test_an_instance_writes_its_key_as_its_own_session(sim, ssm):
    [instance] = sim.launch()
    name = f"/enrolld/{instance}/public-key"
    sim.until(lambda: ssm.get_parameters(Names=[name])["Parameters"])
    [entry] = ssm.get_parameter_history(Name=name)["Parameters"]
    assert entry["LastModifiedUser"] == f"arn:aws:sts::123456789012:assumed-role/enrolld-node/{instance}"
    assert entry["Value"].startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize(
    "material, begins", [("garbage", "this is not"), ("private_key", "-----BEGIN RSA PRIVATE"), ({"literal": "abc"}, "abc")]
)
def test_an_instance_may_write_what_is_no_key(sim, ssm, material, begins):
    [instance] = sim.launch(agent={"material": material})
    name = f"/enrolld/{instance}/public-key"
    [parameter] = sim.until(lambda: ssm.get_parameters(Names=[name])["Parameters"])
    assert parameter["Value"].startswith(begins)


CONTENT = json.dumps({
    "schemaVersion": "2.2",
    "description": "print the key",
    "mainSteps": [{"action": "aws:runShellScript", "name": "key", "inputs": {"runCommand": ["cat /etc/chef/client.pub"]}}],
})


def test_a_command_prints_the_key(sim, ssm, refused):
    ssm.create_document(Name="enrolld-key", Content=CONTENT, DocumentType="Command")
    assert ssm.describe_document(Name="enrolld-key")["Document"]["Status"] == "Active"
    assert json.loads(ssm.get_document(Name="enrolld-key")["Content"])["schemaVersion"] == "2.2"
    # What is between is stepped over, not waited for: each state lasts longer than a busy machine takes to look at it.
    sim.order("ssm-options", {"invocation_known_after_ms": 20_000, "command_runs_ms": 60_000})
    agent = {"publish": {"how": "run_command"}, "registers_after_ms": 60_000}
    instances = sim.launch(count=2, agent=agent)
    send = {"DocumentName": "enrolld-key", "InstanceIds": instances}
    code, message = refused(ssm.send_command, **send)
    assert code == "InvalidInstanceId" and "not in a valid state for account" in message

    def registered():
        filters = [{"Key": "InstanceIds", "Values": instances}]
        return len(ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]) == 2

    sim.order("skip", {"ms": 60_000})
    sim.until(registered)
    command = ssm.send_command(**send)["Command"]["CommandId"]
    wanted = {"CommandId": command, "InstanceId": instances[0]}
    with pytest.raises(ssm.exceptions.InvocationDoesNotExist):
        ssm.get_command_invocation(**wanted)
    waiter = ssm.get_waiter("command_executed")
    sim.order("skip", {"ms": 20_000})
    sim.until(lambda: ssm.list_command_invocations(CommandId=command)["CommandInvocations"])
    assert ssm.get_command_invocation(**wanted)["Status"] == "InProgress"
    sim.order("skip", {"ms": 60_000})
    waiter.wait(**wanted, WaiterConfig={"Delay": 0.1, "MaxAttempts": 50})
    done = ssm.get_command_invocation(**wanted)
    assert (done["Status"], done["ResponseCode"]) == ("Success", 0)
    assert done["StandardOutputContent"].startswith("-----BEGIN PUBLIC KEY-----")
    sim.order("ssm-options", {})


def test_output_is_cut_and_failures_are_shown(sim, ssm):
    long = {"publish": {"how": "run_command"}, "material": {"literal": "y" * 30_000}, "registers_after_ms": 0}
    instances = [
        *sim.launch(agent=long),
        *sim.launch(agent={**long, "command": "failed"}),
        *sim.launch(agent={**long, "command": "timed_out"}),
        *sim.launch(agent={"publish": {"how": "never"}, "registers_after_ms": 0}),
    ]
    command = ssm.send_command(
        DocumentName="AWS-RunShellScript", InstanceIds=instances, Parameters={"commands": ["cat key"]}
    )["Command"]["CommandId"]
    sim.order("skip", {"ms": 2000})
    found = [ssm.get_command_invocation(CommandId=command, InstanceId=one) for one in instances]
    assert [one["Status"] for one in found] == ["Success", "Failed", "TimedOut", "Failed"]
    assert len(found[0]["StandardOutputContent"]) == 24_000


def test_commands_have_their_rules(sim, ssm, refused):
    [instance] = sim.launch(agent={"registers_after_ms": 0})
    send = ssm.send_command
    assert refused(send, DocumentName="no-such-document", InstanceIds=[instance])[0] == "InvalidDocument"
    assert refused(send, DocumentName="AWS-RunShellScript", InstanceIds=[instance])[0] == "InvalidParameters"
    many = [f"i-{number:017x}" for number in range(51)]
    shell = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
    assert refused(send, **shell, InstanceIds=many)[0] == "ValidationException"
    assert refused(send, **shell, InstanceIds=[instance, instance])[0] == "DuplicateInstanceId"
    assert refused(send, **shell, InstanceIds=[instance, "i-00000000000000001"])[0] == "InvalidInstanceId"


def test_throttling_and_errors_are_the_services_own(sim, ssm, refused):
    sim.order("faults", {"operation": "ssm:GetParameters", "effect": {"kind": "throttle", "rate": 0.001}})
    ssm.get_parameters(Names=["/x"])
    assert refused(ssm.get_parameters, Names=["/x"]) == ("ThrottlingException", "Rate exceeded")
    sim.order("faults", method="DELETE")
    sim.order("faults", {"operation": "ssm:*", "effect": {"kind": "error"}, "limit": 1})
    assert refused(ssm.get_parameters, Names=["/x"])[0] == "InternalServerError"
    ssm.get_parameters(Names=["/x"])
    sim.order("faults", method="DELETE")
