//! The command line as a person meets it: what it prints, and how it exits.

use std::path::PathBuf;
use std::process::{Command, Output};

use clap::CommandFactory as _;
use enrolld::cli::Cli;

fn enrolld(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().expect("the binary was built for this test")
}

fn example() -> String {
    format!("{}/deploy/enrolld.example.toml", env!("CARGO_MANIFEST_DIR"))
}

/// A file of its own for each test, in the build's own folder for such things.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the folder is there to be written to");
    path.to_str().expect("the path is text").to_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_example_passes_the_offline_check_and_aws_is_said_to_be_not_tested() {
    let output = enrolld(&["check", "--offline", "--config", &example()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("not tested  AWS"), "{}", stdout(&output));
}

#[test]
fn the_offline_check_reads_the_files_that_a_registrar_is_given() {
    use std::os::unix::fs::PermissionsExt as _;
    let key = file("chef-server.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let of = |key: &str, more: &str| {
        let registrar =
            format!(r#"kind = "chef-server", url = "https://chef.example.com", client_name = "enrolld", client_key = "{key}"{more}"#);
        format!(
            "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\n\
             registrar = {{ {registrar} }}\nkey = {{ parameter = \"/enrolld/{{instance_id}}\", require_owner = false }}\n"
        )
    };
    for (mode, name, more, said) in [
        (0o600, "/nowhere/chef.pem", "", "/nowhere/chef.pem: it cannot be read"),
        (0o644, key.as_str(), "", "chmod 600"),
        (0o600, key.as_str(), "", "no RSA key of 2048 bits or more"),
        (0o600, key.as_str(), r#", ca_file = "/nowhere/ca.pem""#, "/nowhere/ca.pem: it cannot be read"),
    ] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
        let config = file("chef-server.toml", &of(name, more));
        for arguments in [&["check", "--offline", "--config", &config][..], &["check", "--config", &config]] {
            let output = enrolld(arguments, &[]);
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            let printed = stdout(&output);
            assert!(printed.contains("FAIL        route web: ") && printed.contains(said), "{said} in {printed}");
            assert!(printed.contains("not tested  AWS"), "{printed}");
        }
    }
}

#[test]
fn a_bad_file_exits_with_2_and_a_line_for_each_mistake() {
    let path = file("bad.toml", "queue_url = 5\nmax_open = \"many\"\ncolour = \"red\"\n");
    for command in ["check", "run"] {
        let output = enrolld(&[command, "--config", &path], &[]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        for place in [":1:13: queue_url: ", ":2:13: max_open: ", ":3:1: colour: ", ":1:1: route: "] {
            assert!(said.lines().any(|line| line.starts_with(&format!("{path}{place}"))), "{command}: {place} in\n{said}");
        }
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_bad_file_is_json_where_json_is_asked_for() {
    let path = file("bad-json.toml", "queue_url = 5\n");
    let output = enrolld(&["check", "--config", &path, "--output", "json"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["passed"], false);
    assert_eq!(report["failures"], 2);
    assert_eq!(report["findings"][0]["result"], "FAIL");
}

#[test]
fn the_file_can_be_named_by_a_variable_and_a_misspelt_variable_is_refused() {
    let example = example();
    let named = ("ENROLLD_CONFIG", example.as_str());
    assert_eq!(enrolld(&["check", "--offline"], &[named]).status.code(), Some(0));
    let output = enrolld(&["check", "--offline"], &[named, ("ENROLLD_MAXOPEN", "5")]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output).trim(), "ENROLLD_MAXOPEN: no key is set by this variable; did you mean ENROLLD_MAX_OPEN?");
}

#[test]
fn bad_usage_exits_with_2_and_says_how_to_get_help() {
    for arguments in [&["check"][..], &["fly"], &["demo", "--nodes", "0"], &["run", "--configuration", "x"]] {
        let output = enrolld(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn without_credentials_the_check_fails_at_once_and_says_what_is_missing() {
    // No metadata service is asked, so nothing leaves this machine.
    let variables = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let output = enrolld(&["check", "--config", &example()], &variables);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("FAIL        credentials: "), "{said}");
    assert!(said.contains("nothing else was asked without credentials"), "{said}");
}

#[test]
fn an_endpoint_without_tls_elsewhere_is_refused_before_anything_is_sent() {
    let variables = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_ENDPOINT_URL_SQS", "http://203.0.113.1")];
    let output = enrolld(&["check", "--config", &example()], &variables);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("FAIL        AWS: the endpoint"), "{}", stdout(&output));
}

#[test]
fn a_key_that_systemd_hands_over_may_have_an_access_control_list() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("credentials");
    std::fs::create_dir_all(&folder).expect("the folder is there to be written to");
    let folder = folder.to_str().expect("the path is text");
    let key = file("credentials/chef.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let registrar = format!(r#"kind = "chef-server", url = "https://chef.example.com", client_name = "enrolld", client_key = "{key}""#);
    let config = file(
        "credentials.toml",
        &format!(
            "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\n\
             registrar = {{ {registrar} }}\nkey = {{ parameter = \"/enrolld/{{instance_id}}\", require_owner = false }}\n"
        ),
    );
    let said = |mode, folder: &str| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
        let output = enrolld(&["check", "--offline", "--config", &config], &[("CREDENTIALS_DIRECTORY", folder)]);
        stdout(&output) + &stderr(&output)
    };
    // The list's mask shows as a right of the group; what is in the file is looked at then.
    assert!(said(0o440, folder).contains("no RSA key"), "{}", said(0o440, folder));
    for (mode, folder) in [(0o440, ""), (0o440, "/run/credentials/enrolld.service"), (0o444, folder), (0o460, folder)] {
        assert!(said(mode, folder).contains("chmod 600"), "{mode:o} {folder}: {}", said(mode, folder));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let example = example();
    let commands: [&[&str]; 6] = [
        &["check", "--offline", "--config", &example],
        &["check", "--offline", "--output", "json", "--config", &example],
        &["policy", "--region", "eu-central-1", "--dead-letter-queue", "none", "--config", &example],
        &["policy", "--region", "eu-central-1", "--dead-letter-queue", "none", "--output", "json", "--config", &example],
        &["launch-kit", "--route", "web", "--config", &example],
        &["completions", "bash"],
    ];
    for arguments in commands {
        // The reading end of this pipe is closed before anything is written.
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.args(arguments).env_clear().stdout(writer);
        let output = command.output().expect("the binary was built for this test");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn bash_completes_commands_and_options_from_the_printed_script() {
    let script = file("completions.bash", &stdout(&enrolld(&["completions", "bash"], &[])));
    // What bash does when somebody presses the tabulator.
    let complete = |words: &str| {
        let press = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _enrolld enrolld \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        stdout(&Command::new("bash").args(["-c", &press]).output().expect("there is a bash"))
    };
    assert_eq!(complete("enrolld dead").trim(), "dead-letters");
    assert_eq!(complete("enrolld hooks attach --role").trim(), "--role-arn");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(stdout(&enrolld(&["completions", shell], &[])).contains("dead-letters"), "{shell}");
    }
    assert_eq!(enrolld(&["completions", "tcsh"], &[]).status.code(), Some(2));
}

#[test]
fn there_is_a_manual_page_for_each_command_with_each_of_its_options() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("man");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder is there to be written to");
    let output = enrolld(&["man", folder.to_str().expect("the path is text")], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    let help = stdout(&enrolld(&["--help"], &[]));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    for command in ["run", "hooks", "launch-kit", "completions", "man"] {
        assert!(commands.contains(&command), "{command} in {commands:?}");
    }
    for command in commands {
        assert!(page("enrolld").contains(&format!("enrolld\\-{}(1)", command.replace('-', "\\-"))), "{command} is not on the first page");
        page(&format!("enrolld-{command}"));
    }
    // Those below another too, each with every option that it takes.
    let mut command = Cli::command();
    command.build();
    let mut left = vec![("enrolld".to_owned(), command)];
    let mut options = 0;
    while let Some((name, command)) = left.pop() {
        let text = page(&name);
        assert!(text.contains(&format!(".SH NAME\n{}", name.replace('-', "\\-"))), "{name}: {text}");
        let told = text.split(".SH OPTIONS").nth(1).and_then(|rest| rest.split("\n.SH ").next()).unwrap_or_default();
        for option in command.get_opts().filter(|option| !option.is_hide_set()) {
            options += 1;
            let long = format!("\\fB\\-\\-{}\\fR", option.get_long().expect("each has a long name").replace('-', "\\-"));
            assert!(told.contains(&long), "{name} has {long}, which is not in its page: {text}");
        }
        let further = command.get_subcommands().filter(|one| one.get_name() != "help" && !one.is_hide_set());
        left.extend(further.map(|one| (format!("{name}-{}", one.get_name()), one.clone())));
    }
    assert!(options > 60, "{options} options");
    assert!(page("enrolld-hooks-attach").contains("enrolld hooks attach \\-\\-config"), "the examples are there");
    let nowhere = enrolld(&["man", "/nowhere"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("/nowhere"), "{}", stderr(&nowhere));
}
