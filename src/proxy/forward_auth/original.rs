//! The request that a guarding proxy asks about, put together again from what it says.
//!
//! Every part must be said once and plainly. The fields are ones that no ordinary client sends: where a proxy was not told
//! to write one of them, nobody gets in, instead of whoever writes it himself.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::proxy::view::{Asked, Field, Unreadable, View, elements};

use super::Asker;

/// Which parts are said in which field.
const METHOD: &str = "x-forwarded-method";
const HOST: &str = "x-forwarded-host";
const TARGET: &str = "x-forwarded-uri";
const CLIENT: &str = "x-forwarded-for";

/// Fields about the question, not about what is asked about: how it is framed, to whom it goes, what it says itself.
const OF_THE_QUESTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-uri",
];

/// Why it is not known what is asked. Public: says nothing about routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    /// A part is missing, said twice, or no plain text.
    #[error("the proxy in front must say {0} once")]
    Field(&'static str),
    /// A field is spelled so that programs may take it for another.
    #[error("a header field is spelled so that it may be taken for {0}")]
    Misspelt(String),
    /// It is said in one way and would be forwarded in another.
    #[error("the address is not written in its plainest form, in which alone it can be passed on")]
    NotCanonical,
    /// It can be read in two ways.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
}

/// What is asked about.
#[derive(Debug)]
pub(super) struct Original<'a> {
    method: &'a str,
    target: &'a str,
    fields: Vec<Field<'a>>,
    client: IpAddr,
}

impl<'a> Original<'a> {
    /// From a question.
    pub(super) fn told(question: &View<'a>, asker: Asker<'a>) -> Result<Self, Unclear> {
        let said = |name| question.single(name).ok_or(Unclear::Field(name));
        let (method, target, host) = match asker {
            Asker::Path(target) => (question.method, target, said("host")?),
            Asker::Fields | Asker::Nginx | Asker::NginxRefused => (said(METHOD)?, said(TARGET)?, said(HOST)?),
        };
        // The last hop is the one that the asker saw itself. The peer here is the asker, and never the client.
        let mut hops: Vec<&[u8]> = question.values(CLIENT).flat_map(elements).collect();
        let last = hops.pop().and_then(|hop| std::str::from_utf8(hop).ok());
        let client = last.and_then(|hop| hop.parse().ok()).ok_or(Unclear::Field(CLIENT))?;
        let mut fields: Vec<Field<'a>> = question
            .fields
            .iter()
            .filter(|(name, _)| !OF_THE_QUESTION.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes())))
            .copied()
            .collect();
        fields.push((b"host", host.as_bytes()));
        fields.extend(hops.into_iter().map(|hop| (CLIENT.as_bytes(), hop)));
        Ok(Self { method, target, fields, client })
    }

    /// The request as its client sent it, as far as it matters here.
    pub(super) fn view(&self) -> View<'_> {
        let peer = SocketAddr::new(self.client, 0);
        View { method: self.method, target: self.target, fields: &self.fields, peer, certificate: None }
    }

    /// Reads it. What is forwarded is not ours to write: it must already be what we would have written.
    pub(super) fn read(&self, trusted: &[IpNet]) -> Result<Asked<'_>, Unclear> {
        let asked = self.view().read(trusted)?;
        if asked.target.forwarded() != self.target {
            return Err(Unclear::NotCanonical);
        }
        Ok(asked)
    }
}
