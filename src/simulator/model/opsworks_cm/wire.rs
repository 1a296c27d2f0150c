//! Requests and answers of OpsWorks CM, named as the service names them.
#![expect(missing_docs, reason = "the names are those of the AWS API, and mean what they mean there")]

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EngineAttribute {
    pub name: Option<String>,
    pub value: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeServers {
    pub server_name: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AssociateNode {
    pub server_name: Option<String>,
    pub node_name: Option<String>,
    pub engine_attributes: Vec<EngineAttribute>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DisassociateNode {
    pub server_name: Option<String>,
    pub node_name: Option<String>,
    pub engine_attributes: Vec<EngineAttribute>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeNodeAssociationStatus {
    pub node_association_status_token: Option<String>,
    pub server_name: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Token {
    pub node_association_status_token: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    pub node_association_status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engine_attributes: Vec<EngineAttribute>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Servers {
    pub servers: Vec<Server>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Server {
    pub associate_public_ip_address: bool,
    pub backup_retention_count: u32,
    pub server_name: String,
    pub created_at: f64,
    pub disable_automated_backup: bool,
    pub endpoint: String,
    pub engine: &'static str,
    pub engine_model: &'static str,
    pub engine_attributes: Vec<EngineAttribute>,
    pub engine_version: &'static str,
    pub instance_profile_arn: String,
    pub instance_type: &'static str,
    pub maintenance_status: &'static str,
    pub preferred_maintenance_window: &'static str,
    pub preferred_backup_window: &'static str,
    pub security_group_ids: Vec<String>,
    pub service_role_arn: String,
    pub status: ServerStatus,
    pub status_reason: String,
    pub subnet_ids: Vec<String>,
    pub server_arn: String,
}

/// A server's status, as DescribeServers names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerStatus {
    BackingUp,
    ConnectionLost,
    Creating,
    Deleting,
    Modifying,
    Failed,
    #[default]
    Healthy,
    Running,
    Restoring,
    Setup,
    UnderMaintenance,
    Unhealthy,
    Terminated,
}

impl ServerStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BackingUp => "BACKING_UP",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::Creating => "CREATING",
            Self::Deleting => "DELETING",
            Self::Modifying => "MODIFYING",
            Self::Failed => "FAILED",
            Self::Healthy => "HEALTHY",
            Self::Running => "RUNNING",
            Self::Restoring => "RESTORING",
            Self::Setup => "SETUP",
            Self::UnderMaintenance => "UNDER_MAINTENANCE",
            Self::Unhealthy => "UNHEALTHY",
            Self::Terminated => "TERMINATED",
        }
    }
}
