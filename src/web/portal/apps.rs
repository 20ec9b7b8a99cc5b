//! The launcher: the apps that the policy would open for this person.

use axum::response::Response;

use crate::access::engine::Request;
use crate::access::{Decision, Route, decide};
use crate::domain::target::Target;
use crate::session::Record;
use crate::ui::{AppTile, Apps};
use crate::web::here::{Here, SignedIn};
use crate::web::reply;

/// The launcher.
pub(in crate::web) async fn launcher(SignedIn(here, record): SignedIn) -> Response {
    let snapshot = here.web.snapshot.load_full();
    let mut apps: Vec<AppTile> = snapshot
        .routes()
        .iter()
        .filter(|route| route.spec.listed)
        .filter_map(|route| tile(&here, &record, &snapshot, route))
        .collect();
    apps.sort_by_key(|tile| tile.title.to_lowercase());
    let notice = super::account::told(&here, &record).await;
    reply::ok(Apps { frame: here.frame_of(&record), apps, notice }.render())
}

/// A tile, if the start page of the app would open, perhaps after one more proof.
fn tile(here: &Here, record: &Record, snapshot: &crate::access::Snapshot, route: &Route) -> Option<AppTile> {
    let path = format!("{}/", route.spec.prefix);
    let target = Target::parse(&path).ok()?;
    let request = Request { target: &target, method: "GET", address: here.address, now: here.now };
    let asks_code = match decide(snapshot, route, Some(record.caller()), &request) {
        Decision::Permit(_) | Decision::SignIn { .. } => false,
        Decision::StepUp(_) => true,
        Decision::Ambiguous(_) | Decision::Deny(_) => return None,
    };
    Some(AppTile {
        title: route.spec.title.clone(),
        description: route.spec.about.clone(),
        host: route.spec.host.to_string(),
        href: format!("{}{path}", route.origin),
        asks_code,
        down: false,
    })
}
