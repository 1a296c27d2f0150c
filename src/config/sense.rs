//! What each value allows for itself and all of them together do not: combinations that could not work.

use wildmatch::WildMatch;

use super::Config;
use super::overlap::{Filled, may_write};
use super::problem::Refusal;
use super::reader::Section;
use super::route::{KeySource, Owner, Route};
use super::route_tables::ReadRoute;
use super::rules::RoleArn;
use super::values::show;
use crate::core::settings::DeleteKey;
use crate::names::{AccountId, Region, Template, shown};

/// Time-outs: each must leave room for the next longer one.
pub(super) fn of_limits(top: &Section<'_, '_>, config: &Config) {
    let refuse = |name: &str, wrong: String, right: String| top.refuse(name, Refusal::new(wrong, right));
    let (connect, attempt, call) = (config.connect_timeout, config.attempt_timeout, config.call_timeout);
    if connect > attempt {
        let wrong = format!("{} is longer than attempt_timeout ({})", show(connect), show(attempt));
        refuse("connect_timeout", wrong, format!("write at most \"{}\", or a longer attempt_timeout", show(attempt)));
    }
    if attempt > call {
        let wrong = format!("{} is longer than call_timeout ({})", show(attempt), show(call));
        refuse("attempt_timeout", wrong, format!("write at most \"{}\", or a longer call_timeout", show(call)));
    }
    // A message's lease is counted from the start of the receive that brought it, which a long poll may use up a part of.
    if call * 3 + config.poll_wait >= config.visibility_timeout {
        let wrong = format!(
            "{} leaves no room for poll_wait ({}) and three calls of call_timeout ({}), which extending a message in time takes",
            show(config.visibility_timeout),
            show(config.poll_wait),
            show(call)
        );
        let enough = std::time::Duration::from_secs((call * 3 + config.poll_wait).as_secs() + 1);
        refuse("visibility_timeout", wrong, format!("write \"{}\" or more, or a shorter poll_wait or call_timeout", show(enough)));
    }
    if config.dead_letter_queue_url.as_ref().is_some_and(|dead| dead.as_str() == config.queue_url.as_str()) {
        let wrong = "it is the queue itself, so that dead letters would come back for ever".to_owned();
        refuse("dead_letter_queue_url", wrong, "name another queue".to_owned());
    }
    if let (Some(region), Some(shown_region)) = (&config.region, config.queue_url.region())
        && region != shown_region
    {
        let wrong = format!("it is {region}, but the queue is in {shown_region}");
        refuse("region", wrong, format!("leave it out, or write \"{shown_region}\"; a route can name a region of its own"));
    }
}

/// One route by itself.
pub(super) fn of_route(section: &Section<'_, '_>, route: &Route) {
    match &route.key {
        KeySource::Parameter { name, .. } => {
            let strange = |pattern: &&String| !pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/*?".contains(&b));
            if let Some(pattern) = route.groups.iter().find(strange).filter(|_| name.source().contains("{group}")) {
                let wrong = format!("parameter names the group, and {} has characters that parameter names cannot have", shown(pattern));
                section.refuse("key", Refusal::new(wrong, "leave {group} out of the parameter's name"));
            }
        }
        KeySource::RunCommand { .. } => {
            if route.delete_key == DeleteKey::OnSuccess {
                let wrong = "key material comes from a document, so that there is no parameter to delete";
                section.refuse("delete_key", Refusal::new(wrong, "leave it out"));
            }
            if section.has("key_rate") {
                let wrong = "key material comes from a document, so that no parameter is read";
                let right = "leave it out; max_rate at the top of the file can limit SendCommand and GetCommandInvocation";
                section.refuse("key_rate", Refusal::new(wrong, right));
            }
        }
    }
    if let (Some(role), KeySource::Parameter { owner: Owner::Role(owner), .. }) = (&route.scope.role, &route.key)
        && role.account() != owner.account()
    {
        let wrong = format!("owner_role is in account {}, and role_arn in {}", owner.account(), role.account());
        section.refuse("key", Refusal::new(wrong, "name the role that the instances have in the account where their parameters are"));
    }
    if let Some(refusal) = route.registrar.refuses_names(&route.node_name) {
        section.refuse("node_name", refusal);
    }
    if !route.allow_extensions.is_empty() && !route.registrar.takes_certificate_requests() {
        let wrong = "only Puppet's certificate requests have extensions";
        section.refuse("allow_extensions", Refusal::new(wrong, "leave it out, or name a server that takes them"));
    }
    if route.certificate_parameter.is_some() && !route.registrar.gives_certificates() {
        let wrong = "only a Puppet server gives certificates back";
        section.refuse("certificate_parameter", Refusal::new(wrong, "leave it out, or name a server that does"));
    }
    if let Some(timeout) = route.registrar.order_timeout().filter(|timeout| *timeout >= route.timeout) {
        let wrong = format!("its timeout ({}) is not shorter than the route's ({})", show(timeout), show(route.timeout));
        section.refuse("registrar", Refusal::new(wrong, "write a shorter one, or a longer timeout for the route"));
    }
    if route.key_poll >= route.timeout {
        let wrong = format!("{} is not shorter than timeout ({})", show(route.key_poll), show(route.timeout));
        section.refuse("key_poll", Refusal::new(wrong, "write a shorter key_poll, or a longer timeout"));
    }
}

/// Routes beside each other: names are unique, and each can be reached.
pub(super) fn of_routes(routes: &[ReadRoute<'_, '_>]) {
    for (at, later) in routes.iter().enumerate() {
        let earlier = &routes[..at];
        if let Some(name) = later.name.as_ref().filter(|name| earlier.iter().any(|route| route.name.as_ref() == Some(*name))) {
            later.section.refuse(
                "name",
                Refusal::new(format!("another route is called {} already", shown(name)), "give each route a name of its own"),
            );
        }
        for (nth, pattern) in later.groups.iter().flatten().enumerate() {
            let own = later.groups.iter().flatten().take(nth).find(|own| covers(own, pattern));
            let other = earlier.iter().find_map(|route| Some((route, route.groups.iter().flatten().find(|first| covers(first, pattern))?)));
            if let Some(own) = own {
                let wrong = format!("{} is matched already by {} before it", shown(pattern), shown(own));
                later.section.refuse("groups", Refusal::new(wrong, "leave it out"));
            } else if let Some((route, first)) = other {
                let earlier = route.name.as_deref().unwrap_or("an earlier one");
                let wrong = format!("{} never gets here: {} of route {earlier} matches it first", shown(pattern), shown(first));
                later
                    .section
                    .refuse("groups", Refusal::new(wrong, format!("put this route before {earlier}, or narrow that one's pattern")));
            }
        }
    }
}

/// Whether every name that `later` matches is matched by `first`, as far as that shows without trying names: `later` itself
/// matches with its stars read as nothing and as text that no name has.
fn covers(first: &str, later: &str) -> bool {
    let first = WildMatch::new(first);
    let some_text = later.replace('*', "\u{e000}\u{e001}").replace('?', "\u{e002}");
    let no_text = later.replace('*', "").replace('?', "\u{e002}");
    first.matches(&some_text) && first.matches(&no_text)
}

/// Accounts and regions: what a route asks with must be what its events may come from; one server is one kind of server.
pub(super) fn of_places(top: &Section<'_, '_>, config: &Config, routes: &[ReadRoute<'_, '_>]) {
    for ReadRoute { section, route, .. } in routes {
        let Some(Route { scope, .. }) = route else { continue };
        if let Some(account) = scope.role.as_ref().map(RoleArn::account) {
            let taken = if config.accounts.is_empty() {
                config.queue_url.account().is_none_or(|own| own == account)
            } else {
                config.accounts.contains(account)
            };
            if !taken {
                let wrong = format!("the role is in account {account}, whose events are not taken");
                section.refuse("role_arn", Refusal::new(wrong, format!("add \"{account}\" to accounts at the top of the file")));
            }
        }
        if let Some(region) = &scope.region {
            let taken = if config.regions.is_empty() {
                config.region.as_ref().is_none_or(|own| own == region)
            } else {
                config.regions.contains(region)
            };
            if !taken {
                let wrong = format!("events of {region} are not taken");
                section.refuse("region", Refusal::new(wrong, format!("add \"{region}\" to regions at the top of the file")));
            }
        }
    }
    for ReadRoute { section, route, .. } in routes {
        let Some(Route { scope, key: KeySource::Parameter { owner: Owner::Role(owner), .. }, .. }) = route else { continue };
        let account = owner.account();
        // A route with a role of its own has been compared with that.
        if scope.role.is_some() {
            continue;
        }
        let wrong = match config.own_account() {
            Some(asked) if asked != account => {
                format!("owner_role is in account {account}, and the route asks in {asked}: no instance of it has that role")
            }
            None if !config.accounts.is_empty() && !config.accounts.contains(account) => {
                format!("owner_role is in account {account}, whose events are not taken: no instance of this route has it")
            }
            _ => continue,
        };
        let right = format!(
            "name the role that the instances have in their own account, or give the route a role_arn in {account}, or take no other \
             account's events than that one's (accounts = [\"{account}\"])"
        );
        section.refuse("key", Refusal::new(wrong, right));
    }
    if let Some(own) = config.queue_url.account()
        && config.accounts.len() > 1
        && !config.accounts.contains(own)
        && routes.iter().any(|read| read.route.as_ref().is_some_and(|route| route.scope.role.is_none()))
    {
        let wrong = "a route names no role_arn, and which of these accounts it asks in does not show: the queue's is not among them";
        top.refuse("accounts", Refusal::new(wrong.to_owned(), format!("add \"{own}\", or give each route its role_arn")));
    }
    if let (Some(region), false) = (&config.region, config.regions.is_empty())
        && !config.regions.contains(region)
        && routes.iter().any(|read| read.route.as_ref().is_some_and(|route| route.scope.region.is_none()))
    {
        let wrong = format!("events of {region}, the worker's own region, are not taken, but a route names no other");
        top.refuse("regions", Refusal::new(wrong, format!("add \"{region}\", or give each route its region")));
    }
    for (at, later) in routes.iter().enumerate() {
        let Some(route) = &later.route else { continue };
        let other = routes[..at].iter().filter_map(|read| read.route.as_ref()).find(|other| {
            other.scope == route.scope
                && other.registrar.same_server(&route.registrar)
                && other.registrar.takes_certificate_requests() != route.registrar.takes_certificate_requests()
        });
        if let Some(other) = other {
            let wrong = format!("its engine is not what route {} says of the same server", other.name);
            later.section.refuse("registrar", Refusal::new(wrong, "write the engine that the server has in both"));
        }
    }
}

/// Parameters beside each other: what the instances of any route may write is never where enrolld writes a certificate.
pub(super) fn of_parameters(config: &Config, routes: &[ReadRoute<'_, '_>]) {
    let account = |route: &Route| route.scope.role.as_ref().map(RoleArn::account).or(config.own_account()).cloned();
    let region = |route: &Route| route.scope.region.as_ref().or(config.region.as_ref()).cloned();
    let meets = |certificate: &Template, route: &Route, keys: &Template, other: &Route| {
        let (accounts, regions) = ((account(route), account(other)), (region(route), region(other)));
        let apart = |differ: Option<bool>| differ == Some(true);
        if apart(accounts.0.as_ref().zip(accounts.1.as_ref()).map(|(one, two)| one != two))
            || apart(regions.0.as_ref().zip(regions.1.as_ref()).map(|(one, two)| one != two))
        {
            return false;
        }
        let account = accounts.0.as_ref().or(accounts.1.as_ref()).map(AccountId::as_str);
        let region = regions.0.as_ref().or(regions.1.as_ref()).map(Region::as_str);
        let keys = Filled { name: keys, groups: &other.groups, account, region };
        may_write(keys, Filled { name: certificate, groups: &route.groups, ..keys })
    };
    for ReadRoute { section, route, .. } in routes {
        let Some(route) = route else { continue };
        let Some(certificate) = &route.certificate_parameter else { continue };
        let written = routes.iter().filter_map(|read| read.route.as_ref()).find_map(|other| match &other.key {
            KeySource::Parameter { name, .. } if meets(certificate, route, name, other) => Some((name, &other.name)),
            _ => None,
        });
        if let Some((name, other)) = written {
            let wrong = format!(
                "the right to write the keys of route {other} ({}, with a star for the instance) is a right to write some of these",
                shown(name.source())
            );
            let right = "write a name that no key's can be, such as /enrolld/{instance_id}/certificate beside /enrolld/{instance_id}/csr";
            section.refuse("certificate_parameter", Refusal::new(wrong, right));
        }
    }
}
