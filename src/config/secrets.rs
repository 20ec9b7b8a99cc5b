//! Getting at secrets: files, variables, credentials of the service manager.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::Code;
use super::desk::Desk;
use super::kinds::{SecretPlace, SecretRef};
use crate::domain::Secret;

/// How carefully a file must be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Its owner alone may read it.
    Owner,
    /// Its owner and its group may read it, as distributions keep keys of certificates.
    Group,
    /// Somebody else sees to it.
    Any,
}

impl Desk<'_> {
    /// Fetches a secret, without the end of line at its end. `None` when it cannot be had; the fault is noted.
    pub(super) fn fetch(&mut self, secret: &SecretRef, care: Care) -> Option<Zeroizing<String>> {
        let missing = |desk: &mut Self, what: String, help: String| {
            desk.fault(Code::SecretMissing, secret.spot, what).help(help);
            None
        };
        match &secret.place {
            SecretPlace::Literal(text) => {
                self.hide(secret.spot);
                Some(text.clone())
            }
            SecretPlace::Variable(name) => {
                self.used.insert(name.clone());
                match self.variable(name) {
                    Some(value) => Some(Zeroizing::new(value.to_owned())),
                    None => missing(
                        self,
                        format!("the variable {name} is not set"),
                        format!("set {name} before Cardea starts"),
                    ),
                }
            }
            SecretPlace::File(path) => self.secret_file(path, secret, care),
            SecretPlace::Credential(name) => match &self.options.credentials_directory {
                // The service manager guards the directory as a whole.
                Some(folder) => self.secret_file(&folder.join(name), secret, Care::Any),
                None => missing(
                    self,
                    "no credentials were handed over".to_owned(),
                    format!("start Cardea as a systemd service with LoadCredential={name}:PATH"),
                ),
            },
        }
    }

    fn secret_file(&mut self, path: &Path, secret: &SecretRef, care: Care) -> Option<Zeroizing<String>> {
        let shown = path.display();
        let (bytes, mode) = match self.read_plain(path) {
            Ok((bytes, mode)) => (Zeroizing::new(bytes), mode),
            Err(error) => {
                let help = match care {
                    Care::Owner => format!(
                        "put the key back if there are records already; for a new installation make one: \
                         (umask 077; openssl rand -base64 32 > {shown})"
                    ),
                    Care::Any | Care::Group => {
                        "create the file, and let the user that Cardea runs as read it".to_owned()
                    }
                };
                self.fault(Code::SecretMissing, secret.spot, format!("the secret in {shown} cannot be read"))
                    .label(error.to_string())
                    .help(help);
                return None;
            }
        };
        let others = match care {
            Care::Any => 0,
            Care::Group => 0o037,
            Care::Owner => 0o077,
        };
        if mode & others != 0 {
            self.fault(Code::SecretExposed, secret.spot, format!("others than its owner can read {shown}"))
                .label(format!("its mode is {:04o}", mode & 0o7777))
                .help(format!("run `chmod 600 {shown}`"));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            self.fault(Code::SecretMissing, secret.spot, format!("the secret in {shown} is no text"))
                .help("write it as UTF-8; a master key in base64");
            return None;
        };
        let bare = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
        Some(Zeroizing::new(bare.unwrap_or(text).to_owned()))
    }

    /// Fetches a master key.
    pub(super) fn fetch_key(&mut self, secret: &SecretRef) -> Option<Secret<[u8; 32]>> {
        let literal = matches!(secret.place, SecretPlace::Literal(_));
        let text = self.fetch(secret, Care::Owner)?;
        if literal {
            self.warn_literal(secret);
        }
        let mut bytes = BASE64_STANDARD.decode(text.as_bytes()).unwrap_or_default();
        let key = <[u8; 32]>::try_from(bytes.as_slice()).ok();
        bytes.zeroize();
        if key.is_none() {
            self.fault(Code::MasterKey, secret.spot, "the master key is not 32 bytes in base64")
                .help("`cardea init` writes one; by hand: `openssl rand -base64 32`");
        }
        key.map(Secret::new)
    }

    /// A secret in a file that is copied, mailed and put under version control. One in a variable is the operator's
    /// choice.
    pub(super) fn warn_literal(&mut self, secret: &SecretRef) {
        let in_file = self.texts.get(secret.spot.source).is_some_and(|text| !text.content.is_empty());
        if in_file {
            self.fault(Code::SecretLiteral, secret.spot, "a secret is written in the file")
                .help("use { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }");
        }
    }
}
