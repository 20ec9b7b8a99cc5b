//! What a provider says of logouts, and where it takes ours.

use super::{Federation, Trouble};
use crate::domain::Timestamp;
use crate::domain::provider::Provider;
use crate::protocol::oidc::{self, Keys, LogoutToken, Refused};

impl Federation {
    /// Verifies a logout token that came to a provider's address.
    ///
    /// # Errors
    /// When it is not sound, or the provider's keys cannot be had.
    pub async fn logout_token(
        &self,
        provider: &Provider,
        raw: &str,
        now: Timestamp,
    ) -> Result<LogoutToken, Trouble> {
        self.judged(provider, now, |keys| oidc::logout_token(raw, keys, provider, now)).await
    }

    /// Judges a token with the provider's keys, and once more if newer ones could make a difference (`OIDC-14`).
    pub(super) async fn judged<T>(
        &self,
        provider: &Provider,
        now: Timestamp,
        judge: impl Fn(&Keys) -> Result<T, Refused>,
    ) -> Result<T, Trouble> {
        let metadata = self.metadata(provider, now).await?;
        let known = self.known(provider);
        let keys = known.keys(&self.outbound, provider, &metadata, now).await?;
        match judge(&keys) {
            Err(refused) if refused.keys_may_be_old => {
                match known.renewed(&self.outbound, provider, &metadata, &keys, now).await? {
                    Some(keys) => Ok(judge(&keys)?),
                    None => Err(refused.into()),
                }
            }
            other => Ok(other?),
        }
    }
}
