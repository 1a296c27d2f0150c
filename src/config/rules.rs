//! Rules that come from elsewhere: what AWS takes as a queue URL, a role, a document, an object identifier.

use std::net::SocketAddr;

use super::problem::{Refusal, nearest};
use crate::core::settings::Limited;
use crate::names::{AccountId, GroupName, NodeName, ParameterName, Region, Template, shown};

/// The URL of an SQS queue, with what it shows of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrl {
    url: String,
    account: Option<AccountId>,
    region: Option<Region>,
}

impl QueueUrl {
    /// Takes a queue's URL: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, or an emulator's.
    pub(super) fn new(url: &str, allow_plain_http: bool) -> Result<Self, Refusal> {
        let example = "write it as SQS shows it, such as https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld";
        let refuse = |why: &str| Refusal::new(format!("{} {why}", shown(url)), example);
        if url.starts_with("arn:") {
            return Err(refuse("is an ARN, not a URL"));
        }
        let (plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(refuse("does not begin with https://")),
        };
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) || url.len() > 2048 {
            return Err(refuse("is not a URL"));
        }
        let (host, path) = rest.split_once('/').ok_or_else(|| refuse("names no queue"))?;
        let mut segments = path.rsplit('/');
        let name = segments.next().unwrap_or_default();
        let account = segments.next().and_then(|account| AccountId::new(account).ok());
        if host.is_empty() || name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(refuse("names no queue"));
        }
        if name.ends_with(".fifo") {
            let wrong = format!("{} is a FIFO queue, which Auto Scaling cannot notify", shown(url));
            return Err(Refusal::new(wrong, "make a standard queue and name that"));
        }
        if plain && !allow_plain_http && !is_loopback(host) {
            let wrong = format!("{} is without TLS and not on this machine", shown(url));
            return Err(Refusal::new(wrong, "write https://, or allow_plain_http = true at the top of the file if that is meant"));
        }
        let region =
            host.strip_prefix("sqs.").and_then(|host| host.split_once(".amazonaws.com")).and_then(|(region, _)| Region::new(region).ok());
        Ok(Self { url: url.to_owned(), account, region })
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The queue's account, where the URL shows it.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// The queue's region, where the URL shows it.
    #[must_use]
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }
}

fn is_loopback(host: &str) -> bool {
    let name =
        if let Some(inside) = host.strip_prefix('[') { inside.split(']').next() } else { host.split(':').next() }.unwrap_or_default();
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A role to assume: its ARN, with the account that it shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleArn {
    arn: String,
    account: AccountId,
}

impl RoleArn {
    pub(super) fn new(arn: &str) -> Result<Self, Refusal> {
        let right = "write it as arn:aws:iam::123456789012:role/NAME";
        let refuse = || Refusal::new(format!("{} is not the ARN of a role", shown(arn)), right);
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [scheme, partition, "iam", "", account, resource] = parts[..] else { return Err(refuse()) };
        let name = resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let known = partition == "aws" || partition.starts_with("aws-");
        if scheme != "arn" || !known || arn.len() > 2048 || resource.contains(':') || !is_role_name(name) {
            return Err(refuse());
        }
        let account = AccountId::new(account).map_err(|_| refuse())?;
        Ok(Self { arn: arn.to_owned(), account })
    }

    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// The role's name, without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The role's account.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

/// IAM's rule for a role's name: 1 to 64 of `[\w+=,.@-]`.
fn is_role_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// STS's rule for an external id: 2 to 1224 of `[\w+=,.@:\/-]`.
pub(super) fn external_id(id: &str) -> Result<String, Refusal> {
    if (2..=1224).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b)) {
        Ok(id.to_owned())
    } else {
        Err(Refusal::new("it is not an external id", "write 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -"))
    }
}

/// A worker's name, which is also its role sessions' name: 2 to 64 of `[\w+=,.@-]` (STS `RoleSessionName`).
pub(super) fn worker(name: &str) -> Result<String, Refusal> {
    if name.len() >= 2 && is_role_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::new(format!("{} cannot name a role session", shown(name)), "write 2 to 64 of A-Z a-z 0-9 + = , . @ - _"))
    }
}

/// SSM's rule for a document: a name of 3 to 128 of `[a-zA-Z0-9_\-.]`, or the ARN of one that is shared.
pub(super) fn document(name: &str) -> Result<String, Refusal> {
    let plain = |name: &str| (3..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let arn = name.starts_with("arn:aws") && name.rsplit_once(":document/").is_some_and(|(_, name)| plain(name));
    if plain(name) || arn {
        Ok(name.to_owned())
    } else {
        let wrong = format!("{} is not the name of a Run Command document", shown(name));
        Err(Refusal::new(wrong, "write 3 to 128 of A-Z a-z 0-9 _ - ., or the ARN of a shared document"))
    }
}

/// A group's name or a glob of one.
pub(super) fn group_pattern(pattern: &str) -> Result<String, Refusal> {
    GroupName::new(pattern).map(|name| name.as_str().to_owned()).map_err(|error| {
        Refusal::new(format!("{} matches no Auto Scaling group", error.shown), error.rule.replace("it must", "a group's name must"))
    })
}

/// A route's name: it must also make an environment variable that reads back.
pub(super) fn route_name(name: &str) -> Result<String, Refusal> {
    let good = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if good {
        Ok(name.to_owned())
    } else {
        let wrong = format!("{} is not a route's name", shown(name));
        Err(Refusal::new(wrong, "write 1 to 40 of a-z 0-9 and single hyphens, such as \"web\""))
    }
}

/// The extensions of X.509 itself: alternative names and the rest. A node names itself by its common name alone.
const X509_ARC: &str = "2.5.29";

/// Puppet's authorization extensions (`pp_authorization`, `pp_auth_role`, `pp_cli_auth` and the rest of their arc): a node
/// that could ask for these could ask for the server.
const AUTHORIZATION_ARC: &str = "1.3.6.1.4.1.34380.1.3";

/// The object identifier of an extension, in dotted form.
pub(super) fn oid(text: &str) -> Result<String, Refusal> {
    if is_in(text, AUTHORIZATION_ARC) {
        let wrong = format!("{} is an authorization extension, which would let a node make itself an administrator", shown(text));
        return Err(Refusal::new(wrong, "leave it out; it is refused whatever its value"));
    }
    if is_in(text, X509_ARC) {
        let wrong = format!("{} is an extension of X.509 itself, by which a node could take another's name", shown(text));
        return Err(Refusal::new(wrong, "leave it out; only the node's own name is allowed, and needs no line"));
    }
    let numbers: Vec<&str> = text.split('.').collect();
    // The first two numbers share a byte when encoded, and what reads requests takes them in that form alone.
    let good = numbers.len() >= 3
        && text.len() <= 200
        && matches!(numbers[0], "0" | "1" | "2")
        && numbers[1].parse::<u8>().is_ok_and(|second| second < 40)
        && numbers.iter().all(|n| n.parse::<u64>().is_ok() && n.bytes().all(|b| b.is_ascii_digit()) && (*n == "0" || !n.starts_with('0')));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Refusal::new(
            format!("{} is not an object identifier", shown(text)),
            "write it with dots, such as \"1.3.6.1.4.1.34380.1.1.13\"",
        ))
    }
}

fn is_in(oid: &str, arc: &str) -> bool {
    oid.strip_prefix(arc).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A parameter's name for some instance must be one that SSM takes: it must keep the rule of [`ParameterName`], stay away
/// from the prefixes `aws` and `ssm`, and have levels, so that rights can be given to a prefix.
pub(super) fn parameter(template: Template) -> Result<Template, Refusal> {
    let source = shown(template.source());
    if !template.source().starts_with('/') {
        return Err(Refusal::new(
            format!("{source} has no leading slash"),
            "write it under a prefix of its own, such as /enrolld/{instance_id}/public-key",
        ));
    }
    let name =
        ParameterName::new(&template.sample()).map_err(|error| Refusal::new(format!("{source} makes no parameter name"), error.rule))?;
    let first = name.as_str().trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        let wrong = format!("{source} begins with a prefix that SSM keeps for itself (aws, ssm)");
        return Err(Refusal::new(wrong, "write another prefix, such as /enrolld/"));
    }
    if template.prefix().trim_matches('/').is_empty() {
        let wrong = format!("{source} has no fixed prefix, so that the instances' right to write could not be kept to one");
        return Err(Refusal::new(wrong, "begin it with fixed text, such as /enrolld/"));
    }
    Ok(template)
}

/// A node's name for some instance must be one that servers take.
pub(super) fn node_name(template: Template) -> Result<Template, Refusal> {
    match NodeName::new(&template.sample()) {
        Ok(_) => Ok(template),
        Err(error) => Err(Refusal::new(format!("{} makes no node name", shown(template.source())), error.rule)),
    }
}

/// A limit for one operation: `CompleteLifecycleAction=20`, in calls a second.
pub(super) fn max_rate(text: &str) -> Result<(Limited, f64), Refusal> {
    let names = || Limited::ALL.iter().map(|operation| operation.name());
    let (name, rate) = text.split_once('=').unwrap_or((text, ""));
    let Some(operation) = Limited::ALL.iter().find(|operation| operation.name() == name.trim()) else {
        let right = match name.trim() {
            "AssociateNode" => "write max_rate in the routes of that server".to_owned(),
            "GetParameters" | "GetParameterHistory" => "write key_rate in the routes".to_owned(),
            other => match nearest(other, names()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the operations are {}", names().collect::<Vec<_>>().join(", ")),
            },
        };
        return Err(Refusal::new(format!("{} is no operation that a limit can be set for here", shown(name.trim())), right));
    };
    let number: Option<f64> = rate.trim().parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 10_000.0);
    number.map(|rate| (*operation, rate)).ok_or_else(|| {
        Refusal::new(
            format!("{} has no number per second", shown(text)),
            format!("write {}=10, above 0 and at most 10000", operation.name()),
        )
    })
}

/// Where to listen, or nowhere.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, Refusal> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Refusal::new(format!("{} is not an address with a port", shown(text)), "write \"127.0.0.1:9464\", \"[::1]:9464\" or \"off\"")
    })
}

/// A log filter.
pub(super) fn log_filter(text: &str) -> Result<String, Refusal> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(Refusal::new(format!("{} is not a log filter ({error})", shown(text)), "write \"info\", or \"info,enrolld=debug\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_url_shows_account_and_region() {
        let url = QueueUrl::new("https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld", false).unwrap();
        assert_eq!(url.account().unwrap().as_str(), "123456789012");
        assert_eq!(url.region().unwrap().as_str(), "eu-central-1");
        let china = QueueUrl::new("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/enrolld", false).unwrap();
        assert_eq!(china.region().unwrap().as_str(), "cn-north-1");
        let local = QueueUrl::new("http://127.0.0.1:4599/123456789012/enrolld", false).unwrap();
        assert_eq!(local.region(), None);
        assert!(QueueUrl::new("http://[::1]:4599/123456789012/enrolld", false).is_ok());
    }

    #[test]
    fn a_queue_url_without_tls_is_for_this_machine_or_for_those_who_say_so() {
        assert!(QueueUrl::new("http://queue.example/123456789012/enrolld", false).is_err());
        assert!(QueueUrl::new("http://127.0.0.1.example/123456789012/enrolld", false).is_err());
        assert!(QueueUrl::new("http://queue.example/123456789012/enrolld", true).is_ok());
    }

    #[test]
    fn what_is_no_standard_queue_is_refused() {
        for bad in [
            "",
            "enrolld",
            "arn:aws:sqs:eu-central-1:123456789012:enrolld",
            "https://sqs.eu-central-1.amazonaws.com/123456789012/a.fifo",
            "https:///a",
            "https://host",
            "https://host/",
            "https://ho st/a",
        ] {
            assert!(QueueUrl::new(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_arn_shows_its_account() {
        assert_eq!(RoleArn::new("arn:aws:iam::123456789012:role/a/b").unwrap().account().as_str(), "123456789012");
        assert!(RoleArn::new("arn:aws-us-gov:iam::123456789012:role/b").is_ok());
        for bad in [
            "",
            "b",
            "arn:aws:iam::12:role/b",
            "arn:aws:iam::123456789012:user/b",
            "arn:aws:sts::123456789012:role/b",
            "arn:aws:iam::123456789012:role/",
        ] {
            assert!(RoleArn::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_route_name_reads_back_from_a_variable() {
        for good in ["web", "web-blue-2", "0"] {
            assert!(route_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Web", "web_blue", "web--blue", "-web", "web-", "web blue"] {
            assert!(route_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_stay_within_ssms_rules() {
        let check = |source: &str| parameter(Template::new(source).unwrap());
        for good in ["/enrolld/{instance_id}/public-key", "/a/{group}/{instance_id}"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "{instance_id}",
            "enrolld-{instance_id}",
            "/{instance_id}/key",
            "/aws/{instance_id}",
            "/SSM-keys/{instance_id}",
            "/enrolld/{instance_id}/",
            "/enrolld/{instance_id}/a b",
            "/enrolld//{instance_id}",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_extension_is_dotted_numbers_and_never_an_authorization() {
        assert!(oid("1.3.6.1.4.1.34380.1.1.13").is_ok());
        for bad in ["", "1", "1.3", "1.3.6.1.4.1.34380.1.3.39", "2.5.29.17", "1.40.1", "3.1.1", "1..3", "1.03.1", "pp_role", "1.3.x"] {
            assert!(oid(bad).is_err(), "{bad}");
        }
    }
}
