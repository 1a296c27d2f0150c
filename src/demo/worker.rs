//! The worker that the demonstration shows: the real one, configured as a user would.

use crate::config::{self, Config, Environment, Problems};

use super::scenario::Scenario;

/// The queue's name in the simulator.
pub const QUEUE: &str = "enrolld-demo";
/// Its dead-letter queue's.
pub const DEAD_LETTERS: &str = "enrolld-demo-dead-letters";
/// The server's.
pub const SERVER: &str = "demo-chef";
/// The simulated account and region.
pub const ACCOUNT: &str = "123456789012";
/// The simulated region.
pub const REGION: &str = "eu-central-1";
/// The access key id of the worker's credentials.
pub const ACCESS_KEY_ID: &str = "enrolld-demo";
/// The instances' role.
pub const ROLE: &str = "enrolld-node";

/// The worker's configuration, with the simulator at `endpoint`.
///
/// # Errors
/// Where the text is not valid, which a test rules out.
pub fn configuration(endpoint: &str, scenario: Scenario) -> Result<Config, Problems> {
    let mut config = config::parse(&text(endpoint), "the demonstration's configuration", &Environment::new())?;
    if scenario == Scenario::Storm {
        // What a lost answer took away comes back after this time; the file asks for 30 s at least, and nobody watches that long.
        config.visibility_timeout = std::time::Duration::from_secs(10);
        // A lease counts from when its receive began: a poll that waits as long would use it up.
        config.poll_wait = std::time::Duration::from_secs(2);
        config.call_timeout = std::time::Duration::from_secs(2);
        config.attempt_timeout = std::time::Duration::from_secs(2);
        config.connect_timeout = std::time::Duration::from_secs(1);
    }
    Ok(config)
}

/// As a user would write it, but for the waits, which are shorter than a real server deserves.
fn text(endpoint: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/{ACCOUNT}/{QUEUE}"
region = "{REGION}"
worker = "demo"
listen = "off"
retry_initial = "200ms"
retry_max = "2s"
not_ready_initial = "500ms"
not_ready_max = "1500ms"

[[route]]
name = "demo"
groups = ["demo-*"]
registrar = {{ kind = "opsworks-cm", server = "{SERVER}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::{ACCOUNT}:role/{ROLE}" }}
key_poll = "1s"
status_poll_initial = "500ms"
status_poll_max = "2s"
timeout = "5m"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_s_configuration_is_valid() {
        for scenario in [Scenario::Calm, Scenario::Storm] {
            let config = configuration("http://127.0.0.1:4599", scenario).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.routes.len(), 1);
            assert_eq!(config.listen, None);
        }
    }
}
