//! The body of a request that a library reads from its client.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::control::BoxError;

/// A body that arrives. Trailers of a request end here (`PROXY-06`).
pub(super) enum Arriving {
    Http1(Incoming),
    /// With as much of its length as is still to come, if the client said it; the library sees to it that it is kept. The
    /// stream is shared with who answers on it.
    Http2(Rc<RefCell<RecvStream>>, Option<u64>),
}

impl Arriving {
    /// On a stream of HTTP/2, with the fields of its head.
    pub(super) fn http2(stream: Rc<RefCell<RecvStream>>, fields: &HeaderMap) -> Self {
        let said = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self::Http2(stream, said)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Arriving::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Arriving::Http2(stream, left) => {
                let mut stream = stream.borrow_mut();
                let Some(data) = ready!(stream.poll_data(cx)) else { return Poll::Ready(None) };
                let data = data?;
                // Whoever asks has room for it: the client may send as much again.
                stream.flow_control().release_capacity(data.len())?;
                if let Some(left) = left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Http1(body) => body.is_end_stream(),
            Arriving::Http2(stream, _) => stream.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Http1(body) => body.size_hint(),
            Arriving::Http2(stream, _) if stream.borrow().is_end_stream() => SizeHint::with_exact(0),
            Arriving::Http2(_, left) => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
