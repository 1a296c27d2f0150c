//! The PEM files that a registrar is given: certificates, and private keys that are ours and that nobody else may read.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
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

/// A private key as it stands in its file: wiped with its last copy, never shown.
#[derive(Clone)]
pub struct PrivateKey(Arc<Zeroizing<PrivateKeyDer<'static>>>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

impl PrivateKey {
    /// Reads a private key from a PEM file of this user or of root, that its owner alone may read.
    ///
    /// # Errors
    /// The file cannot be read, is somebody else's, others may read it, or it holds no private key that is not encrypted.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::read_in(path, &Surroundings::of_this_process())
    }

    fn read_in(path: &Path, surroundings: &Surroundings) -> Result<Self, FileError> {
        let text = read(path, Some(surroundings))?;
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
        Some(Self(Arc::new(Zeroizing::new(PrivateKeyDer::from_pem_slice(text).ok()?))))
    }

    /// The key as an RSA key that signs; none where it is another kind of key.
    #[must_use]
    pub fn rsa(&self) -> Option<aws_lc_rs::rsa::KeyPair> {
        match &**self.0 {
            PrivateKeyDer::Pkcs1(key) => aws_lc_rs::rsa::KeyPair::from_der(key.secret_pkcs1_der()).ok(),
            PrivateKeyDer::Pkcs8(key) => aws_lc_rs::rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
            _ => None,
        }
    }

    /// The key as rustls signs with it. It is read in its place: a copy for rustls would be let go of unwiped.
    ///
    /// # Errors
    /// It is of no kind that TLS signs with.
    pub(super) fn for_tls(&self) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        any_supported_type(&self.0)
    }
}

/// Reads the certificates of a PEM file, in their order; at least one.
///
/// # Errors
/// The file cannot be read, or holds no certificate, or a broken one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path, None)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(refused(path, "there is no certificate in it that can be read", "name a file with certificates in PEM")),
    }
}

/// What a private key's file is judged by.
struct Surroundings {
    /// As whom this process acts.
    user: u32,
    /// The folder of the credentials that systemd handed over.
    credentials: Option<PathBuf>,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        Self { user: rustix::process::geteuid().as_raw(), credentials: folder.map(PathBuf::from) }
    }

    /// What is wrong with a private key's file, and what would be right.
    fn objection(&self, path: &Path, facts: &Metadata) -> Option<(String, &'static str)> {
        let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
        // Whoever owns a file has read what is in it, or put it there, and can change it at any time.
        if owner != self.user && owner != 0 {
            let wrong = format!("it holds a private key, and belongs to user {owner}, who is neither this one ({}) nor root", self.user);
            return Some((wrong, "have it belong to the user that enrolld runs as, or to root (chown)"));
        }
        if mode & 0o077 != 0 && !self.is_credential(path, facts) {
            let wrong = format!("it holds a private key, and others than its owner may use it (mode {mode:04o})");
            return Some((wrong, "take the rights of group and others away (chmod 600)"));
        }
        None
    }

    /// Whether this is a credential that systemd handed over (`LoadCredential=`). The unit's user may read one by an access control list, whose
    /// mask is shown as the group's right; the folder lets nobody else in. What a link or `..` leads to from there stands elsewhere.
    fn is_credential(&self, path: &Path, facts: &Metadata) -> bool {
        let Some(Ok(folder)) = self.credentials.as_deref().map(Path::canonicalize) else { return false };
        let Ok(real) = path.canonicalize() else { return false };
        // The path may lead elsewhere by now than when the file was opened.
        let is_the_same = real.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (facts.dev(), facts.ino()));
        facts.mode() & 0o037 == 0 && real.starts_with(folder) && is_the_same
    }
}

/// Reads a file of a PEM file's size; with surroundings, one that holds a private key. Owner and permissions are asked of the opened file, so
/// that it is the one that is read.
fn read(path: &Path, private: Option<&Surroundings>) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let cannot = |error: std::io::Error| refused(path, format!("it cannot be read ({error})"), "name a file that this user may read");
    let file = File::open(path).map_err(cannot)?;
    let facts = file.metadata().map_err(cannot)?;
    if !facts.is_file() || facts.len() > MAX_BYTES {
        return Err(refused(path, "it is no file, or larger than 1 MiB", "name a PEM file"));
    }
    if let Some((wrong, right)) = private.and_then(|surroundings| surroundings.objection(path, &facts)) {
        return Err(refused(path, wrong, right));
    }
    // With its full size at once, so that no half of a key stays behind where a smaller buffer was.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(facts.len()).unwrap_or_default() + 1));
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(cannot)?;
    Ok(text)
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
    fn a_private_key_that_belongs_to_somebody_else_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let path = file("foreign.pem", &key, 0o600);
        let ours = Surroundings::of_this_process();
        assert!(PrivateKey::read(&path).is_ok());
        // Root gives the file away; whoever may not is taken for another than its owner.
        let other = if ours.user == 0 {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            ours
        } else {
            Surroundings { user: ours.user + 1, credentials: None }
        };
        let error = PrivateKey::read_in(&path, &other).unwrap_err().to_string();
        assert!(error.contains("neither this one") && error.contains("chown") && !error.contains("PRIVATE KEY"), "{error}");
        // Nor by way of the folder of credentials.
        let handed = Surroundings { credentials: Some(std::env::temp_dir()), ..other };
        assert!(PrivateKey::read_in(&path, &handed).is_err());
        // Its certificates are nobody's secret.
        assert!(read_certificates(&path).unwrap_err().to_string().contains("no certificate"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_credential_of_systemd_may_show_a_right_of_the_group_and_what_its_folder_only_leads_to_may_not() {
        let root = std::env::temp_dir().join(format!("enrolld-{}-credentials", std::process::id()));
        let (folder, beside) = (root.join("folder"), root.join("beside"));
        [&folder, &beside].iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for path in [folder.join("key.pem"), beside.join("key.pem")] {
            std::fs::write(&path, &key).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        }
        std::os::unix::fs::symlink(beside.join("key.pem"), folder.join("link.pem")).unwrap();
        std::os::unix::fs::symlink(&folder, root.join("alias")).unwrap();
        let read = |credentials: Option<&Path>, path: PathBuf| {
            let surroundings = Surroundings { credentials: credentials.map(Path::to_owned), ..Surroundings::of_this_process() };
            PrivateKey::read_in(&path, &surroundings).map(drop).map_err(|error| error.to_string())
        };
        for good in [folder.join("key.pem"), root.join("alias/key.pem"), beside.join("../folder/key.pem")] {
            assert_eq!(read(Some(&folder), good.clone()), Ok(()), "{}", good.display());
            assert_eq!(read(Some(&root.join("alias")), good.clone()), Ok(()), "{}", good.display());
            assert!(read(None, good).is_err());
        }
        for bad in [folder.join("../beside/key.pem"), folder.join("link.pem"), beside.join("key.pem")] {
            assert!(read(Some(&folder), bad.clone()).unwrap_err().contains("chmod 600"), "{}", bad.display());
        }
        std::fs::set_permissions(folder.join("key.pem"), std::fs::Permissions::from_mode(0o444)).unwrap();
        assert!(read(Some(&folder), folder.join("key.pem")).is_err(), "everybody may read it");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_private_key_is_wiped_with_its_last_copy() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let key = PrivateKey::from_pem(rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
        is_wiped(&*key.0);
        assert!(Arc::ptr_eq(&key.0, &key.clone().0), "a copy of the handle is none of the key");
        assert!(key.for_tls().is_ok());
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
