//! Our own keys for SAML: one signs requests, one opens what was encrypted for us. Made when they are first needed, kept sealed with
//! the others, shared by all nodes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::CryptoError;
use crate::crypto::rsa::RsaKey;
use crate::domain::{Actor, AuditEvent, KeyId, Outcome};
use crate::session::Visit;
use crate::store::audit;
use crate::store::keys::{self, SealedKey};

use super::{SignIn, SignInError};

const SIGNING: &str = "saml signing";
const OPENING: &str = "saml encryption";

/// Our keys, opened.
pub(super) struct SamlKeys {
    /// The newest signs.
    pub(super) signing: RsaKey,
    /// Any of them may have been encrypted for.
    pub(super) opening: Vec<RsaKey>,
    pub(super) signing_certificates: Vec<Vec<u8>>,
    pub(super) opening_certificates: Vec<Vec<u8>>,
}

impl SignIn {
    /// The keys; made if there are none yet.
    pub(super) async fn saml_keys(&self, visit: &Visit<'_>) -> Result<SamlKeys, SignInError> {
        let rows = keys::all(&mut self.db.read().await?).await?;
        let has = |purpose: &str| rows.iter().any(|row| row.purpose == purpose && row.retired_at.is_none());
        if has(SIGNING) && has(OPENING) {
            return self.saml_keys_opened(&rows);
        }
        self.saml_keys_opened(&self.saml_keys_made(visit).await?)
    }

    /// Makes both. Two nodes may do so at once: whoever comes second finds those of the first.
    async fn saml_keys_made(&self, visit: &Visit<'_>) -> Result<Vec<SealedKey>, SignInError> {
        let (name, now) = (self.settings.portal_host.clone(), visit.now);
        let work = self
            .documents
            .run(move || Ok((RsaKey::generate(&name, 1, now)?, RsaKey::generate(&name, 2, now)?)));
        let (signing, opening) = work.await?.map_err(|error: CryptoError| error)?;
        let mut tx = self.db.begin().await?;
        tx.lock("keys").await?;
        let rows = keys::all(&mut tx).await?;
        for (purpose, (secret, certificate)) in [(SIGNING, signing), (OPENING, opening)] {
            if rows.iter().any(|row| row.purpose == purpose && row.retired_at.is_none()) {
                continue;
            }
            let id = KeyId::mint(visit.now, visit.chance);
            let sealed = self.keys.sealer.seal(&keys::seal_place(id), secret.expose(), visit.chance)?;
            let key = SealedKey {
                id,
                purpose: purpose.to_owned(),
                sealed,
                public: STANDARD.encode(&certificate),
                created_at: visit.now,
                retired_at: None,
            };
            keys::add(&mut tx, &key).await?;
            let event = AuditEvent::new(Actor::System, "keys.create", Outcome::Done)
                .on("key", id)
                .with("purpose", purpose);
            audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        }
        let rows = keys::all(&mut tx).await?;
        tx.commit(visit.now).await?;
        Ok(rows)
    }

    fn saml_keys_opened(&self, rows: &[SealedKey]) -> Result<SamlKeys, SignInError> {
        let of = |purpose: &'static str| {
            rows.iter().filter(move |row| row.purpose == purpose && row.retired_at.is_none())
        };
        let open = |row: &SealedKey| {
            let pkcs8 = self.keys.sealer.open(&keys::seal_place(row.id), &row.sealed)?;
            RsaKey::from_pkcs8(pkcs8.expose())
        };
        let certificates =
            |purpose| of(purpose).filter_map(|row| STANDARD.decode(&row.public).ok()).collect();
        let newest = of(SIGNING).next_back().ok_or(CryptoError::Failed)?;
        Ok(SamlKeys {
            signing: open(newest)?,
            opening: of(OPENING).map(open).collect::<Result<_, _>>()?,
            signing_certificates: certificates(SIGNING),
            opening_certificates: certificates(OPENING),
        })
    }
}
