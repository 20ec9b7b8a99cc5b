//! Bringing the records in line with the configuration, before anything is served and at each reload.

use anyhow::Context as _;

use super::house::House;
use super::objects;
use crate::config::Loaded;

/// Writes what the file owns, and makes the administrator whom the environment names.
pub(super) async fn prepare(house: &House, loaded: &Loaded) -> anyhow::Result<()> {
    apply(house, loaded).await?;
    if let Some(bootstrap) = &loaded.settings.bootstrap {
        let made = house
            .admin
            .bootstrap_admin(&bootstrap.username, &bootstrap.password, bootstrap.email.as_ref())
            .await
            .context("the administrator of ADMIN_USER could not be made")?;
        if made.is_some() {
            tracing::info!(username = %bootstrap.username, "the first administrator was made; the password must be changed");
        }
    }
    Ok(())
}

/// Writes what the file owns.
pub(super) async fn apply(house: &House, loaded: &Loaded) -> anyhow::Result<()> {
    let applied = house
        .admin
        .apply_objects(&objects::declared(&loaded.objects))
        .await
        .context("the objects of the configuration could not be written")?;
    for change in &applied.changes {
        tracing::info!(what = %change, "brought into the records");
    }
    Ok(())
}
