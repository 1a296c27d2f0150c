//! What was found: one line each, or one JSON object.

use std::fmt;

use serde::Serialize;

use crate::retry::{Class, Failure};

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// As it must be.
    #[serde(rename = "ok")]
    Ok,
    /// Not tried, or not to be seen from here.
    #[serde(rename = "not tested")]
    NotTested,
    /// Nothing wrong; something to know.
    #[serde(rename = "note")]
    Note,
    /// It works, and somebody should look at it.
    #[serde(rename = "WARN")]
    Warn,
    /// It cannot work like this.
    #[serde(rename = "FAIL")]
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NotTested => "not tested",
            Self::Note => "note",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it was found.
    pub result: Verdict,
    /// What was looked at, such as `queue` or `group web-blue`.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10}  {}: {}", self.result, self.about, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Notes that something is as it must be.
    pub fn ok(&mut self, about: impl Into<String>, found: impl Into<String>) {
        self.add(Verdict::Ok, about, found, None);
    }

    /// Notes that something was not tried, and why.
    pub fn not_tested(&mut self, about: impl Into<String>, found: impl Into<String>) {
        self.add(Verdict::NotTested, about, found, None);
    }

    /// Notes something to know.
    pub fn note(&mut self, about: impl Into<String>, found: impl Into<String>) {
        self.add(Verdict::Note, about, found, None);
    }

    /// Notes that somebody should look at something.
    pub fn warn(&mut self, about: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Warn, about, found, Some(remedy.into()));
    }

    /// Notes that something cannot work.
    pub fn fail(&mut self, about: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Fail, about, found, Some(remedy.into()));
    }

    /// Notes a call that failed; `action` is the IAM action that it takes.
    pub fn failed_call(&mut self, about: impl Into<String>, action: &str, failure: &Failure) {
        let found = format!("{action} answered {failure}");
        if is_denied(failure) {
            self.fail(about, found, format!("allow {action} to whom enrolld runs as"));
            return;
        }
        // An answer without a code of the service's own did not come from the service.
        if failure.code.starts_with("http_4") {
            self.fail(about, found, "look at AWS_ENDPOINT_URL and at proxies: something else answered");
            return;
        }
        match failure.class {
            Class::Throttled => self.warn(about, found, "ask again in a moment, and look at what else uses this API"),
            Class::Transient => self.fail(about, found, "look at the network between here and AWS, and at AWS_ENDPOINT_URL"),
            Class::RouteFault if failure.code == "credentials" => {
                self.fail(about, found, "give the process credentials: a role, a profile, or variables");
            }
            Class::NotReady | Class::RouteFault | Class::Final => self.fail(about, found, "correct what the message names"),
        }
    }

    fn add(&mut self, result: Verdict, about: impl Into<String>, found: impl Into<String>, remedy: Option<String>) {
        self.findings.push(Finding { result, about: about.into(), found: found.into(), remedy });
    }

    /// What was found, in the order it was looked at.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    /// Whether somebody should look at something.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        self.count(Verdict::Warn) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.result == verdict).count()
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        let object = serde_json::json!({
            "passed": self.passed(),
            "ok": self.count(Verdict::Ok),
            "not_tested": self.count(Verdict::NotTested),
            "warnings": self.count(Verdict::Warn),
            "failures": self.count(Verdict::Fail),
            "findings": self.findings,
        });
        object.to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let [ok, not_tested, warnings, failures] =
            [Verdict::Ok, Verdict::NotTested, Verdict::Warn, Verdict::Fail].map(|verdict| self.count(verdict));
        write!(f, "{ok} ok, {not_tested} not tested, {warnings} warnings, {failures} failed")
    }
}

/// Whether a failure is a right that is missing. The services do not agree on the code.
pub(in crate::cli) fn is_denied(failure: &Failure) -> bool {
    failure.class == Class::RouteFault
        && (failure.code.starts_with("AccessDenied") || failure.code == "UnauthorizedOperation" || failure.code == "NotAuthorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_what_to_do() {
        let mut report = Report::default();
        report.ok("queue", "it is a standard queue");
        report.fail("queue", "it has no redrive policy", "give it one");
        let text = report.to_string();
        assert_eq!(
            text,
            "ok          queue: it is a standard queue\nFAIL        queue: it has no redrive policy; give it one\n\
             1 ok, 0 not tested, 0 warnings, 1 failed"
        );
        assert!(!report.passed());
    }

    #[test]
    fn the_json_form_has_the_counts_and_every_finding() {
        let mut report = Report::default();
        report.not_tested("queue", "receiving");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["passed"], true);
        assert_eq!(json["not_tested"], 1);
        assert_eq!(json["findings"][0]["result"], "not tested");
        assert!(json["findings"][0].get("remedy").is_none());
    }

    #[test]
    fn a_denied_call_names_the_right_that_is_missing() {
        let mut report = Report::default();
        report.failed_call("queue", "sqs:GetQueueAttributes", &Failure::new(Class::RouteFault, "AccessDeniedException", "no"));
        assert_eq!(report.findings()[0].remedy.as_deref(), Some("allow sqs:GetQueueAttributes to whom enrolld runs as"));
    }
}
