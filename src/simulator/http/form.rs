//! Reading the form bodies of the query protocol.

use crate::simulator::model::error::{Answer, ApiError};

/// The parameters of a query call.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// The members of a list, `NAME.member.1` and so on, in the order of their numbers.
    pub fn list(&self, name: &str) -> Vec<String> {
        let member = |(key, value): &(String, String)| {
            let number = key.strip_prefix(name)?.strip_prefix(".member.")?.parse::<u32>().ok()?;
            Some((number, value.clone()))
        };
        let mut members: Vec<(u32, String)> = self.0.iter().filter_map(member).collect();
        members.sort_by_key(|(number, _)| *number);
        members.into_iter().map(|(_, value)| value).collect()
    }

    pub fn number(&self, name: &str) -> Answer<Option<i64>> {
        let parse = |text: &str| text.parse().map_err(|_| ApiError::client("MalformedInput", format!("{name}: not a number: {text}")));
        self.get(name).map(parse).transpose()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_the_order_of_their_numbers() {
        let form = Form::parse(b"Action=A&Ids.member.10=j&Ids.member.2=b&Ids.member.1=a+%26&Other.member.1=x");
        assert_eq!(form.list("Ids"), ["a &", "b", "j"]);
        assert_eq!(form.get("Action"), Some("A"));
        assert_eq!(form.number("Missing"), Ok(None));
        assert!(form.number("Action").is_err());
    }
}
