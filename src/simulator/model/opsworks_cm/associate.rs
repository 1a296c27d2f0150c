//! Associations: accepted at once, done later, and looked at by token.

use std::sync::Arc;

use aws_smithy_types::base64;
use md5::{Digest as _, Md5};

use super::wire::{AssociateNode, DescribeNodeAssociationStatus, DisassociateNode, EngineAttribute, ServerStatus, Status, Token};
use super::{Association, Engine, Happened, LogEntry, Node, OpsworksCm, Repeated, Server, Wish, checks, no_such_server};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event};
use crate::simulator::model::error::{Answer, ApiError};

impl OpsworksCm {
    pub(crate) fn associate_node(&mut self, cx: &mut Context, caller: &Caller, request: &AssociateNode) -> Answer<Token> {
        let name = checks::server_name(request.server_name.as_deref())?;
        let node = checks::node_name(request.node_name.as_deref())?;
        let server = self.ready(cx, name)?;
        let key = checks::association(server.engine, &request.engine_attributes)?;
        let exists = self.will_exist(name, node, cx.now);
        let mut fails = cx.chance(server.options.failures);
        if exists {
            match server.options.repeated {
                Repeated::Success => {}
                Repeated::Failed => fails = true,
                Repeated::Validation => {
                    return Err(ApiError::client("ValidationException", format!("Node {node} is already associated.")));
                }
            }
        }
        let wish = Wish::Associate { fingerprint: format!("{:x}", Md5::digest(key)) };
        Ok(self.accept(cx, caller, name, node, wish, fails))
    }

    pub(crate) fn disassociate_node(&mut self, cx: &mut Context, caller: &Caller, request: &DisassociateNode) -> Answer<Token> {
        let name = checks::server_name(request.server_name.as_deref())?;
        let node = checks::node_name(request.node_name.as_deref())?;
        let server = self.ready(cx, name)?;
        checks::disassociation(server.engine, &request.engine_attributes)?;
        let mut fails = false;
        if self.will_exist(name, node, cx.now) {
            fails = cx.chance(server.options.removal_failures);
        } else {
            match server.options.absent {
                Repeated::Success => {}
                Repeated::Failed => fails = true,
                Repeated::Validation => {
                    return Err(ApiError::client("ValidationException", format!("Node {node} is not associated.")));
                }
            }
        }
        Ok(self.accept(cx, caller, name, node, Wish::Disassociate, fails))
    }

    pub(crate) fn describe_node_association_status(
        &self,
        cx: &Context,
        _: &Caller,
        request: &DescribeNodeAssociationStatus,
    ) -> Answer<Status> {
        let name = checks::server_name(request.server_name.as_deref())?;
        let token = checks::present(request.node_association_status_token.as_deref(), "nodeAssociationStatusToken")?;
        let server = self.servers.get(name).ok_or_else(|| no_such_server(name))?;
        let known = self.tokens.get(token).filter(|association| *association.server == *name);
        let recent = known.filter(|association| association.ended.is_none_or(|ended| cx.now < ended + server.options.token_known_ms));
        let association = recent.ok_or_else(|| {
            ApiError::client("ResourceNotFoundException", "The node association status token is not known, or not recent.")
        })?;
        let status = match (association.ended, association.fails) {
            (None, _) => "IN_PROGRESS",
            (Some(_), false) => "SUCCESS",
            (Some(_), true) => "FAILED",
        };
        let signed = server.engine == Engine::Puppet && status == "SUCCESS" && matches!(association.wish, Wish::Associate { .. });
        let engine_attributes = if signed { vec![certificate(&association.node)] } else { Vec::new() };
        Ok(Status { node_association_status: status, engine_attributes })
    }

    /// The server, where it is there and takes requests.
    fn ready(&self, cx: &Context, name: &str) -> Answer<&Server> {
        let server = self.servers.get(name).ok_or_else(|| no_such_server(name))?;
        match server.status_at(cx.now) {
            ServerStatus::Healthy => Ok(server),
            status => Err(ApiError::client(
                "InvalidStateException",
                format!("Server {name} is in the state {}, and must be HEALTHY.", status.name()),
            )),
        }
    }

    fn accept(&mut self, cx: &mut Context, caller: &Caller, server: &str, node: &str, wish: Wish, fails: bool) -> Token {
        let token: Arc<str> = cx.uuid().into();
        let (length, jitter) =
            self.servers.get(server).map_or((0, 0), |server| (server.options.association_ms, server.options.association_jitter_ms));
        // A server does what it accepted for one node in that order.
        let place = (Arc::from(server), node.to_owned());
        let exists = self.will_exist(server, node, cx.now);
        let ends = (cx.now + length + cx.jitter(jitter)).max(self.under_way.get(&place).map_or(0, |(ends, _)| *ends));
        self.under_way.insert(place, (ends, if fails { exists } else { matches!(wish, Wish::Associate { .. }) }));
        let association =
            Association { server: server.into(), node: node.to_owned(), wish, fails, ended: None, caller: Arc::clone(&caller.arn) };
        let what = match association.wish {
            Wish::Associate { .. } => Happened::AssociateAccepted,
            Wish::Disassociate => Happened::DisassociateAccepted,
        };
        self.log.push(association.entry(cx, what, &token));
        self.tokens.insert(Arc::clone(&token), association);
        if ends == cx.now {
            self.association_ends(cx, &token);
        } else {
            cx.at(ends, Event::AssociationEnds { token: Arc::clone(&token) });
        }
        Token { node_association_status_token: token.to_string() }
    }

    /// Whether a node is there once everything is done that was accepted for it.
    fn will_exist(&self, server: &str, node: &str, now: u64) -> bool {
        let under_way = self.under_way.get(&(Arc::from(server), node.to_owned())).filter(|(ends, _)| *ends > now);
        match under_way {
            Some((_, exists)) => *exists,
            None => self.servers.get(server).is_some_and(|server| server.nodes.contains_key(node)),
        }
    }

    pub(crate) fn association_ends(&mut self, cx: &Context, token: &Arc<str>) {
        let Some(association) = self.tokens.get_mut(token) else {
            return;
        };
        association.ended = Some(cx.now);
        let server = self.servers.get_mut(&association.server);
        // A server that was deleted meanwhile has nothing to do any more.
        let Some(server) = server else {
            association.fails = true;
            return;
        };
        let what = match (&association.wish, association.fails) {
            (Wish::Associate { .. }, true) => Happened::AssociateFailed,
            (Wish::Disassociate, true) => Happened::DisassociateFailed,
            (Wish::Associate { fingerprint }, false) => {
                let node = Node { fingerprint: fingerprint.clone(), since: cx.now };
                server.nodes.insert(association.node.clone(), node);
                Happened::Associated
            }
            (Wish::Disassociate, false) => {
                server.nodes.remove(&association.node);
                Happened::Disassociated
            }
        };
        self.log.push(association.entry(cx, what, token));
    }
}

impl Association {
    fn entry(&self, cx: &Context, what: Happened, token: &str) -> LogEntry {
        LogEntry {
            at_ms: cx.now,
            server: self.server.to_string(),
            node: self.node.clone(),
            what,
            fingerprint: match &self.wish {
                Wish::Associate { fingerprint } => Some(fingerprint.clone()),
                Wish::Disassociate => None,
            },
            caller: self.caller.to_string(),
            token: token.to_owned(),
        }
    }
}

/// What stands for the signed certificate: its form is right, and nothing in it is signed.
fn certificate(node: &str) -> EngineAttribute {
    let body = base64::encode(format!("a simulated certificate of {node}"));
    EngineAttribute {
        name: Some("PUPPET_NODE_CERT".into()),
        value: Some(format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")),
    }
}
