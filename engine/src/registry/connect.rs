//! The TLS layer of a connection, between ureq's sockets and its HTTP.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::reach::{Reach, host_and_port};
use super::tls::{self, TlsError, Trust};

/// Wraps connections of https URLs.
#[derive(Debug)]
pub struct TlsConnector {
    pub reach: Arc<Reach>,
    /// For the registry itself, and for whatever it leads to (and proxies).
    pub own: Trust,
    pub others: Trust,
    /// Of the registry's own handshake, where it may be one without TLS.
    pub handshake: Option<Duration>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let stream = self.shake_hands(details, transport.boxed());
        let stream = stream.map_err(|error| ureq::Error::Other(error.into()))?;
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers: LazyBuffers::new(input, output), stream })))
    }
}

impl TlsConnector {
    fn shake_hands(
        &self,
        details: &ConnectionDetails,
        transport: Box<dyn Transport>,
    ) -> Result<Stream, TlsError> {
        let (host, _) = host_and_port(details.uri).unwrap_or_default();
        let is_own = self.reach.is_own(details.uri);
        let config = if is_own { &self.own } else { &self.others }.config()?;
        let failed = |source| TlsError::Handshake { host: host.to_owned(), source };
        let name = tls::server_name(host).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let mut connection = ClientConnection::new(config, name).map_err(TlsError::Library)?;
        let mut socket = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        let mut timeout = details.timeout;
        if let Some(limit) = self.handshake.filter(|_| is_own) {
            timeout.after = timeout.after.min(limit.into());
        }
        socket.set_timeout(timeout);
        match connection.complete_io(&mut socket) {
            Ok(_) => Ok(StreamOwned::new(connection, socket)),
            Err(error) => Err(self.explain(details, is_own, error)),
        }
    }

    /// A server without TLS answers with something else, hangs up, or waits for a whole line.
    fn explain(&self, details: &ConnectionDetails, is_own: bool, error: io::Error) -> TlsError {
        let host = details.uri.authority().map(ToString::to_string).unwrap_or_default();
        let library = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match library {
            Some(rustls::Error::InvalidMessage(_)) => return TlsError::NotTls(host),
            Some(untrusted @ rustls::Error::InvalidCertificate(_)) => {
                return TlsError::Untrusted { host, source: untrusted.clone() };
            }
            _ => {}
        }
        let kind = error.kind();
        let hung_up = matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let timed_out = error.get_ref().is_some_and(|error| {
            matches!(error.downcast_ref::<ureq::Error>(), Some(ureq::Error::Timeout(_)))
        });
        if is_own && self.handshake.is_some() && (hung_up || timed_out) {
            return TlsError::NotTls(host);
        }
        TlsError::Handshake { host, source: error }
    }
}

type Stream = StreamOwned<ClientConnection, TransportAdapter>;

pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: Stream,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}
