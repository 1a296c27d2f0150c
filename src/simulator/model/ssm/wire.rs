//! Requests and answers of Systems Manager, named as the service names them.
#![expect(missing_docs, reason = "the names are those of the AWS API, and mean what they mean there")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! requests {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive(Clone, Debug, Default, Serialize, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub struct $name { $(pub $field: $type,)* }
        )+
    };
}

requests! {
    PutParameter {
        name: String,
        description: Option<String>,
        value: String,
        r#type: Option<String>,
        key_id: Option<String>,
        overwrite: bool,
        allowed_pattern: Option<String>,
        tier: Option<String>,
        data_type: Option<String>,
    }
    GetParameter { name: String, with_decryption: bool }
    GetParameters { names: Vec<String>, with_decryption: bool }
    GetParametersByPath {
        path: String, recursive: bool, with_decryption: bool, max_results: Option<i64>, next_token: Option<String>,
    }
    GetParameterHistory { name: String, with_decryption: bool, max_results: Option<i64>, next_token: Option<String> }
    DeleteParameter { name: String }
    DeleteParameters { names: Vec<String> }
    DescribeParameters {
        parameter_filters: Vec<ParameterFilter>, max_results: Option<i64>, next_token: Option<String>,
    }
    ParameterFilter { key: String, option: Option<String>, values: Vec<String> }
    SendCommand {
        instance_ids: Vec<String>,
        targets: Vec<Target>,
        document_name: String,
        document_version: Option<String>,
        timeout_seconds: Option<i64>,
        comment: String,
        parameters: BTreeMap<String, Vec<String>>,
    }
    Target { key: String, values: Vec<String> }
    GetCommandInvocation { command_id: String, instance_id: String, plugin_name: Option<String> }
    ListCommandInvocations {
        command_id: Option<String>, instance_id: Option<String>, details: bool, max_results: Option<i64>, next_token: Option<String>,
    }
    DescribeInstanceInformation {
        filters: Vec<InstanceFilter>, instance_information_filter_list: Vec<LegacyFilter>,
        max_results: Option<i64>, next_token: Option<String>,
    }
    InstanceFilter { key: String, values: Vec<String> }
    CreateDocument {
        name: String, content: String, document_type: Option<String>, document_format: Option<String>,
    }
    GetDocument { name: String, document_version: Option<String> }
    DescribeDocument { name: String, document_version: Option<String> }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LegacyFilter {
    pub key: String,
    #[serde(rename = "valueSet")]
    pub value_set: Vec<String>,
}

macro_rules! answers {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive(Clone, Debug, Default, Serialize)]
            #[serde(rename_all = "PascalCase")]
            pub struct $name { $($(#[$meta])* pub $field: $type,)* }
        )+
    };
}

answers! {
    Put { version: u64, tier: String }
    OneParameter { parameter: Parameter }
    Parameters { parameters: Vec<Parameter>, invalid_parameters: Vec<String> }
    ParameterPage { parameters: Vec<Parameter>, #[serde(skip_serializing_if = "Option::is_none")] next_token: Option<String> }
    Parameter {
        name: String,
        r#type: String,
        value: String,
        version: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        selector: Option<String>,
        last_modified_date: f64,
        #[serde(rename = "ARN")]
        arn: String,
        data_type: &'static str,
    }
    HistoryPage { parameters: Vec<HistoryEntry>, #[serde(skip_serializing_if = "Option::is_none")] next_token: Option<String> }
    HistoryEntry {
        name: String,
        r#type: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        last_modified_date: f64,
        last_modified_user: String,
        value: String,
        version: u64,
        labels: Vec<String>,
        tier: String,
        policies: Vec<String>,
        data_type: &'static str,
    }
    Deleted { deleted_parameters: Vec<String>, invalid_parameters: Vec<String> }
    MetadataPage { parameters: Vec<Metadata>, #[serde(skip_serializing_if = "Option::is_none")] next_token: Option<String> }
    Metadata {
        name: String,
        #[serde(rename = "ARN")]
        arn: String,
        r#type: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        last_modified_date: f64,
        last_modified_user: String,
        version: u64,
        tier: String,
        policies: Vec<String>,
        data_type: &'static str,
    }
    SentCommand { command: Command }
    Command {
        command_id: String,
        document_name: String,
        document_version: String,
        comment: String,
        expires_after: f64,
        parameters: BTreeMap<String, Vec<String>>,
        instance_ids: Vec<String>,
        targets: Vec<Target>,
        requested_date_time: f64,
        status: &'static str,
        status_details: &'static str,
        max_concurrency: &'static str,
        max_errors: &'static str,
        target_count: usize,
        completed_count: usize,
        error_count: usize,
    }
    Invocation {
        command_id: String,
        instance_id: String,
        comment: String,
        document_name: String,
        document_version: String,
        plugin_name: String,
        response_code: i32,
        execution_start_date_time: String,
        execution_elapsed_time: String,
        execution_end_date_time: String,
        status: &'static str,
        status_details: &'static str,
        standard_output_content: String,
        standard_output_url: String,
        standard_error_content: String,
        standard_error_url: String,
    }
    InvocationPage { command_invocations: Vec<InvocationSummary>, #[serde(skip_serializing_if = "Option::is_none")] next_token: Option<String> }
    InvocationSummary {
        command_id: String,
        instance_id: String,
        comment: String,
        document_name: String,
        document_version: String,
        requested_date_time: f64,
        status: &'static str,
        status_details: &'static str,
        command_plugins: Vec<PluginResult>,
    }
    PluginResult { name: String, status: &'static str, status_details: &'static str, response_code: i32, output: String }
    InstancePage { instance_information_list: Vec<InstanceInformation>, #[serde(skip_serializing_if = "Option::is_none")] next_token: Option<String> }
    InstanceInformation {
        instance_id: String,
        ping_status: &'static str,
        last_ping_date_time: f64,
        agent_version: &'static str,
        platform_type: &'static str,
        platform_name: &'static str,
        resource_type: &'static str,
        registration_date: f64,
    }
    DocumentMade { document_description: DocumentDescription }
    DocumentDescribed { document: DocumentDescription }
    DocumentDescription {
        name: String, owner: String, status: &'static str, document_version: String, document_type: String,
        document_format: String, schema_version: String, platform_types: Vec<&'static str>,
        parameters: Vec<DocumentParameter>, created_date: f64,
    }
    DocumentParameter { name: String, r#type: String }
    DocumentContent { name: String, document_version: String, status: &'static str, content: String, document_type: String, document_format: String }
    Nothing {}
}
