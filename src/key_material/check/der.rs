//! A strict reader of DER: every length definite and as short as it can be, every integer minimal, nothing left over.
//!
//! What is read here is handed to servers that read it again with parsers of their own. A lenient reading could see less than
//! theirs does, so the structure of a key or a request is taken apart by this one and anything it does not expect is refused.

/// `INTEGER`
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`
pub(super) const OID: u8 = 0x06;
/// `BOOLEAN`
pub(super) const BOOLEAN: u8 = 0x01;
/// `UTF8String`
pub(super) const UTF8_STRING: u8 = 0x0c;
/// `PrintableString`
pub(super) const PRINTABLE_STRING: u8 = 0x13;
/// `IA5String`
pub(super) const IA5_STRING: u8 = 0x16;
/// `SEQUENCE`
pub(super) const SEQUENCE: u8 = 0x30;
/// `SET`
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed: the attributes of a certification request.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[2]`, primitive: a `dNSName` among general names.
pub(super) const DNS_NAME: u8 = 0x82;

/// Reads elements one after the other. `None` always means: not what was expected, or not strict DER.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element's tag and content.
    pub(super) fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        if tag & 0x1f == 0x1f {
            return None; // tags above 30 stand in no structure that is read here
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                if bytes[0] == 0 || length < 0x80 {
                    return None;
                }
                (length, rest)
            }
            _ => return None, // an indefinite length, or more than 16 MiB
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.element()?;
        (found == tag).then_some(content)
    }

    /// A reader of the inside of the next element, which must have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// What lies between this reader and a copy of it that has read on.
    pub(super) fn up_to(&mut self, ahead: &Self) -> Option<&'a [u8]> {
        let (between, rest) = self.0.split_at_checked(self.0.len().checked_sub(ahead.0.len())?)?;
        self.0 = rest;
        Some(between)
    }

    /// The magnitude of the next element, which must be a positive integer, without a leading zero.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)? {
            [0, magnitude @ ..] if magnitude.first().is_some_and(|first| *first >= 0x80) => Some(magnitude),
            magnitude @ [0x01..=0x7f, ..] => Some(magnitude),
            _ => None,
        }
    }

    /// The bytes of the next element, which must be an object identifier, each of its numbers as short as it can be (X.690, section 8.19.2):
    /// a reader that takes a longer form for the same identifier would see what a comparison of bytes does not.
    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(OID)?;
        let mut begins = true;
        for byte in bytes {
            if begins && *byte == 0x80 {
                return None;
            }
            begins = *byte < 0x80;
        }
        (begins && !bytes.is_empty()).then_some(bytes)
    }

    /// The whole octets of the next element, which must be a bit string without a broken octet.
    pub(super) fn octets_of_bits(&mut self) -> Option<&'a [u8]> {
        self.take(BIT_STRING)?.strip_prefix(&[0])
    }
}

/// The content of bytes that must be one element with this tag and nothing more.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.take(tag)?;
    reader.is_empty().then_some(content)
}

/// A reader of the inside of bytes that must be one element with this tag and nothing more.
pub(super) fn inside(bytes: &[u8], tag: u8) -> Option<Reader<'_>> {
    only(bytes, tag).map(Reader::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_must_be_as_short_as_they_can_be() {
        assert_eq!(only(&[0x04, 0x01, 7], OCTET_STRING), Some(&[7][..]));
        for bad in [
            &[0x04, 0x81, 0x01, 7][..],       // one byte more than it takes
            &[0x04, 0x82, 0x00, 0x01, 7][..], // a leading zero
            &[0x24, 0x80, 0x00, 0x00][..],    // indefinite
            &[0x04, 0x02, 7][..],             // more than there is
            &[0x04, 0x01, 7, 7][..],          // something after it
            &[0x04][..],
            &[][..],
        ] {
            assert_eq!(only(bad, OCTET_STRING), None, "{bad:?}");
        }
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([1; 0x80]);
        assert_eq!(only(&long, OCTET_STRING).map(<[u8]>::len), Some(0x80));
    }

    #[test]
    fn integers_must_be_positive_and_minimal() {
        let positive = |bytes: &'static [u8]| Reader::new(bytes).positive();
        assert_eq!(positive(&[2, 1, 3]), Some(&[3][..]));
        assert_eq!(positive(&[2, 2, 0, 0x80]), Some(&[0x80][..]));
        assert_eq!(positive(&[2, 2, 0, 3]), None);
        assert_eq!(positive(&[2, 1, 0x80]), None);
        assert_eq!(positive(&[2, 1, 0]), None);
        assert_eq!(positive(&[2, 0]), None);
    }

    #[test]
    fn object_identifiers_must_be_whole_and_minimal() {
        let oid = |bytes: &'static [u8]| Reader::new(bytes).oid();
        assert_eq!(oid(&[6, 3, 0x2a, 0x86, 0x48]), Some(&[0x2a, 0x86, 0x48][..]));
        for bad in [
            &[6, 0][..],
            &[6, 2, 0x2a, 0x86],       // a number that does not end
            &[6, 3, 0x2a, 0x80, 0x0e], // one with a zero before it
            &[6, 3, 0x80, 0x2a, 0x03], // the first of all
            &[4, 1, 0x2a],
        ] {
            assert_eq!(oid(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.element().is_some() {}
        }
    }
}
