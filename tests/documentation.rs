//! What the documentation shows is taken by the reader of configurations, so that it cannot be true of last week only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use enrolld::config;
use enrolld::registrar::{KINDS, meaning};

/// The bench that draws the README's curve is no library.
#[path = "../benches/fleet/axis.rs"]
mod axis;

#[test]
fn an_axis_is_labelled_with_short_numbers() {
    let labels = |most: f64| [0.0, 1.0, 2.0, 3.0, 4.0].map(|step| axis::label(most * step / 4.0, most));
    assert_eq!(labels(0.4), ["0", "0.1", "0.2", "0.3", "0.4"]);
    assert_eq!(labels(0.1), ["0", "0.025", "0.05", "0.075", "0.1"]);
    assert_eq!(labels(1.0), ["0", "0.25", "0.5", "0.75", "1"]);
    assert_eq!(labels(10.0), ["0", "2.5", "5", "7.5", "10"]);
    assert_eq!(labels(80.0), ["0", "20", "40", "60", "80"]);
    assert_eq!(labels(1000.0), ["0", "250", "500", "750", "1000"]);
    let drawn = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.svg")).expect("it is there");
    let texts = drawn.split("</text>").filter_map(|part| part.rsplit('>').next());
    let long: Vec<_> = texts.filter(|text| text.len() > 5 && text.parse::<f64>().is_ok()).collect();
    assert_eq!(long, [""; 0], "the README's curve");
}

/// The TOML blocks of a page that show routes, with the place of each.
fn routes_shown(page: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(page).expect("the page is there");
    let mut blocks = Vec::new();
    for (at, part) in text.split("```toml\n").enumerate().skip(1) {
        let block = part.split("```").next().unwrap_or_default();
        // Blocks in a list are indented with it.
        let indent = block.lines().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len()).min();
        let lines = block.lines().map(|line| line.get(indent.unwrap_or(0)..).unwrap_or_default());
        let block = lines.collect::<Vec<_>>().join("\n");
        if block.contains("[[route]]") {
            blocks.push((format!("{} block {at}", page.display()), block));
        }
    }
    blocks
}

#[test]
fn every_configuration_that_the_documentation_shows_is_one_that_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("there are docs").map(|entry| entry.expect("it can be read").path());
    let mut shown = routes_shown(&root.join("README.md"));
    shown.extend(docs.filter(|page| page.extension().is_some_and(|ext| ext == "md")).flat_map(|page| routes_shown(&page)));
    assert!(shown.len() >= 4, "only {} configurations are shown", shown.len());
    for (place, mut block) in shown {
        if !block.contains("queue_url") {
            block.insert_str(0, "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n");
        }
        if let Err(problems) = config::parse(&block, &place, &config::Environment::new()) {
            panic!("{problems}\n{block}");
        }
    }
}

#[test]
fn enrolled_is_not_converged_stands_before_anything_that_is_to_be_done() {
    for page in ["README.md", "deploy/README.md", "docs/launch-kit.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page is there");
        let said = text.find("\n**Enrolled is not converged.**").unwrap_or_else(|| panic!("{page} does not say it"));
        assert!(said < text.find("```").expect("it shows something") && said < text.find("\n## ").expect("it has parts"), "{page}");
        assert!(text[..said].matches("\n\n").count() <= 2, "{page}: no more than one paragraph stands before it");
    }
}

#[test]
fn every_page_that_the_documentation_links_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                assert!(root.join(link).exists(), "{page} links {link}, which is not there");
            }
        }
    }
}

#[test]
fn every_metric_stands_in_its_page_and_the_page_names_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/metrics.md")).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `enrolld_"));
    let documented: BTreeMap<String, String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(cells.len() == 6 && cells[4].len() > 10, "{row}");
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
        })
        .collect();
    let exposed: BTreeMap<String, String> = enrolld::observe::Metrics::new().described().iter().cloned().collect();
    assert!(exposed.len() > 10, "{exposed:?}");
    assert_eq!(documented, exposed, "docs/metrics.md against what the worker exposes");
    // What the alerts ask for is there, too.
    for word in page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("enrolld_")) {
        assert!(exposed.contains_key(word), "docs/metrics.md names {word}, which is not exposed");
    }
}

/// The names of tests in a row of SECURITY.md, each with its file: a name stands in the file that was named last.
fn tests_named(row: &str) -> Vec<(&str, &str)> {
    let (mut file, mut named) = ("", Vec::new());
    for word in row.split('`').skip(1).step_by(2) {
        if [".rs", ".py"].iter().any(|end| word.ends_with(end)) {
            file = word;
        } else if word.matches('_').count() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            named.push((file, word));
        }
    }
    named
}

#[test]
fn each_threat_has_its_answer_and_its_tests_and_each_of_them_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("the page is there");
    let threats = text.split("## Threats, answers, tests").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("it has its threats");
    let rows: Vec<&str> = threats.lines().filter(|line| line.starts_with("| ")).collect();
    let rows: Vec<&str> = rows.into_iter().filter(|row| !row.starts_with("| threat") && !row.starts_with("| ---")).collect();
    assert!(rows.len() >= 30, "only {} threats", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "threat, answer, tests: {row}");
        let named = tests_named(cells[2]);
        assert!(!named.is_empty(), "no test: {row}");
        for (file, name) in named {
            let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let is_there = [format!("fn {name}("), format!("def {name}(")].iter().any(|head| source.contains(head));
            assert!(is_there, "{file} has no test {name}");
        }
    }
}

/// How a worker is started: by a person's command, by a test's, or as a part of the test.
const STARTS: [&str; 7] = [
    "\"run\", \"--config\"",
    "arg(\"run\")",
    ".command(\"run\")",
    "enrolld run \\",
    "Worker::new(",
    "Worker::in_time(",
    "second[\"Command\"]",
];

/// The same of a bench, whose own `command` confines what it starts.
const STARTED_BY_A_BENCH: &str = "command(&[\"run\"])";

/// The calls that hold a worker to the policy of its configuration.
const CONFINES: [&str; 6] = [
    "permissions::confine(",
    "permissions::key_for(",
    "confinement.confine(",
    "processes.confined(",
    "simulator.confine(",
    "python3 tests/common/confinement.py ",
];

/// The calls that look in the end whether a worker was refused something.
const LOOKS: [&str; 4] = ["permissions::nothing_was_beyond(", "confinement.beyond(", "processes.confined(", "AccessDenied"];

/// How many lines of code have one of these; what a comment or an assertion says of them is not counted.
fn lines_with(text: &str, words: &[&str]) -> usize {
    let code = text.lines().map(str::trim_start);
    code.filter(|line| !["//", "#", "assert"].iter().any(|beginning| line.starts_with(beginning)))
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .count()
}

/// All files below a folder.
fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let entry = entry.expect("it can be read");
        if entry.file_type().expect("it has one").is_dir() { files_below(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

/// docs/policy.md says so of every worker, and a new test is easily forgotten: in each file as many are confined as are started, and whoever confines looks in the
/// end, there or in its folder.
#[test]
fn whatever_starts_a_worker_confines_it_to_the_policy_of_its_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ["tests", "benches"].iter().for_each(|folder| files_below(&root.join(folder), &mut files));
    let read = |file: &Path| Some((file.strip_prefix(root).expect("it is below").display().to_string(), fs::read_to_string(file).ok()?));
    let texts: Vec<(String, String)> = files.iter().filter_map(|file| read(file)).collect();
    let folder = |name: &str| name.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned());
    let looks = |of: &str| {
        let beside = texts.iter().filter(|(name, _)| of == name || (folder(of) != "tests" && folder(of) == folder(name)));
        beside.map(|(_, text)| lines_with(text, &LOOKS)).sum::<usize>() > 0
    };
    let mut starting = 0;
    for (name, text) in &texts {
        // What they start is refused before it makes a call, or is spoken to by nobody who could weigh one, or is no test; and this file, which only
        // says how.
        let harmless = ["tests/documentation.rs", "tests/security/wire.rs", "tests/deploy/test_terraform.py", "benches/layout/make"];
        if harmless.contains(&name.as_str()) {
            continue;
        }
        let (starts, confines) = (lines_with(text, &STARTS), lines_with(text, &CONFINES));
        starting += starts + lines_with(text, &[STARTED_BY_A_BENCH]);
        assert!(confines >= starts, "{name} starts {starts} workers, and confines {confines} to their policies");
        assert!(starts == 0 || looks(name), "{name} starts workers, and nobody looks whether they were refused anything");
        if text.contains("fn command(&self, arguments: &[&str]) -> Command") {
            assert!(confines > 0 && looks(name), "{name}: what its command starts is not confined to its policy");
        }
    }
    assert!(starting >= 16, "only {starting} places start a worker");
}

#[test]
fn the_page_of_each_registrar_says_what_its_failures_mean() {
    for kind in KINDS {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(kind.page));
        let page = page.unwrap_or_else(|error| panic!("docs/{}: {error}", kind.page));
        let table = meaning::markdown(kind.errors);
        assert!(page.contains(&table), "docs/{} should hold this as it is:\n\n{table}", kind.page);
    }
}

/// The codes of a line of code that makes a reason.
fn codes_in(line: &str) -> Vec<&str> {
    const MAKES: [&str; 7] = [
        "undeliverable(\"",
        "Reason::new(\"",
        "self.doubt(id, \"",
        "self.end_gone(id, \"",
        "Class::Final, \"",
        "Refusal::new(\"",
        "Refusal::alarm(\"",
    ];
    let begins = MAKES.iter().flat_map(|makes| line.match_indices(makes).map(|(at, found)| at + found.len()));
    begins.filter_map(|at| line[at..].split('"').next()).collect()
}

#[test]
fn every_reason_of_a_dead_letter_stands_in_its_page() {
    /// Ends that write no letter, what is a log line alone, and what cannot happen unless the core is wrong.
    const NO_LETTER: [&str; 11] = [
        "completed",
        "in_service",
        "in_pool",
        "detached",
        "closed",
        "terminated",
        "terminating",
        "disputed_token",
        "panic",
        "no_parameter",
        "wrong_key_source",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/dead-letters.md")).unwrap();
    let mut files = Vec::new();
    for room in ["core", "key_material"] {
        files_below(&root.join("src").join(room), &mut files);
    }
    let mut seen = 0;
    let is_test = |file: &Path| file.strip_prefix(root).unwrap().to_string_lossy().contains("tests");
    for file in files.iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for code in code.lines().flat_map(codes_in).filter(|code| !NO_LETTER.contains(code)) {
            seen += 1;
            assert!(page.contains(&format!("`{code}`")), "{}: docs/dead-letters.md does not say what {code} means", file.display());
        }
    }
    assert!(seen > 30, "only {seen} reasons were found");
}
