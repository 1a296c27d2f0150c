//! The PEM files that a registrar is given: certificates, and private keys that nobody else may read.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

/// A file beyond this size is no PEM file of ours: the largest are bundles of all public authorities, at about 250 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is wrong with a file. The text never repeats what is in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {wrong}; {right}", path.display())]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: String,
    /// What would be right.
    pub right: &'static str,
}

/// A private key as it stands in its file: wiped when dropped, never shown.
#[derive(Clone)]
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    form: Form,
}

/// The form of a private key, by its PEM label.
#[derive(Clone, Copy)]
enum Form {
    /// `RSA PRIVATE KEY`
    Pkcs1,
    /// `PRIVATE KEY`
    Pkcs8,
    /// `EC PRIVATE KEY`
    Sec1,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

impl PrivateKey {
    /// Reads a private key from a PEM file that its owner alone may read.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or it holds no private key that is not encrypted.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read(path, true)?;
        Self::from_pem(&text).ok_or_else(|| {
            let encrypted = contains(&text, b"ENCRYPTED");
            refused(
                path,
                if encrypted { "its private key is encrypted" } else { "there is no PEM private key in it" },
                "name a file with an unencrypted key in PEM, kept by its permissions",
            )
        })
    }

    /// Takes a private key from its PEM text.
    #[must_use]
    pub fn from_pem(text: &[u8]) -> Option<Self> {
        // Encrypted keys of the old form have the label of an open one, and say so in a header.
        if contains(text, b"Proc-Type:") {
            return None;
        }
        let (der, form) = match PrivateKeyDer::from_pem_slice(text).ok()? {
            PrivateKeyDer::Pkcs1(key) => (key.secret_pkcs1_der().to_vec(), Form::Pkcs1),
            PrivateKeyDer::Pkcs8(key) => (key.secret_pkcs8_der().to_vec(), Form::Pkcs8),
            PrivateKeyDer::Sec1(key) => (key.secret_sec1_der().to_vec(), Form::Sec1),
            _ => return None,
        };
        Some(Self { der: Zeroizing::new(der), form })
    }

    /// The key as an RSA key that signs; none where it is another kind of key.
    #[must_use]
    pub fn rsa(&self) -> Option<aws_lc_rs::rsa::KeyPair> {
        match self.form {
            Form::Pkcs1 => aws_lc_rs::rsa::KeyPair::from_der(&self.der).ok(),
            Form::Pkcs8 => aws_lc_rs::rsa::KeyPair::from_pkcs8(&self.der).ok(),
            Form::Sec1 => None,
        }
    }

    /// The key as rustls takes it.
    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        let der = self.der.to_vec();
        match self.form {
            Form::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
            Form::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
            Form::Sec1 => PrivateSec1KeyDer::from(der).into(),
        }
    }
}

/// Reads the certificates of a PEM file, in their order; at least one.
///
/// # Errors
/// The file cannot be read, or holds no certificate, or a broken one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path, false)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(refused(path, "there is no certificate in it that can be read", "name a file with certificates in PEM")),
    }
}

/// Reads a file of a PEM file's size. Owner and permissions are asked of the opened file, so that it is the one that is read.
fn read(path: &Path, private: bool) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let cannot = |error: std::io::Error| refused(path, format!("it cannot be read ({error})"), "name a file that this user may read");
    let file = File::open(path).map_err(cannot)?;
    let facts = file.metadata().map_err(cannot)?;
    if !facts.is_file() || facts.len() > MAX_BYTES {
        return Err(refused(path, "it is no file, or larger than 1 MiB", "name a PEM file"));
    }
    if private && facts.mode() & 0o077 != 0 && !is_credential(path, facts.mode()) {
        let wrong = format!("it holds a private key, and others than its owner may use it (mode {:04o})", facts.mode() & 0o7777);
        return Err(refused(path, wrong, "take the rights of group and others away (chmod 600)"));
    }
    // With its full size at once, so that no half of a key stays behind where a smaller buffer was.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(facts.len()).unwrap_or_default() + 1));
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(cannot)?;
    Ok(text)
}

/// Whether this is a credential that systemd handed over (`LoadCredential=`). The unit's user may read one by an access control list, whose mask is
/// shown as the group's right; the folder lets nobody else in.
fn is_credential(path: &Path, mode: u32) -> bool {
    mode & 0o037 == 0 && std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

fn refused(path: &Path, wrong: impl Into<String>, right: &'static str) -> FileError {
    FileError { path: path.to_owned(), wrong: wrong.into(), right }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(name: &str, text: &str, mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("enrolld-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_private_key_that_others_may_read_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for mode in [0o640, 0o604, 0o644, 0o660, 0o610] {
            let path = file("open.pem", &key, mode);
            let error = PrivateKey::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && !error.contains("PRIVATE KEY"), "{error}");
            std::fs::remove_file(path).unwrap();
        }
        let path = file("closed.pem", &key, 0o400);
        assert_eq!(format!("{:?}", PrivateKey::read(&path).unwrap()), "PrivateKey(redacted)");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_open_private_key_is_refused_with_its_reason() {
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for (name, text, reason) in [
            ("new.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
            ("old.pem", old, "encrypted"),
            ("public.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM private key"),
            ("empty.pem", "", "no PEM private key"),
        ] {
            let path = file(name, text, 0o600);
            let error = PrivateKey::read(&path).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            std::fs::remove_file(path).unwrap();
        }
        assert!(PrivateKey::read(Path::new("/nowhere/key.pem")).is_err());
        assert!(PrivateKey::read(Path::new("/")).is_err());
    }
}
