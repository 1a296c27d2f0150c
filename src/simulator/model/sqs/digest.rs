//! The MD5 sums with which clients check what they sent and received.

use aws_smithy_types::base64;
use md5::{Digest as _, Md5};

use super::wire::MessageAttributes;

pub fn of_body(body: &str) -> String {
    hex(Md5::new_with_prefix(body))
}

/// The sum over attributes, by the rules in SQS's guide: sorted by name; name, type and value each after
/// its length (four bytes, big endian), the value also after a byte that says whether it is text (1) or binary (2).
pub fn of_attributes(attributes: &MessageAttributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sum = Md5::new();
    for (name, attribute) in attributes {
        field(&mut sum, name.as_bytes());
        field(&mut sum, attribute.data_type.as_bytes());
        if let Some(binary) = &attribute.binary_value {
            sum.update([2]);
            field(&mut sum, &base64::decode(binary).unwrap_or_default());
        } else {
            sum.update([1]);
            field(&mut sum, attribute.string_value.as_deref().unwrap_or_default().as_bytes());
        }
    }
    Some(hex(sum))
}

fn field(sum: &mut Md5, bytes: &[u8]) {
    // Nothing longer than a message (1 MiB) gets here.
    sum.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    sum.update(bytes);
}

fn hex(sum: Md5) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(32);
    for byte in sum.finalize() {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::sqs::wire::MessageAttribute;

    #[test]
    fn sums_are_those_that_sqs_answers() {
        assert_eq!(of_body("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
        let text = |value: &str| MessageAttribute { data_type: "String".into(), string_value: Some(value.into()), binary_value: None };
        let attributes = MessageAttributes::from([("timestamp".into(), text("1493147359900"))]);
        let number = MessageAttribute { data_type: "Number".into(), ..text("1493147359900") };
        let numbers = MessageAttributes::from([("timestamp".into(), number)]);
        assert_eq!(of_attributes(&numbers).as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
        assert_ne!(of_attributes(&attributes), of_attributes(&numbers));
        assert_eq!(of_attributes(&MessageAttributes::new()), None);
    }
}
