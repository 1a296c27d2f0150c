//! What holds for any text and any value.

use proptest::prelude::*;

use super::tests::{GOOD, OTHER_VALUES, file_of, read, refusal, top};
use super::*;

/// Text that is nearly a configuration: pieces of good ones, put together at random.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(keys::tables(KINDS)).prop_flat_map(|(_, keys)| prop::sample::select(keys).prop_map(|key| key.name.to_owned())),
        prop::sample::select(vec![
            "=",
            " = ",
            "\n",
            "[",
            "]",
            "[[route]]\n",
            "[route.key]\n",
            "{",
            "}",
            ",",
            "\"",
            "'",
            "\"\"\"",
            ".",
            "#",
            "0",
            "-1",
            "1e9",
            "true",
            "\"5s\"",
            "\"{instance_id}\"",
            "\"off\"",
            "[[",
            "]]",
            "\"\\u0000\"",
            "é",
            "[a.b]\n",
            "[[a]]\n",
            "a.b = 1\n",
            "a = 1\n",
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

#[test]
fn odd_toml_is_refused_without_a_panic() {
    for text in [
        "a.b = 1\n[[a]]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "route.name = 1\n[[route]]",
        "[[route]]\n[route.key]\n[route.key]",
        "[[route]]\nkey.a.b = 1\n[[route.key]]",
    ] {
        refusal(text);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".*", variable in "ENROLLD_[A-Za-z_]{0,30}", value in ".*") {
        let environment = Environment::from([(variable, value)]);
        let _ = parse(&text, "f", &environment);
        let _ = parse(GOOD, "f", &environment);
    }

    #[test]
    fn nothing_that_is_nearly_a_configuration_makes_the_reader_panic(text in nearly()) {
        let _ = parse(&text, "f", &Environment::new());
        let _ = parse(&format!("{GOOD}\n{text}"), "f", &Environment::new());
    }

    #[test]
    fn a_value_of_any_kind_under_any_key_is_read_or_refused(
        which in prop::sample::select(OTHER_VALUES),
        value in prop::sample::select(vec!["0", "-1", "1.5", "nan", "\"\"", "\"x\"", "\"-5s\"", "[]", "[[]]", "{}", "[{}]", "false", "9223372036854775807", "\"9999999999999999h\"", "\"\\u0000\""]),
    ) {
        let (table, key, _) = which;
        let _ = read(&file_of(&[(table, key, value)]));
    }

    #[test]
    fn an_extension_that_the_reader_takes_is_one_that_requests_can_be_checked_for(oid in "[0-3](\\.[0-9]{1,6}){1,6}|2\\.5\\.29\\.[0-9]{1,2}|1\\.3\\.6\\.1\\.4\\.1\\.34380\\.1\\.[0-9]\\.[0-9]{1,2}") {
        if rules::oid(&oid).is_ok() {
            let rules = crate::key_material::CsrRules::new([(oid.as_str(), "*")]);
            prop_assert!(rules.is_ok(), "{:?}", rules.err());
        }
    }

    #[test]
    fn whatever_is_read_can_be_told_to_the_core(value in 1_u32..100_000, wait in 1_u64..20) {
        if let Ok(config) = read(&top(&format!("max_open = {value}\npoll_wait = \"{wait}s\""))) {
            let settings = config.core_settings();
            prop_assert_eq!(settings.max_open, value as usize);
            prop_assert_eq!(settings.poll_wait.as_secs(), wait);
        }
    }
}
