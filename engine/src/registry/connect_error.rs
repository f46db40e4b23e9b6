//! ureq's errors: which may pass, and how to say them.

use std::error::Error as StdError;
use std::io::ErrorKind;

use ureq::Timeout;

use super::tls::TlsError;

#[derive(Debug, thiserror::Error)]
enum Words {
    #[error("the host could not be connected to in time")]
    Connect,
    #[error("nothing came or could be sent for too long")]
    Silence,
    #[error("the answer took too long")]
    Slow,
    #[error("the headers of the answer are too long")]
    Headers,
    #[error("the proxy refused: {0}")]
    Proxy(String),
}

/// Broken connections and silence pass; whatever was said does not, nor does a host that is not there.
pub fn is_transient(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => is_broken(error.kind()),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => false,
        ureq::Error::Timeout(_) | ureq::Error::BodyStalled | ureq::Error::ConnectionFailed => true,
        ureq::Error::Other(error) => match error.downcast_ref::<TlsError>() {
            Some(TlsError::Handshake { source, .. }) => is_broken(source.kind()),
            _ => false,
        },
        _ => false,
    }
}

fn is_broken(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected | TimedOut)
}

/// No request can have reached anybody: nobody listens, or not for TLS.
pub fn is_no_tls(error: &ureq::Error) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        }
        ureq::Error::Timeout(Timeout::Connect) => true,
        ureq::Error::Other(error) => matches!(error.downcast_ref(), Some(TlsError::NotTls(_))),
        _ => false,
    }
}

pub fn in_words(error: ureq::Error) -> Box<dyn StdError + Send + Sync> {
    match error {
        ureq::Error::Other(error) => error,
        ureq::Error::Io(error) => error.into(),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Words::Connect.into(),
        ureq::Error::Timeout(Timeout::RecvBody | Timeout::Global | Timeout::PerCall) => Words::Slow.into(),
        ureq::Error::Timeout(_) => Words::Silence.into(),
        ureq::Error::LargeResponseHeader(..) => Words::Headers.into(),
        ureq::Error::ConnectProxyFailed(said) => Words::Proxy(crate::text::escape(&said).to_string()).into(),
        other => other.into(),
    }
}
