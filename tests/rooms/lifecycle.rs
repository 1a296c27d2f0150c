//! Auto Scaling.

use enrolld::core::call::{ActionOrder, Answer, Call, ScopeId};
use enrolld::facts::{ActionReply, ActionResult, LifecycleState, Whereabouts};
use enrolld::names::{GroupName, HookName, LifecycleActionToken};
use enrolld::retry::Class;

use crate::canned::{Canned, Reply};
use crate::instance;

const SCOPE: ScopeId = ScopeId(0);
const TOKEN: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

fn group() -> GroupName {
    GroupName::new("web").unwrap()
}

fn order() -> ActionOrder {
    ActionOrder {
        group: group(),
        hook: HookName::new("enrol").unwrap(),
        token: LifecycleActionToken::new(TOKEN).unwrap(),
        instance: instance("i-0a1b2c3d"),
    }
}

fn result_of(operation: &str, inside: &str) -> Reply {
    Reply::ok(format!("<{operation}Response><{operation}Result>{inside}</{operation}Result></{operation}Response>"))
}

fn listed(id: &str, state: &str) -> String {
    format!(
        "<member><InstanceId>{id}</InstanceId><AutoScalingGroupName>web</AutoScalingGroupName><AvailabilityZone>a</AvailabilityZone>\
         <LifecycleState>{state}</LifecycleState><HealthStatus>HEALTHY</HealthStatus><ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
    )
}

#[tokio::test]
async fn instances_are_answered_in_the_order_asked_over_all_pages() {
    let page = |inside: &str, more: &str| {
        result_of("DescribeAutoScalingInstances", &format!("<AutoScalingInstances>{inside}</AutoScalingInstances>{more}"))
    };
    let server = Canned::serve([
        page(&listed("i-00000003", "Pending:Wait"), "<NextToken>t</NextToken>"),
        page(&listed("i-00000001", "InService"), ""),
    ])
    .await;
    let instances = ["i-00000001", "i-00000002", "i-00000003"].map(instance).to_vec();
    let Answer::Instances(Ok(seen)) = server.services.perform(Call::DescribeInstances { scope: SCOPE, instances }).await else { panic!() };
    let states: Vec<_> = seen.iter().map(|one| one.as_ref().map(|one| one.state)).collect();
    assert_eq!(states, [Some(LifecycleState::Living), None, Some(LifecycleState::PendingWait)]);
    assert!(server.asked()[1].body.contains("NextToken=t"));
}

#[tokio::test]
async fn no_instances_are_not_asked_for() {
    let server = Canned::serve([]).await;
    let call = Call::DescribeInstances { scope: SCOPE, instances: Vec::new() };
    let Answer::Instances(Ok(seen)) = server.services.perform(call).await else { panic!() };
    assert!(seen.is_empty() && server.asked().is_empty());
}

#[tokio::test]
async fn hooks_are_read_with_their_time_outs() {
    let hook = "<member><LifecycleHookName>enrol</LifecycleHookName><AutoScalingGroupName>web</AutoScalingGroupName>\
                <LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition><HeartbeatTimeout>900</HeartbeatTimeout>\
                <GlobalTimeout>90000</GlobalTimeout><DefaultResult>ABANDON</DefaultResult></member>";
    let server = Canned::serve([result_of("DescribeLifecycleHooks", &format!("<LifecycleHooks>{hook}</LifecycleHooks>"))]).await;
    let Answer::Hooks(Ok(hooks)) = server.services.perform(Call::DescribeHooks { scope: SCOPE, group: group() }).await else { panic!() };
    let hook = &hooks[0];
    assert_eq!((hook.name.as_str(), hook.launching), ("enrol", true));
    assert_eq!((hook.heartbeat_timeout_s, hook.global_timeout_s), (900, 90_000));
}

#[tokio::test]
async fn an_action_is_completed_by_its_token_and_no_instance_id() {
    let server = Canned::serve([result_of("CompleteLifecycleAction", "")]).await;
    let call = Call::Complete { scope: SCOPE, order: order(), result: ActionResult::Abandon };
    let Answer::Action(reply) = server.services.perform(call).await else { panic!() };
    assert_eq!(reply, Ok(ActionReply::Accepted));
    let fields = server.asked_fields();
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(field("LifecycleActionToken"), Some(TOKEN));
    assert_eq!(field("LifecycleActionResult"), Some("ABANDON"));
    assert_eq!(field("InstanceId"), None);
}

#[tokio::test]
async fn a_closed_action_is_an_answer_and_a_wrong_group_is_a_failure() {
    let closed = "No active Lifecycle Action found with token 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let server = Canned::serve([
        Reply::xml_error(400, "ValidationError", closed),
        Reply::xml_error(400, "ValidationError", closed),
        Reply::xml_error(400, "ValidationError", "AutoScalingGroup name not found - no such group: web"),
        Reply::xml_error(400, "Throttling", "Rate exceeded"),
    ])
    .await;
    let heartbeat = || server.services.perform(Call::Heartbeat { scope: SCOPE, order: order() });
    let complete = server.services.perform(Call::Complete { scope: SCOPE, order: order(), result: ActionResult::Continue });
    assert!(matches!(complete.await, Answer::Action(Ok(ActionReply::Closed))));
    assert!(matches!(heartbeat().await, Answer::Action(Ok(ActionReply::Closed))));
    let Answer::Action(Err(failure)) = heartbeat().await else { panic!() };
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "ValidationError"));
    assert!(failure.detail.contains("no such group"));
    let Answer::Action(Err(failure)) = heartbeat().await else { panic!() };
    assert_eq!(failure.class, Class::Throttled);
}

fn activities(of: &[(&str, &str)], more: &str) -> Reply {
    let members: String = of
        .iter()
        .map(|(description, status)| {
            format!(
                "<member><ActivityId>a</ActivityId><AutoScalingGroupName>web</AutoScalingGroupName><Cause>c</Cause>\
                 <StartTime>2026-01-01T00:00:00Z</StartTime><Description>{description}</Description><StatusCode>{status}</StatusCode></member>"
            )
        })
        .collect();
    result_of("DescribeScalingActivities", &format!("<Activities>{members}</Activities>{more}"))
}

#[tokio::test]
async fn activities_are_read_back_until_all_instances_are_proven() {
    let server = Canned::serve([
        activities(&[("Terminating EC2 instance: i-00000001", "MidLifecycleAction")], "<NextToken>t</NextToken>"),
        activities(&[("Detaching EC2 instance: i-00000002", "Successful")], "<NextToken>u</NextToken>"),
    ])
    .await;
    let instances = ["i-00000002", "i-00000001"].map(instance).to_vec();
    let call = Call::FindWhereabouts { scope: SCOPE, group: group(), instances };
    let Answer::Whereabouts(Ok(found)) = server.services.perform(call).await else { panic!() };
    assert_eq!(found, [Whereabouts::Detached, Whereabouts::Terminating]);
    assert_eq!(server.asked().len(), 2, "the third page is not needed");
    assert!(server.asked()[0].body.contains("IncludeDeletedGroups=true"));
}

#[tokio::test]
async fn endless_activities_prove_nothing_and_end() {
    let page = activities(&[("Launching a new EC2 instance: i-00000002", "Successful")], "<NextToken>t</NextToken>");
    let server = Canned::serve(vec![page; 150]).await;
    let call = Call::FindWhereabouts { scope: SCOPE, group: group(), instances: vec![instance("i-00000001")] };
    let Answer::Whereabouts(Ok(found)) = server.services.perform(call).await else { panic!() };
    assert_eq!(found, [Whereabouts::Unproven]);
    assert_eq!(server.asked().len(), 100);
}

#[tokio::test]
async fn made_up_instances_have_a_long_history_read_once_and_a_new_activity_is_still_seen() {
    let page = |first: &str, description: &str| {
        let (launched, more) = (format!("<member><ActivityId>{first}</ActivityId><AutoScalingGroupName>web</AutoScalingGroupName>"), "t");
        let rest = "<Cause>c</Cause><StartTime>2026-01-01T00:00:00Z</StartTime><StatusCode>Successful</StatusCode>";
        let member = format!("{launched}{rest}<Description>{description}</Description></member>");
        result_of("DescribeScalingActivities", &format!("<Activities>{member}</Activities><NextToken>{more}</NextToken>"))
    };
    let mut pages: Vec<Reply> = (0..100).map(|n| page(&format!("a{n}"), &format!("Launching a new EC2 instance: i-{n:08x}"))).collect();
    pages.push(page("a0", "Launching a new EC2 instance: i-00000000"));
    // Of the third search the first page is new, and shows an end.
    pages.push(page("b0", "Terminating EC2 instance: i-00000007"));
    pages.push(page("a0", "Launching a new EC2 instance: i-00000000"));
    pages.push(page("b0", "Terminating EC2 instance: i-00000007"));
    let server = Canned::serve(pages).await;
    let find = async |id: &str| {
        let call = Call::FindWhereabouts { scope: SCOPE, group: group(), instances: vec![instance(id)] };
        let Answer::Whereabouts(Ok(found)) = server.services.perform(call).await else { panic!() };
        (found[0], server.asked().len())
    };
    assert_eq!(find("i-bad00001").await, (Whereabouts::Unproven, 100));
    assert_eq!(find("i-bad00002").await, (Whereabouts::Unproven, 101));
    assert_eq!(find("i-bad00003").await, (Whereabouts::Unproven, 103));
    assert_eq!(find("i-00000007").await, (Whereabouts::Terminated, 104));
}

/// Where one call in ten fails, a hundred pages in a row are never read.
#[tokio::test]
async fn a_history_is_read_on_where_a_call_failed_and_what_is_new_since_comes_first() {
    let page = |id: &str, description: &str, more: &str| {
        let member = format!(
            "<member><ActivityId>{id}</ActivityId><AutoScalingGroupName>web</AutoScalingGroupName><Cause>c</Cause>\
             <StartTime>2026-01-01T00:00:00Z</StartTime><StatusCode>Successful</StatusCode><Description>{description}</Description></member>"
        );
        let more = if more.is_empty() { String::new() } else { format!("<NextToken>{more}</NextToken>") };
        result_of("DescribeScalingActivities", &format!("<Activities>{member}</Activities>{more}"))
    };
    let fails = || Reply::Http(500, String::new());
    let newest = || page("a0", "Launching a new EC2 instance: i-00000000", "t1");
    let server = Canned::serve([
        newest(),
        page("a1", "Terminating EC2 instance: i-00000001", "t2"),
        fails(),
        // What has happened since, and then the rest.
        page("b0", "Detaching EC2 instance: i-00000003", "t0"),
        newest(),
        page("a2", "Terminating EC2 instance: i-00000002", "t3"),
        fails(),
        // One who went on is dropped while it waits.
        page("b0", "Detaching EC2 instance: i-00000003", "t0"),
        Reply::Silence,
        page("b0", "Detaching EC2 instance: i-00000003", "t0"),
        page("a3", "Terminating EC2 instance: i-00000003", "t4"),
        page("a4", "Terminating EC2 instance: i-00000004", ""),
        page("b0", "Detaching EC2 instance: i-00000003", "t0"),
    ])
    .await;
    let find = async |ids: &[&str]| {
        let call = Call::FindWhereabouts { scope: SCOPE, group: group(), instances: ids.iter().map(|id| instance(id)).collect() };
        let Answer::Whereabouts(found) = server.services.perform(call).await else { panic!() };
        (found.ok(), server.asked().len())
    };
    assert_eq!(find(&["i-00000004"]).await, (None, 3));
    assert_eq!(find(&["i-00000004"]).await, (None, 7));
    let silent = async {
        while server.asked().len() < 9 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        found = find(&["i-00000004"]) => panic!("{found:?}"),
        () = silent => {}
    }
    let all = ["i-00000001", "i-00000002", "i-00000003", "i-00000004", "i-bad00001"];
    use Whereabouts::{Detached, Terminated, Unproven};
    assert_eq!(find(&all).await, (Some(vec![Terminated, Terminated, Detached, Terminated, Unproven]), 12));
    assert_eq!(find(&all).await, (Some(vec![Terminated, Terminated, Detached, Terminated, Unproven]), 13), "all is known");
}
