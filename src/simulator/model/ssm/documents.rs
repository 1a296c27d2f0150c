//! Command documents.

use serde_json::Value;

use super::wire::{
    CreateDocument, DescribeDocument, DocumentContent, DocumentDescribed, DocumentDescription, DocumentMade, DocumentParameter, GetDocument,
};
use super::{Document, Ssm};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, epoch_seconds};
use crate::simulator::model::error::{Answer, ApiError};

/// The document of Amazon's that runs any script as root.
pub(super) const RUN_SHELL_SCRIPT: &str = "AWS-RunShellScript";

const RUN_SHELL_SCRIPT_CONTENT: &str = r#"{"schemaVersion":"1.2","description":"Run a shell script or specify the commands to run.","parameters":{"commands":{"type":"StringList","description":"(Required) Specify a shell script or a command to run."},"workingDirectory":{"type":"String","default":""},"executionTimeout":{"type":"String","default":"3600"}},"runtimeConfig":{"aws:runShellScript":{"properties":[{"id":"0.aws:runShellScript","runCommand":"{{ commands }}"}]}}}"#;

impl Ssm {
    pub(crate) fn create_document(&mut self, cx: &Context, _: &Caller, request: &CreateDocument) -> Answer<DocumentMade> {
        let characters = request.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !(3..=128).contains(&request.name.len()) || !characters {
            return Err(ApiError::constraint(
                &request.name,
                "name",
                "Member must satisfy regular expression pattern: ^[a-zA-Z0-9_\\-.]{3,128}$",
            ));
        }
        let lower = request.name.to_ascii_lowercase();
        if ["aws-", "aws", "amazon", "amzn"].iter().any(|reserved| lower.starts_with(reserved)) {
            return Err(ApiError::client("ValidationException", "Document name cannot begin with a reserved prefix."));
        }
        if self.documents.contains_key(&request.name) {
            return Err(ApiError::client("DocumentAlreadyExists", format!("Document with name {} already exists", request.name)));
        }
        let format = request.document_format.clone().unwrap_or_else(|| "JSON".into());
        let document = Document {
            kind: request.document_type.clone().unwrap_or_else(|| "Command".into()),
            ..Document::parse(cx.now, &request.content, format)?
        };
        let description = document.describe(&request.name, &cx.settings.account);
        self.documents.insert(request.name.clone(), document);
        Ok(DocumentMade { document_description: description })
    }

    pub(crate) fn get_document(&self, _: &Context, _: &Caller, request: &GetDocument) -> Answer<DocumentContent> {
        let (_, document) = self.document(&request.name)?;
        Ok(DocumentContent {
            name: request.name.clone(),
            document_version: "1".into(),
            status: "Active",
            content: document.content.clone(),
            document_type: document.kind.clone(),
            document_format: document.format.clone(),
        })
    }

    pub(crate) fn describe_document(&self, cx: &Context, _: &Caller, request: &DescribeDocument) -> Answer<DocumentDescribed> {
        let (name, document) = self.document(&request.name)?;
        let owner = if name == RUN_SHELL_SCRIPT { "Amazon" } else { &cx.settings.account };
        Ok(DocumentDescribed { document: document.describe(name, owner) })
    }

    /// The document of a name or an ARN.
    pub(super) fn document<'a>(&'a self, name: &'a str) -> Answer<(&'a str, &'a Document)> {
        let short = name.rsplit_once(":document/").map_or(name, |(_, short)| short);
        match self.documents.get(short) {
            Some(document) => Ok((short, document)),
            None => Err(ApiError::client("InvalidDocument", format!("Document with name {short} does not exist."))),
        }
    }

    pub(crate) fn add_amazon_documents(&mut self, now: u64) {
        if let Ok(document) = Document::parse(now, RUN_SHELL_SCRIPT_CONTENT, "JSON".into()) {
            self.documents.insert(RUN_SHELL_SCRIPT.into(), document);
        }
    }
}

impl Document {
    fn parse(now: u64, content: &str, format: String) -> Answer<Self> {
        let mut document = Self {
            content: content.to_owned(),
            kind: "Command".into(),
            schema: "2.2".into(),
            parameters: Vec::new(),
            created: now,
            format,
        };
        // YAML documents are kept as they are: nothing here runs them.
        if document.format == "JSON" {
            let value: Value =
                serde_json::from_str(content).map_err(|_| ApiError::client("InvalidDocumentContent", "JSON not well-formed."))?;
            let schema = value["schemaVersion"]
                .as_str()
                .ok_or_else(|| ApiError::client("InvalidDocumentSchemaVersion", "The document schema version is missing."))?;
            schema.clone_into(&mut document.schema);
            if let Some(parameters) = value["parameters"].as_object() {
                let kind = |value: &Value| value["type"].as_str().unwrap_or("String").to_owned();
                document.parameters = parameters.iter().map(|(name, value)| (name.clone(), kind(value))).collect();
            }
        }
        Ok(document)
    }

    fn describe(&self, name: &str, owner: &str) -> DocumentDescription {
        DocumentDescription {
            name: name.into(),
            owner: owner.into(),
            status: "Active",
            document_version: "1".into(),
            document_type: self.kind.clone(),
            document_format: self.format.clone(),
            schema_version: self.schema.clone(),
            platform_types: vec!["Linux", "MacOS"],
            parameters: self.parameters.iter().map(|(name, kind)| DocumentParameter { name: name.clone(), r#type: kind.clone() }).collect(),
            created_date: epoch_seconds(self.created),
        }
    }
}
