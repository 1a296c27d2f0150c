"""Auto Scaling by the current boto3: hooks, actions, instances, and what they send."""

import json

import pytest

GROUP = "web-blue"
LAUNCH = {"AutoScalingGroupName": GROUP, "LifecycleHookName": "enrol-on-launch"}
LEAVE = {"AutoScalingGroupName": GROUP, "LifecycleHookName": "leave-on-terminate"}


@pytest.fixture(scope="module")
def asg(sim):
    return sim.client("autoscaling")


@pytest.fixture(scope="module")
def sqs(sim):
    return sim.client("sqs")


def queue_url(sqs, name="enrolld-lifecycle"):
    return sqs.get_queue_url(QueueName=name)["QueueUrl"]


def notified(sqs, instance, queue="enrolld-lifecycle"):
    """Receives until the notification about an instance is there; all others are dropped."""
    url = queue_url(sqs, queue)
    for _ in range(50):
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if instance in message["Body"]:
                return json.loads(message["Body"])
    raise AssertionError(f"no notification about {instance}")


def state(asg, instance):
    found = asg.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
    return found[0]["LifecycleState"] if found else None


def reaches(sim, asg, instance, wanted):
    sim.until(lambda: state(asg, instance) == wanted)


def test_a_launch_waits_until_it_is_continued(sim, asg, sqs, refused):
    [instance] = sim.launch()
    reaches(sim, asg, instance, "Pending:Wait")
    event = notified(sqs, instance)
    assert event["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
    assert (event["Origin"], event["Destination"]) == ("EC2", "AutoScalingGroup")
    token = event["LifecycleActionToken"]
    asg.record_lifecycle_action_heartbeat(**LAUNCH, LifecycleActionToken=token)
    asg.complete_lifecycle_action(**LAUNCH, LifecycleActionToken=token, LifecycleActionResult="CONTINUE")
    reaches(sim, asg, instance, "InService")
    for call, more in [(asg.complete_lifecycle_action, {"LifecycleActionResult": "CONTINUE"}), (asg.record_lifecycle_action_heartbeat, {})]:
        assert refused(call, **LAUNCH, LifecycleActionToken=token, **more) == (
            "ValidationError",
            f"No active Lifecycle Action found with token {token}",
        )
        assert refused(call, **LAUNCH, InstanceId=instance, **more) == (
            "ValidationError",
            f"No active Lifecycle Action found with instance ID {instance}",
        )
    [action] = [one for one in sim.state()["actions"] if one["token"] == token]
    assert (action["heartbeats"], action["late_heartbeats"], action["refused_completions"]) == (1, 1, 1)
    assert (action["result"], action["closed_by"]) == ("CONTINUE", "completed")


def test_real_mistakes_have_the_same_code_and_other_words(asg, refused):
    complete = asg.complete_lifecycle_action
    arguments = {"InstanceId": "i-00000000000000001", "LifecycleActionResult": "CONTINUE"}
    for change in [
        {"AutoScalingGroupName": "no-such-group"},
        {"LifecycleHookName": "no-such-hook"},
        {"LifecycleActionResult": "MAYBE"},
    ]:
        code, message = refused(complete, **{**LAUNCH, **arguments, **change})
        assert code == "ValidationError" and not message.startswith("No active Lifecycle Action found")


def test_an_abandoned_launch_is_terminated_and_replaced(sim, asg, sqs):
    [instance] = sim.launch()
    reaches(sim, asg, instance, "Pending:Wait")
    before = set(sim.state()["instances"])
    asg.complete_lifecycle_action(**LAUNCH, InstanceId=instance, LifecycleActionResult="ABANDON")
    reaches(sim, asg, instance, None)
    assert sim.state()["instances"][instance]["state"] == "Terminated"
    sim.order("skip", {"ms": 2000})
    assert len(set(sim.state()["instances"]) - before) == 1
    activities = asg.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"]
    texts = {(one["Description"], one["StatusCode"]) for one in activities}
    assert (f"Launching a new EC2 instance: {instance}", "Cancelled") in texts
    assert (f"Terminating EC2 instance: {instance}", "Successful") in texts


def test_a_termination_waits_and_is_proven_by_the_activities(sim, asg, sqs):
    [instance] = sim.launch()
    reaches(sim, asg, instance, "Pending:Wait")
    asg.complete_lifecycle_action(**LAUNCH, InstanceId=instance, LifecycleActionResult="CONTINUE")
    reaches(sim, asg, instance, "InService")
    notified(sqs, instance)
    activity = asg.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)["Activity"]
    assert activity["Description"] == f"Terminating EC2 instance: {instance}"
    reaches(sim, asg, instance, "Terminating:Wait")
    event = notified(sqs, instance)
    assert (event["Origin"], event["Destination"]) == ("AutoScalingGroup", "EC2")
    [waiting] = asg.describe_scaling_activities(ActivityIds=[activity["ActivityId"]])["Activities"]
    assert (waiting["StatusCode"], waiting["Progress"]) == ("MidLifecycleAction", 50)
    asg.complete_lifecycle_action(
        **LEAVE, LifecycleActionToken=event["LifecycleActionToken"], LifecycleActionResult="CONTINUE"
    )
    reaches(sim, asg, instance, None)
    [done] = asg.describe_scaling_activities(ActivityIds=[activity["ActivityId"]])["Activities"]
    assert done["StatusCode"] == "Successful" and done["EndTime"] >= done["StartTime"]


def test_hooks_time_out_and_heartbeats_keep_them_open(sim, asg):
    [instance] = sim.launch()
    reaches(sim, asg, instance, "Pending:Wait")
    for _ in range(3):
        sim.order("skip", {"ms": 3_500_000})
        asg.record_lifecycle_action_heartbeat(**LAUNCH, InstanceId=instance)
    assert state(asg, instance) == "Pending:Wait"
    sim.order("skip", {"ms": 3_601_000})
    reaches(sim, asg, instance, None)
    [action] = [one for one in sim.state()["actions"] if one["instance"] == instance]
    assert (action["result"], action["closed_by"]) == ("ABANDON", "heartbeat_timeout")


def test_no_heartbeat_goes_past_the_global_timeout(sim, asg, sqs):
    hook = {"name": "short", "transition": "launching", "heartbeat_timeout": 10, "default_result": "CONTINUE"}
    sim.order("groups", {"name": "brief", "hooks": [hook]})
    [instance] = sim.launch("brief")
    reaches(sim, asg, instance, "Pending:Wait")
    for _ in range(161):
        if state(asg, instance) != "Pending:Wait":
            break
        asg.record_lifecycle_action_heartbeat(AutoScalingGroupName="brief", LifecycleHookName="short", InstanceId=instance)
        sim.order("skip", {"ms": 7000})
    [action] = [one for one in sim.state()["actions"] if one["instance"] == instance]
    assert (action["result"], action["closed_by"]) == ("CONTINUE", "global_timeout")


def test_an_instance_goes_on_when_all_its_hooks_are_done(sim, asg):
    hooks = [{"name": name, "transition": "launching"} for name in ["one", "two"]]
    sim.order("groups", {"name": "twice", "hooks": hooks})
    instances = sim.launch("twice", 2)
    for instance in instances:
        reaches(sim, asg, instance, "Pending:Wait")

    def complete(instance, hook, result):
        asg.complete_lifecycle_action(
            AutoScalingGroupName="twice", LifecycleHookName=hook, InstanceId=instance, LifecycleActionResult=result
        )

    complete(instances[0], "one", "CONTINUE")
    assert state(asg, instances[0]) == "Pending:Wait"
    complete(instances[0], "two", "CONTINUE")
    reaches(sim, asg, instances[0], "InService")
    complete(instances[1], "two", "ABANDON")
    reaches(sim, asg, instances[1], None)


def test_unknown_ids_are_left_out_and_fifty_are_the_most(sim, asg, refused):
    instances = sim.launch(count=3)
    found = asg.describe_auto_scaling_instances(InstanceIds=[*instances, "i-00000000000000001"])["AutoScalingInstances"]
    assert {one["InstanceId"] for one in found} == set(instances)
    assert {one["HealthStatus"] for one in found} == {"HEALTHY"}
    many = [f"i-{number:017x}" for number in range(51)]
    assert refused(asg.describe_auto_scaling_instances, InstanceIds=many)[0] == "ValidationError"
    pages = asg.get_paginator("describe_auto_scaling_instances").paginate(PaginationConfig={"PageSize": 2})
    listed = [one["InstanceId"] for page in pages for one in page["AutoScalingInstances"]]
    assert set(instances) <= set(listed) and len(listed) == len(set(listed))


def test_activities_come_newest_first_in_pages(sim, asg, refused):
    sim.launch(count=3)
    pages = asg.get_paginator("describe_scaling_activities").paginate(
        AutoScalingGroupName=GROUP, PaginationConfig={"PageSize": 2}
    )
    found = [one for page in pages for one in page["Activities"]]
    starts = [one["StartTime"] for one in found]
    assert starts == sorted(starts, reverse=True) and len({one["ActivityId"] for one in found}) == len(found)
    assert refused(asg.describe_scaling_activities, AutoScalingGroupName="no-such-group")[0] == "ValidationError"


def test_groups_show_their_instances(sim, asg):
    [instance] = sim.launch()
    [group] = asg.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP, "no-such-group"])["AutoScalingGroups"]
    assert instance in {one["InstanceId"] for one in group["Instances"]}
    assert group["AutoScalingGroupARN"].endswith(f":autoScalingGroupName/{GROUP}")


def test_hooks_are_put_described_and_deleted(sim, asg, sqs, refused):
    sim.order("groups", {"name": "hooked"})
    url = sqs.create_queue(QueueName="hooked")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    hook = {
        "AutoScalingGroupName": "hooked",
        "LifecycleHookName": "enrol",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "NotificationTargetARN": arn,
        "RoleARN": "arn:aws:iam::123456789012:role/notify",
        "HeartbeatTimeout": 600,
        "NotificationMetadata": '{"server":"prod-chef"}',
    }
    code, message = refused(asg.put_lifecycle_hook, **{**hook, "NotificationTargetARN": arn + "-gone"})
    assert code == "ValidationError" and message.startswith("Unable to publish test message")
    assert refused(asg.put_lifecycle_hook, **{**hook, "HeartbeatTimeout": 29})[0] == "ValidationError"
    asg.put_lifecycle_hook(**hook)
    test = json.loads(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"][0]["Body"])
    assert test["Event"] == "autoscaling:TEST_NOTIFICATION" and "EC2InstanceId" not in test
    [shown] = asg.describe_lifecycle_hooks(AutoScalingGroupName="hooked")["LifecycleHooks"]
    assert (shown["HeartbeatTimeout"], shown["GlobalTimeout"], shown["DefaultResult"]) == (600, 60_000, "ABANDON")
    asg.put_lifecycle_hook(AutoScalingGroupName="hooked", LifecycleHookName="enrol", HeartbeatTimeout=7200)
    [shown] = asg.describe_lifecycle_hooks(AutoScalingGroupName="hooked")["LifecycleHooks"]
    assert (shown["HeartbeatTimeout"], shown["GlobalTimeout"]) == (7200, 172_800)
    assert shown["NotificationTargetARN"] == arn
    [instance] = sim.launch("hooked")
    event = notified(sqs, instance, "hooked")
    assert json.loads(event["NotificationMetadata"]) == {"server": "prod-chef"}
    asg.delete_lifecycle_hook(AutoScalingGroupName="hooked", LifecycleHookName="enrol")
    reaches(sim, asg, instance, None)
    [action] = [one for one in sim.state()["actions"] if one["instance"] == instance]
    assert (action["result"], action["closed_by"]) == ("ABANDON", "hook_deleted")


@pytest.mark.parametrize("via", ["direct", "sns", "sns-raw", "eventbridge"])
def test_notifications_come_in_each_envelope(sim, asg, sqs, via):
    sqs.create_queue(QueueName=f"via-{via}")
    hook = {"name": "enrol", "transition": "launching", "delivery": {"queue": f"via-{via}", "via": via}}
    sim.order("groups", {"name": f"via-{via}", "hooks": [hook]})
    [instance] = sim.launch(f"via-{via}")
    event = notified(sqs, instance, f"via-{via}")
    if via == "sns":
        assert event["Type"] == "Notification"
        event = json.loads(event["Message"])
    if via == "eventbridge":
        assert event["detail-type"] == "EC2 Instance-launch Lifecycle Action"
        assert (event["source"], event["region"]) == ("aws.autoscaling", "eu-central-1")
        event = event["detail"]
    assert (event["EC2InstanceId"], event["Origin"]) == (instance, "EC2")
    asg.complete_lifecycle_action(
        AutoScalingGroupName=f"via-{via}",
        LifecycleHookName="enrol",
        LifecycleActionToken=event["LifecycleActionToken"],
        LifecycleActionResult="CONTINUE",
    )
    reaches(sim, asg, instance, "InService")


def test_a_warm_pool_is_entered_left_and_entered_again(sim, asg, sqs):
    sqs.create_queue(QueueName="warm")
    delivery = {"queue": "warm"}
    hooks = [
        {"name": "in", "transition": "launching", "delivery": delivery},
        {"name": "out", "transition": "terminating", "delivery": delivery},
    ]
    sim.order("groups", {"name": "warm", "warm_pool": {"state": "Stopped", "reuse": True}, "hooks": hooks})

    def moved(wanted, hook, ends, origin, destination):
        reaches(sim, asg, instance, wanted)
        event = notified(sqs, instance, "warm")
        assert (event["Origin"], event["Destination"]) == (origin, destination)
        asg.complete_lifecycle_action(
            AutoScalingGroupName="warm",
            LifecycleHookName=hook,
            LifecycleActionToken=event["LifecycleActionToken"],
            LifecycleActionResult="CONTINUE",
        )
        reaches(sim, asg, instance, ends)

    [instance] = sim.launch("warm", **{"from": "outside_into_warm_pool"})
    moved("Warmed:Pending:Wait", "in", "Warmed:Stopped", "EC2", "WarmPool")
    assert sim.launch("warm", **{"from": "warm_pool"}) == [instance]
    moved("Pending:Wait", "in", "InService", "WarmPool", "AutoScalingGroup")
    sim.order("return-to-warm-pool", {"instances": [instance]})
    moved("Warmed:Pending:Wait", "out", "Warmed:Stopped", "AutoScalingGroup", "WarmPool")
    pool = asg.describe_warm_pool(AutoScalingGroupName="warm")
    assert [one["InstanceId"] for one in pool["Instances"]] == [instance]
    assert pool["WarmPoolConfiguration"]["InstanceReusePolicy"]["ReuseOnScaleIn"] is True
    sim.order("terminate", {"instances": [instance]})
    moved("Warmed:Terminating:Wait", "out", None, "WarmPool", "EC2")


def test_detached_and_standing_by_without_any_hook(sim, asg, refused):
    sim.order("groups", {"name": "loose"})
    one, two = sim.launch("loose", 2)
    for instance in (one, two):
        reaches(sim, asg, instance, "InService")
    arguments = {"AutoScalingGroupName": "loose", "ShouldDecrementDesiredCapacity": True}
    asg.detach_instances(**arguments, InstanceIds=[one])
    assert state(asg, one) is None and sim.state()["instances"][one]["state"] == "Detached"
    asg.enter_standby(**arguments, InstanceIds=[two])
    assert state(asg, two) == "Standby"
    assert refused(asg.detach_instances, **arguments, InstanceIds=[one])[0] == "ValidationError"
    asg.exit_standby(AutoScalingGroupName="loose", InstanceIds=[two])
    assert state(asg, two) == "InService"


def test_desired_capacity_launches_and_terminates(sim, asg, refused):
    sim.order("groups", {"name": "sized", "max_size": 5})

    def serving():
        return sim.state()["groups"]["sized"]["states"].get("InService", 0)

    for wanted in (3, 1):
        asg.set_desired_capacity(AutoScalingGroupName="sized", DesiredCapacity=wanted)
        sim.until(lambda: serving() == wanted)
    assert refused(asg.set_desired_capacity, AutoScalingGroupName="sized", DesiredCapacity=6)[0] == "ValidationError"


def test_health_can_be_set(sim, asg, refused):
    [instance] = sim.launch()
    asg.set_instance_health(InstanceId=instance, HealthStatus="Unhealthy")
    [found] = asg.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
    assert found["HealthStatus"] == "UNHEALTHY"
    assert refused(asg.set_instance_health, InstanceId="i-00000000000000001", HealthStatus="Healthy")[0] == "ValidationError"


def test_throttling_and_denial_are_the_services_own(sim, asg, refused):
    sim.order("faults", {"operation": "autoscaling:*", "effect": {"kind": "throttle", "rate": 0.001}})
    asg.describe_auto_scaling_groups()
    assert refused(asg.describe_auto_scaling_groups) == ("Throttling", "Rate exceeded")
    sim.order("faults", method="DELETE")
    principal = {"access_key_id": "AKIADENIED", "arn": "arn:aws:iam::123456789012:user/denied"}
    sim.order("principals", {**principal, "denied": ["autoscaling:CompleteLifecycleAction"]})
    denied = sim.client("autoscaling", key="AKIADENIED")
    denied.describe_auto_scaling_groups()
    code, _ = refused(denied.complete_lifecycle_action, **LAUNCH, InstanceId="i-0", LifecycleActionResult="CONTINUE")
    assert code == "AccessDenied"


def test_callers_are_known_by_their_keys(sim):
    sts = sim.client("sts")
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:root"
    role = "arn:aws:iam::210987654321:role/path/worker"
    credentials = sts.assume_role(RoleArn=role, RoleSessionName="enrolld")["Credentials"]
    identity = sim.client("sts", key=credentials["AccessKeyId"]).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (
        "arn:aws:sts::210987654321:assumed-role/worker/enrolld",
        "210987654321",
    )


@pytest.mark.parametrize("target", ["AmazonSQS.ListQueues", "AmazonSSM.DescribeParameters", None])
def test_a_call_without_credentials_is_refused(sim, target):
    import urllib.error
    import urllib.request

    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"} if target else {}
    body = b"{}" if target else b"Action=DescribeAutoScalingGroups&Version=2011-01-01"
    request = urllib.request.Request(sim.endpoint, data=body, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    assert b"MissingAuthenticationToken" in caught.value.read()
