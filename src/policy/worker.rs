//! What the worker may do: for its own credentials, and for each role that a route names.

use std::collections::BTreeMap;

use super::SHELL_DOCUMENT;
use super::arn::{DeadLetterQueue, Place, PlaceError, literal};
use super::document::{Document, Statement};
use crate::config::{Config, KeySource, Owner, RoleArn, Route};

/// What a policy is for beyond the daemon itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// What `enrolld check` asks and the daemon does not.
    pub check: bool,
    /// What `enrolld dead-letters` does and the daemon does not.
    pub dead_letters: bool,
    /// What `enrolld sweep` asks and the daemon does not.
    pub sweep: bool,
}

/// A policy, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPolicy {
    /// The role; none for the worker's own credentials.
    pub role: Option<RoleArn>,
    /// The policy.
    pub document: Document,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// The worker's policies: that of its own credentials first. `place` is where its queue is; `dead_letters` is the queue of the
/// redrive policy, which the configuration need not name.
///
/// # Errors
/// Where the dead-letter queue is not known.
pub fn worker(
    config: &Config,
    place: &Place,
    dead_letters: Option<&DeadLetterQueue>,
    extras: Extras,
) -> Result<Vec<WorkerPolicy>, PlaceError> {
    let mut own = queues(config, place, dead_letters, extras)?;
    own.extend(roles(config));
    let mut by_role: Vec<(Option<&RoleArn>, Vec<Statement>, Vec<String>)> = vec![(None, own, Vec::new())];
    // Routes that are asked alike share statements: a managed policy holds no more than 6,144 characters.
    let mut asked: BTreeMap<(Option<&RoleArn>, Place), Vec<&Route>> = BTreeMap::new();
    for route in &config.routes {
        let role = route.scope.role.as_ref();
        asked.entry((role, place.of(route.scope.region.as_ref(), role))).or_default().push(route);
    }
    let regions = asked.keys().map(|(_, place)| &place.region).collect::<std::collections::BTreeSet<_>>().len();
    for ((role, place), routes) in asked {
        let at = by_role.iter().position(|(of, ..)| *of == role).unwrap_or_else(|| {
            by_role.push((role, Vec::new(), Vec::new()));
            by_role.len() - 1
        });
        let (_, statements, notes) = &mut by_role[at];
        // A statement's name is unique in its document.
        let suffix = if regions > 1 { camel(place.region.as_str()) } else { String::new() };
        statements.extend(of_place(&place, &routes, &suffix, extras));
        notes.extend(routes.iter().filter_map(|route| note(route)));
    }
    let policy = |(role, statements, notes): (Option<&RoleArn>, Vec<Statement>, Vec<String>)| WorkerPolicy {
        role: role.cloned(),
        document: Document::new(statements),
        notes,
    };
    Ok(by_role.into_iter().map(policy).collect())
}

/// The worker's queue and its dead-letter queue.
fn queues(config: &Config, place: &Place, named: Option<&DeadLetterQueue>, extras: Extras) -> Result<Vec<Statement>, PlaceError> {
    let queue = vec![place.queue(&config.queue_url)];
    let consume = &["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    let mut statements = vec![Statement::allow("Queue", consume, queue.clone())];
    let (letters, looked_up) = match (named, &config.dead_letter_queue_url) {
        (Some(DeadLetterQueue::Arn(arn)), configured) => (arn.clone(), configured.is_none()),
        (None, Some(url)) if url.account().is_none() => return Err(PlaceError::DeadLetterUrl),
        (None, Some(url)) => (place.queue(url), false),
        (Some(DeadLetterQueue::None), _) => return Ok(statements),
        (None, None) => return Err(PlaceError::DeadLetters),
    };
    let letters = vec![letters];
    // The redrive policy names an ARN, and SendMessage takes a URL.
    let actions: &[_] = if looked_up { &["sqs:SendMessage", "sqs:GetQueueUrl"] } else { &["sqs:SendMessage"] };
    statements.push(Statement::allow("DeadLetters", actions, letters.clone()));
    if extras.dead_letters {
        statements.push(Statement::allow("LookAfterDeadLetters", consume, letters));
        statements.push(Statement::allow("SendBack", &["sqs:SendMessage"], queue));
    }
    Ok(statements)
}

/// The roles that routes name, each with its external id.
fn roles(config: &Config) -> Vec<Statement> {
    let mut wanted: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for route in &config.routes {
        let Some(role) = &route.scope.role else { continue };
        let roles = wanted.entry(route.scope.external_id.as_deref()).or_default();
        if !roles.iter().any(|known| known == role.as_str()) {
            roles.push(role.as_str().to_owned());
        }
    }
    let statement = |(at, (id, roles)): (usize, (Option<&str>, Vec<String>))| {
        let sid = if at == 0 { "Roles".to_owned() } else { format!("Roles{}", at + 1) };
        // Sessions are named after the worker, and a worker's own name may change with its host and process.
        let assume =
            Statement::allow(sid, &["sts:AssumeRole"], roles).only_if("StringLike", "sts:RoleSessionName", vec!["enrolld-*".into()]);
        match id {
            Some(id) => assume.only_if("StringEquals", "sts:ExternalId", vec![id.to_owned()]),
            None => assume,
        }
    };
    wanted.into_iter().enumerate().map(statement).collect()
}

/// Auto Scaling, SSM and servers, as routes of one account and region ask them.
fn of_place(place: &Place, routes: &[&Route], suffix: &str, extras: Extras) -> Vec<Statement> {
    let sid = |word: &str| format!("{word}{suffix}");
    let everything = || vec!["*".to_owned()];
    // Where a service knows no resources, the region can still be held.
    let here = |statement: Statement| statement.only_if("StringEquals", "aws:RequestedRegion", vec![place.region.to_string()]);
    let mut look =
        vec!["autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks", "autoscaling:DescribeScalingActivities"];
    if extras.check || extras.sweep {
        look.push("autoscaling:DescribeAutoScalingGroups");
    }
    let groups = unique(routes.iter().flat_map(|route| &route.groups).map(|glob| place.groups(glob)));
    let act = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"];
    let mut statements =
        vec![here(Statement::allow(sid("SeeGroups"), &look, everything())), Statement::allow(sid("LifecycleActions"), &act, groups)];
    statements.extend(parameters(place, routes, &sid));
    statements.extend(commands(place, routes, &sid));
    if routes.iter().any(|route| matches!(route.key, KeySource::RunCommand { .. })) {
        statements.push(here(Statement::allow(sid("ReadOutput"), &["ssm:GetCommandInvocation"], everything())));
    }
    if extras.check {
        statements
            .extend(check(place, routes, &sid).map(|statement| if statement.resource == ["*"] { here(statement) } else { statement }));
    }
    // Servers of one's own, and programs, are asked without AWS.
    let rights = routes.iter().filter_map(|route| route.registrar.rights());
    let servers = unique(rights.flat_map(|rights| [rights.associate, rights.status, rights.health, rights.disassociate]));
    if !servers.is_empty() {
        statements.push(here(Statement::allow(sid("Servers"), &servers, everything())));
    }
    statements
}

/// Reading and cleaning up parameters: by the call that shows the owner, or by the one that takes ten names; and giving nodes their
/// certificates.
fn parameters(place: &Place, routes: &[&Route], sid: &impl Fn(&str) -> String) -> Vec<Statement> {
    let named = |with_owner: bool| {
        let of = move |route: &&Route| match &route.key {
            KeySource::Parameter { name, owner } if matches!(owner, Owner::Role(_)) == with_owner => place.parameters(name, &route.groups),
            _ => Vec::new(),
        };
        unique(routes.iter().flat_map(of))
    };
    let owned = ("OwnedKeys", &["ssm:GetParameterHistory", "ssm:DeleteParameters"][..], named(true));
    let anybodys = ("Keys", &["ssm:GetParameters", "ssm:GetParameterHistory", "ssm:DeleteParameters"][..], named(false));
    let certificates =
        unique(routes.iter().flat_map(|route| {
            route.certificate_parameter.iter().flat_map(|name| place.parameters(name, &route.groups)).collect::<Vec<_>>()
        }));
    let certificates = ("Certificates", &["ssm:PutParameter", "ssm:DeleteParameters"][..], certificates);
    let some = [owned, anybodys, certificates].into_iter().filter(|(_, _, names)| !names.is_empty());
    some.map(|(word, actions, names)| Statement::allow(sid(word), actions, names)).collect()
}

/// Sending documents: SendCommand must be allowed on the document, and on the instance.
fn commands(place: &Place, routes: &[&Route], sid: &impl Fn(&str) -> String) -> Vec<Statement> {
    let sends = |root: bool| {
        routes.iter().filter_map(move |route| match &route.key {
            KeySource::RunCommand { document, .. } if is_shell(document) == root => Some((document, &route.groups)),
            _ => None,
        })
    };
    let send = &["ssm:SendCommand"];
    let mut statements = Vec::new();
    for (root, word) in [(false, "Documents"), (true, "RunShellScriptIsRootOnEveryInstanceInScope")] {
        let documents = unique(sends(root).map(|(document, _)| place.document(document)));
        if !documents.is_empty() {
            statements.push(Statement::allow(sid(word), send, documents));
        }
    }
    let groups = unique(sends(false).chain(sends(true)).flat_map(|(_, groups)| groups).map(|glob| literal(glob)));
    if !groups.is_empty() {
        // Documents have no such tag, so the condition leaves instances alone; they stand here because by the reference each statement
        // with this action names one. Auto Scaling tags its instances with their group before they boot.
        let mut resources = unique(sends(false).chain(sends(true)).map(|(document, _)| place.document(document)));
        resources.push(place.instances());
        let to = Statement::allow(sid("DocumentsToInstances"), send, resources);
        statements.push(to.only_if("StringLike", "ssm:resourceTag/aws:autoscaling:groupName", groups));
    }
    statements
}

/// What `enrolld check` asks of SSM and IAM beside what the daemon does.
fn check(place: &Place, routes: &[&Route], sid: &impl Fn(&str) -> String) -> impl Iterator<Item = Statement> {
    let counted = routes.iter().any(|route| matches!(route.key, KeySource::Parameter { .. }));
    let documents = unique(routes.iter().filter_map(|route| match &route.key {
        KeySource::RunCommand { document, .. } => Some(place.document(document)),
        KeySource::Parameter { .. } => None,
    }));
    let count = counted.then(|| Statement::allow(sid("CheckParameters"), &["ssm:DescribeParameters"], vec!["*".to_owned()]));
    let look = (!documents.is_empty()).then(|| Statement::allow(sid("CheckDocuments"), &["ssm:DescribeDocument"], documents));
    let owners = unique(routes.iter().filter_map(|route| match &route.key {
        KeySource::Parameter { owner: Owner::Role(role), .. } => Some(role.as_str().to_owned()),
        _ => None,
    }));
    let trust = (!owners.is_empty()).then(|| Statement::allow(sid("CheckOwnerRoles"), &["iam:GetRole"], owners));
    count.into_iter().chain(look).chain(trust)
}

fn note(route: &Route) -> Option<String> {
    let KeySource::RunCommand { document, .. } = &route.key else { return None };
    is_shell(document).then(|| {
        format!(
            "route {}: the right to send {SHELL_DOCUMENT} is root on every instance in scope, whatever script stands in the configuration; \
             a document of your own with that script fixed in it is not",
            route.name
        )
    })
}

fn is_shell(document: &str) -> bool {
    document == SHELL_DOCUMENT || document.rsplit('/').next() == Some(SHELL_DOCUMENT)
}

/// Each once, in the order they came.
fn unique<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// `eu-central-1` as `EuCentral1`: statement names have letters and digits alone.
fn camel(text: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
    };
    text.split('-').map(word).collect()
}
