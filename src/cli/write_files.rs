//! `enrolld write-files`: puts the configuration and keys that a container is handed as variables into files.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use super::{CommandError, process};

/// Write variables of the environment into files that only the daemon can read
///
/// For a container that ends before the daemon starts: ECS hands secrets over as variables, and the configuration names files. Each file is written
/// anew with mode 0400, and ends with a line break. A variable that is not there, or empty, is a failure, and nothing is printed of any.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct WriteFilesArgs {
    /// Where they are written
    #[arg(long, value_name = "DIR", default_value = "/etc/enrolld")]
    pub folder: PathBuf,

    /// Whose they will be, by number; needs the rights to give them away. Without it they are the caller's
    #[arg(long, value_name = "UID:GID")]
    pub owner: Option<Owner>,

    /// The name of a file, and the variable that has its text
    #[arg(value_name = "FILE=VARIABLE", required = true)]
    pub files: Vec<File>,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld write-files --owner 65532:65532 enrolld.toml=CONFIGURATION client-key.pem=CLIENT_KEY";

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        let (user, group) = numbers.ok_or_else(|| "it is two numbers, such as 65532:65532".to_owned())?;
        Ok(Self { user, group })
    }
}

/// A file in the folder, and the variable that has its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    name: String,
    variable: String,
}

impl FromStr for File {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, variable) = text.split_once('=').ok_or_else(|| "it is FILE=VARIABLE, such as client-key.pem=CLIENT_KEY".to_owned())?;
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(format!("{name:?} is not the name of a file in the folder"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if variable.is_empty() || !variable.chars().all(fits) {
            return Err(format!("{variable:?} is not the name of a variable"));
        }
        Ok(Self { name: name.to_owned(), variable: variable.to_owned() })
    }
}

/// Why a file was not written. Values are never part of it.
#[derive(Debug, thiserror::Error)]
pub enum WriteFilesError {
    /// Nothing to write.
    #[error("the variable {variable}, which has the text of {name}, is not set or empty")]
    Missing {
        /// The file.
        name: String,
        /// The variable.
        variable: String,
    },
    /// What the system said.
    #[error("{path} cannot be written: {source}")]
    File {
        /// The file, or the folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Writes the files.
///
/// # Errors
/// A variable that is not there, or a file that cannot be written.
pub fn run(args: &WriteFilesArgs) -> Result<ExitCode, CommandError> {
    process::keep_memory_private();
    write(args, |variable| std::env::var_os(variable)).map_err(CommandError::failed)?;
    Ok(ExitCode::SUCCESS)
}

fn write(args: &WriteFilesArgs, environment: impl Fn(&str) -> Option<OsString>) -> Result<(), WriteFilesError> {
    // All of them are there before any is written.
    let mut texts = Vec::with_capacity(args.files.len());
    for File { name, variable } in &args.files {
        let missing = || WriteFilesError::Missing { name: name.clone(), variable: variable.clone() };
        texts.push((args.folder.join(name), environment(variable).filter(|text| !text.is_empty()).ok_or_else(missing)?));
    }
    for (path, text) in &texts {
        replace(path, text.as_bytes(), args.owner).map_err(|source| WriteFilesError::File { path: path.clone(), source })?;
    }
    // The daemon must be able to look into it, whatever made it.
    give(&args.folder, args.owner).map_err(|source| WriteFilesError::File { path: args.folder.clone(), source })
}

fn replace(path: &Path, text: &[u8], owner: Option<Owner>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // New, so that nobody who had it open before reads what is written now, and no link is followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(text)?;
    if !text.ends_with(b"\n") {
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    give(path, owner)
}

fn give(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| chown(path, Some(owner.user), Some(owner.group)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("enrolld-write-files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("it can be made");
        folder
    }

    fn args(folder: &Path, files: &[&str]) -> WriteFilesArgs {
        let files = files.iter().map(|file| file.parse().expect("it is written as it should be")).collect();
        WriteFilesArgs { folder: folder.to_owned(), owner: None, files }
    }

    fn environment(variable: &str) -> Option<OsString> {
        match variable {
            "CONFIGURATION" => Some("region = \"eu-central-1\"\n".into()),
            "CLIENT_KEY" => Some("-----BEGIN".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn each_text_stands_in_its_file_which_nobody_else_can_read() {
        let folder = folder("each");
        let args = args(&folder, &["enrolld.toml=CONFIGURATION", "client-key.pem=CLIENT_KEY"]);
        write(&args, environment).expect("they are written");
        // And again: a folder may outlive the container that wrote into it.
        write(&args, environment).expect("they are written anew");
        for (name, text) in [("enrolld.toml", "region = \"eu-central-1\"\n"), ("client-key.pem", "-----BEGIN\n")] {
            let path = folder.join(name);
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
            assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o400);
        }
        fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn a_variable_that_is_not_there_or_empty_is_named_and_nothing_is_written() {
        let folder = folder("missing");
        for file in ["ca.pem=CA", "ca.pem=EMPTY"] {
            let error = write(&args(&folder, &["client-key.pem=CLIENT_KEY", file]), environment).expect_err("it is not there");
            assert!(error.to_string().contains("ca.pem") && !error.to_string().contains("BEGIN"), "{error}");
            assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
        }
        fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn only_files_in_the_folder_are_named() {
        for wrong in ["../shadow=CA", "/etc/shadow=CA", "..=CA", "=CA", "ca.pem", "ca.pem=", "ca.pem=A B"] {
            assert!(wrong.parse::<File>().is_err(), "{wrong}");
        }
        assert!("65532".parse::<Owner>().is_err() && "enrolld:enrolld".parse::<Owner>().is_err());
        assert_eq!("65532:65533".parse::<Owner>(), Ok(Owner { user: 65532, group: 65533 }));
    }
}
