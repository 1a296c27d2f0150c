//! Writing the XML of the query protocol.

/// An XML document in the making.
pub(super) struct Xml(String);

impl Xml {
    pub fn new(root: &str, namespace: &str) -> Self {
        let mut out = String::with_capacity(512);
        out.push('<');
        out.push_str(root);
        out.push_str(" xmlns=\"");
        out.push_str(namespace);
        out.push_str("\">");
        Self(out)
    }

    pub fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    pub fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    pub fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.text(text);
        self.close(name);
    }

    pub fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.leaf(name, &number.to_string());
    }

    pub fn maybe(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(name, text);
        }
    }

    /// A list; each member is written by `write`.
    pub fn list<T>(&mut self, name: &str, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.open(name);
        for item in items {
            self.open("member");
            write(self, item);
            self.close("member");
        }
        self.close(name);
    }

    pub fn text(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // What XML 1.0 cannot say is left out.
                '\t' | '\n' | '\r' | ' '.. => self.0.push(char),
                _ => {}
            }
        }
    }

    pub fn finish(mut self, root: &str) -> Vec<u8> {
        self.close(root);
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut xml = Xml::new("R", "n");
        xml.leaf("A", "<b>&\"\u{0}");
        assert_eq!(xml.finish("R"), b"<R xmlns=\"n\"><A>&lt;b&gt;&amp;&quot;</A></R>");
    }
}
