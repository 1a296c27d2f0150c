//! What the documentation shows is taken by the reader of configurations, so that it cannot be true of last week only.

use std::fs;
use std::path::Path;

use enrolld::config;
use enrolld::registrar::{KINDS, meaning};

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
fn the_page_of_each_registrar_says_what_its_failures_mean() {
    for kind in KINDS {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(kind.page));
        let page = page.unwrap_or_else(|error| panic!("docs/{}: {error}", kind.page));
        let table = meaning::markdown(kind.errors);
        assert!(page.contains(&table), "docs/{} should hold this as it is:\n\n{table}", kind.page);
    }
}
