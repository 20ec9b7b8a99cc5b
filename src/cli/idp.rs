//! Trying an identity provider: what can be seen from here, and a sign-in in a browser of which nothing stays.

use std::time::Duration;

use serde_json::Value;

use crate::app::control::{Answer, Command, Exit, Typed};

use super::output::{self, Style};
use super::verbs::Hand;
use super::{Shell, Stop};

/// How often the outcome is asked for.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn test(shell: &Shell, name: String, sign_in: bool) -> Result<u8, Stop> {
    let mut hand = Hand::find(shell, true).await?;
    let done = tried(shell, &mut hand, name, sign_in).await;
    hand.close().await;
    let answer = done?;
    shell.screen.show(&answer, false);
    Ok(answer.exit.code())
}

async fn tried(shell: &Shell, hand: &mut Hand, name: String, sign_in: bool) -> Result<Answer, Stop> {
    let steps = hand.call(Command::IdpTest { name, sign_in }).await?;
    let member = |name: &str| steps.json.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(address), Some(handle)) = (member("address"), member("handle")) else { return Ok(steps) };
    // Programs get everything at the end, in one piece.
    let whole = shell.screen.style == Style::Json;
    if !whole {
        shell.screen.show(&steps, false);
    }
    output::note(&format!("now sign in, in any browser, within ten minutes:\n\n  {address}\n"));
    loop {
        let mut outcome = hand.call(Command::IdpTestOutcome { handle: Typed::new(handle.clone()) }).await?;
        let waits = outcome.json.get("state").and_then(Value::as_str) == Some("waiting");
        if outcome.exit == Exit::Done && waits {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        if whole && outcome.code.is_none() {
            let before = steps.json.get("steps").cloned().unwrap_or_default();
            outcome.json = serde_json::json!({ "steps": before, "sign_in": outcome.json });
        }
        return Ok(outcome);
    }
}
