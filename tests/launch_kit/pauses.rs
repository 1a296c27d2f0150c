//! How the script waits between its tries.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn pauses_are_spread_over_half_of_what_they_are_at_most() {
    let script = format!("sleep() {{ echo \"$1\"; }}\n{}\nfor one in $(seq 200); do nap \"$0\"; done", nap());
    for (seconds, least) in [(60, 30), (7, 4), (2, 1), (1, 1)] {
        let output = Command::new("sh").args(["-euc", &script, &seconds.to_string()]).output().expect("there is a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pauses: Vec<u32> = String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(pauses.len(), 200);
        assert!(pauses.iter().all(|pause| (least..=seconds).contains(pause)), "{seconds}: {pauses:?}");
        let different = pauses.iter().collect::<BTreeSet<_>>().len();
        // Of 31 that there can be, 200 draws leave out ten by a chance that need not be reckoned with.
        let enough = if seconds == 60 { 20 } else { (seconds - least + 1) as usize };
        assert!(different >= enough, "{seconds}: {pauses:?}");
    }
}

/// The kit's own `nap`, as it stands.
fn nap() -> &'static str {
    let common = enrolld::launch_kit::parts::COMMON;
    let begin = common.find("\nnap() {").expect("it is there");
    let end = common[begin..].find("\n}\n").expect("it ends");
    &common[begin..begin + end + 2]
}
