"""What the templates say, where being the same as Terraform's would not show that it is right."""

import pytest

from templates import FOLDER, daemon_stack, group_stack, queue_stack, read

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"


@pytest.mark.parametrize("way", ["HookTarget", "SNS", "EventBridge"])
def test_the_groups_hooks_abandon_a_launch_that_nobody_completes_and_let_a_termination_go_on(way):
    queue = queue_stack(Notification=way)
    group = group_stack(notification=way, HeartbeatTimeout=900)
    launch, terminate = group.resource("Group")["LifecycleHookSpecificationList"]
    assert (launch["LifecycleTransition"], launch["DefaultResult"]) == ("autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON")
    assert (terminate["LifecycleTransition"], terminate["DefaultResult"]) == ("autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE")
    targets = {"HookTarget": queue.known["Queue.Arn"], "SNS": queue.known["Topic"], "EventBridge": None}
    for hook in (launch, terminate):
        assert hook["HeartbeatTimeout"] == 900
        assert (hook.get("NotificationTargetARN"), "RoleARN" in hook) == (targets[way], way != "EventBridge")
    names = [hook["LifecycleHookName"] for hook in (launch, terminate)]
    assert set(names) <= set(queue.parameter("LifecycleHookNames")), "and by EventBridge these are let through"


def test_the_queues_alarms_are_about_what_waits_what_is_old_and_what_is_dead():
    stack = queue_stack(AlarmTopicArn=TOPIC, LongestMaintenance=7200, MessagesWaiting=25)
    waiting, oldest, dead = (stack.resource(f"{name}Alarm") for name in ("Waiting", "Oldest", "DeadLetters"))

    def of(alarm):
        (dimension,) = alarm["Dimensions"]
        return dimension["Value"], alarm["MetricName"], alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]

    queue, letters = stack.known["Queue.QueueName"], stack.known["DeadLetters.QueueName"]
    assert of(waiting) == (queue, "ApproximateNumberOfMessagesVisible", "Minimum", "GreaterThanOrEqualToThreshold", 25)
    assert waiting["Period"] * waiting["EvaluationPeriods"] == 300, "not what a moment brings"
    assert of(oldest) == (queue, "ApproximateAgeOfOldestMessage", "Maximum", "GreaterThanThreshold", 7200)
    assert of(dead) == (letters, "ApproximateNumberOfMessagesVisible", "Maximum", "GreaterThanThreshold", 0)
    for alarm in (waiting, oldest, dead):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    assert "AlarmActions" not in queue_stack().resource("DeadLettersAlarm"), "and without a topic it is only shown"


def test_a_daemon_that_says_nothing_and_launches_that_are_abandoned_are_alarms():
    stack = daemon_stack("chef-server", AlarmTopicArn=TOPIC, AbandonedLaunches=5)
    filters = {}
    for one in stack.resources("AWS::Logs::MetricFilter").values():
        (metric,) = one["MetricTransformations"]
        filters[metric["MetricName"]] = (one["LogGroupName"], one["FilterPattern"], metric["MetricValue"])
    log, alive = "<LogGroup>", '{ $.event = "alive" }'
    assert filters == {
        "Alive": (log, alive, "1"),
        "Open": (log, alive, "$.open"),
        "Held": (log, alive, "$.held"),
        "Abandoned": (log, '{ $.event = "ended" && $.result = "abandoned" }', "1"),
    }
    silent, abandoned = stack.resource("SilentAlarm"), stack.resource("AbandonedAlarm")
    assert (silent["MetricName"], silent["ComparisonOperator"], silent["Threshold"]) == ("Alive", "LessThanThreshold", 1)
    assert silent["TreatMissingData"] == "breaching", "where nothing is said there is no data"
    assert silent["Period"] * silent["EvaluationPeriods"] == 180, "it says so each minute"
    assert (abandoned["MetricName"], abandoned["Statistic"], abandoned["Threshold"], abandoned["TreatMissingData"]) == ("Abandoned", "Sum", 5, "notBreaching")
    for alarm in (silent, abandoned):
        assert alarm["Namespace"] == "enrolld/stack" and alarm["AlarmActions"] == [TOPIC]


@pytest.mark.parametrize("template", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_what_is_kept_when_a_stack_goes_is_not_in_the_way_of_one_whose_first_creation_failed(template):
    for name, one in read(template)["Resources"].items():
        assert one.get("DeletionPolicy") in (None, "Delete", "RetainExceptOnCreate"), f"{name} has a fixed name, and would be there already"
    if template == "queue.yaml":
        assert read(template)["Resources"]["DeadLetters"]["DeletionPolicy"] == "RetainExceptOnCreate", "somebody may still owe a node its removal"
