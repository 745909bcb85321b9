//! Secrets: read from the environment or a file, never shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::ConfigError;

/// More than any token or password.
const MOST_BYTES: u64 = 64 << 10;

/// Text that is never shown: not by `Debug`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a request and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Configured,
    Env(String),
    File(PathBuf),
}

/// A secret, and where to read it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    place: Place,
    secret: Secret,
}

/// Where a configuration says that a secret is. The names are those of its keys without `_env` or `_file`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretKeys<'a> {
    /// Whose configuration.
    pub(crate) source_name: &'static str,
    /// `token` or `password`.
    pub(crate) name: &'a str,
    /// The environment variable.
    pub(crate) env: Option<&'a str>,
    /// The file, as written.
    pub(crate) file: Option<&'a Path>,
}

impl Credential {
    /// Reads the secret that `keys` point to; relative files are looked for in `base`. `None`: none is
    /// configured.
    pub(crate) fn open(keys: SecretKeys<'_>, base: &Path) -> Result<Option<Self>, ConfigError> {
        let SecretKeys { source_name, name, env, file } = keys;
        let error = |field: &str, found: String, expected: String| ConfigError {
            source_name,
            field: field.to_owned(),
            found,
            expected,
        };
        let (env_field, file_field) = (format!("{name}_env"), format!("{name}_file"));
        let (place, field) = match (env, file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(error(
                    &env_field,
                    format!("{env_field} and {file_field}"),
                    "one of the two".into(),
                ));
            }
            (Some(variable), None) => (Place::Env(variable.to_owned()), env_field),
            (None, Some(file)) => (Place::File(base.join(file)), file_field),
        };
        let secret = read(&place).map_err(|found| {
            let expected = match &place {
                Place::File(_) => format!("a file that holds the {name} and nothing else"),
                _ => format!("an environment variable that holds the {name}, set for this process"),
            };
            error(&field, found, expected)
        })?;
        Ok(Some(Self { place, secret }))
    }

    /// A secret that stands in the configuration itself.
    pub(crate) fn configured(secret: Secret) -> Self {
        Self { place: Place::Configured, secret }
    }

    /// The secret as last read.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Reads the file again. True: there is another secret in it now, so asking again may help.
    pub(crate) fn reread(&mut self) -> bool {
        match (&self.place, read(&self.place)) {
            (Place::File(_), Ok(secret)) if secret != self.secret => {
                self.secret = secret;
                true
            }
            _ => false,
        }
    }
}

/// An error says what was found, never what is in it.
fn read(place: &Place) -> Result<Secret, String> {
    let (text, whence) = match place {
        Place::Configured => return Err("nowhere to read it anew".into()),
        Place::Env(variable) => {
            let text = std::env::var(variable).map_err(|error| match error {
                std::env::VarError::NotPresent => format!("the variable {variable} not set"),
                std::env::VarError::NotUnicode(_) => format!("the variable {variable} not in UTF-8"),
            })?;
            (text, format!("the variable {variable}"))
        }
        Place::File(path) => {
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            (text, path.display().to_string())
        }
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{whence} empty"));
    }
    // A header can't hold it, and a line break in one would begin another header.
    if text.chars().any(char::is_control) {
        return Err(format!("{whence} with more than one line or a control character"));
    }
    Ok(Secret(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(env: Option<&'a str>, file: Option<&'a Path>) -> SecretKeys<'a> {
        SecretKeys { source_name: "electricity-maps", name: "token", env, file }
    }

    #[test]
    fn a_secret_shows_in_no_debug_text() {
        let credential = Credential::configured(Secret::new("swordfish"));
        assert!(!format!("{credential:?} {:#?}", credential.secret()).contains("swordfish"));
    }

    #[test]
    fn a_token_comes_from_the_environment() {
        // Cargo sets it for every test.
        let credential =
            Credential::open(keys(Some("CARGO_PKG_NAME"), None), Path::new(".")).unwrap().unwrap();
        assert_eq!(credential.secret().expose(), "wattle-signals");
    }

    #[test]
    fn a_token_file_is_read_again_and_only_news_counts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "one\n").unwrap();
        let mut credential =
            Credential::open(keys(None, Some(Path::new("token"))), folder.path()).unwrap().unwrap();
        assert_eq!(credential.secret().expose(), "one");
        assert!(!credential.reread());
        std::fs::write(folder.path().join("token"), "two\n").unwrap();
        assert!(credential.reread());
        assert_eq!(credential.secret().expose(), "two");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert!(!credential.reread());
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("two-lines"), "swordfish\nX-Evil: 1\n").unwrap();
        std::fs::write(folder.path().join("empty"), " \n").unwrap();
        for (env, file) in [
            (Some("WATTLE_TEST_NO_SUCH_VARIABLE"), None),
            (None, Some(Path::new("two-lines"))),
            (None, Some(Path::new("empty"))),
            (None, Some(Path::new("nowhere"))),
            (Some("PATH"), Some(Path::new("empty"))),
        ] {
            let error = Credential::open(keys(env, file), folder.path()).unwrap_err().to_string();
            assert!(error.contains("token_") && error.contains("expected"), "{error}");
            assert!(!error.contains("swordfish"), "{error}");
        }
        assert_eq!(Credential::open(keys(None, None), folder.path()).unwrap(), None);
    }
}
