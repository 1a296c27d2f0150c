//! Values of the configuration as the shell reads them.

use crate::names::Template;

/// A text that the shell takes as it stands.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A template that the shell fills in from what the instance knows of itself.
pub(super) fn filled(template: &Template) -> String {
    let mut text = String::new();
    for c in template.source().chars() {
        if matches!(c, '"' | '$' | '`' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    for (placeholder, variable) in
        [("{instance_id}", "$INSTANCE_ID"), ("{group}", "$GROUP"), ("{account}", "$ACCOUNT"), ("{region}", "$REGION")]
    {
        text = text.replace(placeholder, &format!("${{{}}}", &variable[1..]));
    }
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_is_read_by_the_shell() {
        assert_eq!(quoted("it's $(here)"), r"'it'\''s $(here)'");
        let template = Template::new("/a\"$(b)`c`\\/{instance_id}").unwrap();
        assert_eq!(filled(&template), "\"/a\\\"\\$(b)\\`c\\`\\\\/${INSTANCE_ID}\"");
    }
}
