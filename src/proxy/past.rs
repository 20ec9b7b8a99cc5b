//! The last requests of this node, so that an operator can ask why one was let in or kept out.
//!
//! In memory alone, and not many: the access log keeps them all. Those that were kept out are not pushed away by those that were
//! let in. What is kept is what the decision was made of, so that it can be made once more.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::domain::Timestamp;
use crate::session::Record;

/// So many of each kind are kept.
const MOST: usize = 2048;

/// A request whose answer has ended.
#[derive(Clone)]
pub struct Past {
    /// Its id, as the log, the upstream and the person have it.
    pub request_id: String,
    /// When it was decided on.
    pub at: Timestamp,
    /// From where, after trusted proxies.
    pub client: IpAddr,
    /// What was spoken.
    pub protocol: &'static str,
    /// Its method.
    pub method: String,
    /// Host and path, in canonical form; what comes after `?` is not kept.
    pub host: String,
    /// See `host`.
    pub path: String,
    /// The route, or the part of Cardea, that it came to.
    pub route: String,
    /// Which rule let it in, counted from one.
    pub rule: Option<usize>,
    /// How it ended, as the access log has it.
    pub outcome: &'static str,
    /// Whether it was let through.
    pub let_in: bool,
    /// The status of the answer; 0 without one.
    pub status: u16,
    /// The address that it was passed on to.
    pub upstream: Option<String>,
    /// The reference of its refusal.
    pub decision: Option<String>,
    /// What was wrong with it.
    pub reason: Option<Cow<'static, str>>,
    /// The version of the policy it was decided under.
    pub version: u64,
    /// Who asked, with what they held then.
    pub record: Option<Arc<Record>>,
}

/// See the module.
#[derive(Default)]
pub struct Lately {
    let_in: Mutex<VecDeque<Past>>,
    kept_out: Mutex<VecDeque<Past>>,
}

impl Lately {
    /// Keeps one; the oldest of its kind goes when there are too many.
    pub(super) fn keep(&self, past: Past) {
        let kind = if past.let_in { &self.let_in } else { &self.kept_out };
        let oldest = kind.lock().ok().and_then(|mut kept| {
            let oldest = if kept.len() < MOST { None } else { kept.pop_front() };
            kept.push_back(past);
            oldest
        });
        // What it held is given back when nobody waits for the lock.
        drop(oldest);
    }

    /// One by its id.
    #[must_use]
    pub fn find(&self, request_id: &str) -> Option<Past> {
        [&self.kept_out, &self.let_in].into_iter().find_map(|kind| {
            let kept = kind.lock().ok()?;
            kept.iter().rev().find(|past| past.request_id == request_id).cloned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(id: &str, let_in: bool) -> Past {
        Past {
            request_id: id.to_owned(),
            at: Timestamp::from_millis(0),
            client: IpAddr::from([127, 0, 0, 1]),
            protocol: "HTTP/1.1",
            method: "GET".to_owned(),
            host: "a.example".to_owned(),
            path: "/".to_owned(),
            route: "a".to_owned(),
            rule: Some(1),
            outcome: "allowed",
            let_in,
            status: 200,
            upstream: None,
            decision: None,
            reason: None,
            version: 1,
            record: None,
        }
    }

    #[test]
    fn those_that_were_kept_out_stay_and_memory_is_bounded() {
        let lately = Lately::default();
        lately.keep(past("out", false));
        for n in 0..=MOST {
            lately.keep(past(&n.to_string(), true));
        }
        assert!(lately.find("out").is_some() && lately.find("1").is_some() && lately.find("0").is_none());
        assert_eq!(lately.let_in.lock().unwrap().len(), MOST);
    }
}
