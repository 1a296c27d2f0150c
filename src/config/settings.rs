//! From the configuration to what the core is told: scopes and servers become small numbers, patterns become matchers.

use wildmatch::WildMatch;

use super::Config;
use super::registrars::Registrar;
use super::route::{KeySource, Owner, Route, Scope};
use crate::core::call::{ScopeId, ServerId};
use crate::core::settings::{self, Settings};
use crate::names::AccountId;

/// One server: what is ready or not. Routes may share it. What a name means in AWS depends on who asks, so that there each scope has its own;
/// a server of one's own is the same whoever comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Whom the first route that uses it asks with.
    pub scope: ScopeId,
    /// Which it is, as the first route that uses it names it.
    pub registrar: Registrar,
}

impl Server {
    fn is_of(&self, route: &Route, scope: ScopeId) -> bool {
        self.registrar.same_server(&route.registrar) && (self.scope == scope || !self.registrar.is_counted_by_aws())
    }
}

impl Config {
    /// What the core is told. The ids in it are indices into [`Config::scopes`], [`Config::servers`] and
    /// [`Config::routes`].
    #[must_use]
    pub fn core_settings(&self) -> Settings {
        let (scopes, servers) = (self.scopes(), self.servers());
        Settings {
            worker: self.worker.clone(),
            max_open: self.max_open,
            max_calls: self.max_calls,
            max_polls: self.max_polls,
            poll_wait: self.poll_wait,
            visibility: self.visibility_timeout,
            grace: self.shutdown_grace,
            call_timeout: self.call_timeout,
            max_deliveries: self.max_deliveries,
            patience: self.patience,
            accounts: self.accounts.clone(),
            regions: self.regions.clone(),
            own_account: self.own_account().cloned(),
            unmatched: self.unmatched,
            transient: self.retry,
            not_ready: self.not_ready,
            route_fault: self.route_fault,
            max_rates: self.max_rates.clone(),
            routes: self.routes.iter().map(|route| self.core_route(route, &scopes, &servers)).collect(),
        }
    }

    /// The scopes that routes ask with, each once; the worker's own is the first, also where no route uses it.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes = vec![Scope::default()];
        for scope in self.routes.iter().map(|route| self.own_or(&route.scope)) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// The servers behind the routes, each once.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let scopes = self.scopes();
        let mut servers: Vec<Server> = Vec::new();
        for route in &self.routes {
            let scope = self.scope_id(route, &scopes);
            if !servers.iter().any(|server| server.is_of(route, scope)) {
                servers.push(Server { scope, registrar: route.registrar.clone() });
            }
        }
        servers
    }

    /// The account that a route without a role asks in: the queue's where that one's events are taken, else the only one whose events
    /// are. None where the file does not tell.
    pub(super) fn own_account(&self) -> Option<&AccountId> {
        let own = self.queue_url.account();
        match &self.accounts[..] {
            [] => own,
            [only] => Some(only),
            several => own.filter(|own| several.contains(own)),
        }
    }

    /// A scope that names the worker's own region names no other.
    pub(super) fn own_or(&self, scope: &Scope) -> Scope {
        Scope { region: scope.region.clone().filter(|region| Some(region) != self.region.as_ref()), ..scope.clone() }
    }

    fn scope_id(&self, route: &Route, scopes: &[Scope]) -> ScopeId {
        let own = self.own_or(&route.scope);
        let at = scopes.iter().position(|scope| *scope == own).expect("the scopes were made of these routes");
        ScopeId(small(at))
    }

    fn core_route(&self, route: &Route, scopes: &[Scope], servers: &[Server]) -> settings::Route {
        let scope = self.scope_id(route, scopes);
        let server = servers.iter().position(|server| server.is_of(route, scope)).expect("the servers were made of these routes");
        settings::Route {
            name: route.name.clone(),
            groups: route.groups.iter().map(|glob| WildMatch::new(glob)).collect(),
            scope,
            account: route.scope.role.as_ref().map(|role| role.account().clone()),
            region: route.scope.region.clone().or_else(|| self.region.clone()),
            server: ServerId(small(server)),
            counted_by_aws: route.registrar.is_counted_by_aws(),
            second_chance: route.registrar.leaves_repeats_open(),
            node_name: route.node_name.clone(),
            key: match &route.key {
                KeySource::Parameter { name, .. } => settings::KeySource::Parameter { name: name.clone(), batch: route.key_batch() },
                KeySource::RunCommand { .. } => settings::KeySource::RunCommand,
            },
            key_poll: route.key_poll,
            key_rate: route.key_rate,
            status_poll: route.status_poll,
            timeout: route.timeout,
            on_failure: route.on_failure,
            certificate: route.certificate_parameter.clone(),
            delete_key: route.delete_key,
            max_abandons: route.max_abandons,
            abandon_window: route.abandon_window,
            max_rate: route.max_rate,
        }
    }
}

impl Route {
    /// How many nodes one key read asks for: GetParameters takes ten names, GetParameterHistory, which shows the owner, and
    /// GetCommandInvocation one.
    #[must_use]
    pub fn key_batch(&self) -> u8 {
        match &self.key {
            KeySource::Parameter { owner: Owner::Anybody, .. } => 10,
            KeySource::Parameter { owner: Owner::Role(_), .. } | KeySource::RunCommand { .. } => 1,
        }
    }
}

/// An index as an id. The reader takes no more routes than fit.
fn small(at: usize) -> u16 {
    u16::try_from(at).expect("the reader takes at most 1000 routes")
}
