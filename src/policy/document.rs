//! A policy document as IAM reads it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Operators, each with its keys and their values.
pub type Condition = BTreeMap<&'static str, BTreeMap<&'static str, Vec<String>>>;

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Allows.
    Allow,
    /// Denies, whatever another statement allows.
    Deny,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// What it is for, in letters and digits.
    pub sid: String,
    /// What it does.
    pub effect: Effect,
    /// The actions, such as `sqs:ReceiveMessage`.
    pub action: Vec<&'static str>,
    /// The ARNs that they are about, or `*` where the service knows no others.
    pub resource: Vec<String>,
    /// When it holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: Condition,
}

/// A document of statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

impl Document {
    /// A document in the language's present version.
    #[must_use]
    pub fn new(statement: Vec<Statement>) -> Self {
        Self { version: "2012-10-17", statement }
    }

    /// The same with one more statement.
    #[must_use]
    pub fn and(mut self, statement: Statement) -> Self {
        self.statement.push(statement);
        self
    }

    /// Its statements.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statement
    }
}

impl Statement {
    /// A statement that allows, without a condition.
    #[must_use]
    pub fn allow(sid: impl Into<String>, action: &[&'static str], resource: Vec<String>) -> Self {
        Self { sid: sid.into(), effect: Effect::Allow, action: action.to_vec(), resource, condition: Condition::new() }
    }

    /// The same with a condition more. All conditions must hold; of a condition's values one.
    #[must_use]
    pub fn only_if(mut self, operator: &'static str, key: &'static str, values: Vec<String>) -> Self {
        self.condition.entry(operator).or_default().insert(key, values);
        self
    }
}
