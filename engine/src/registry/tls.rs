//! TLS: whom to trust, what to show, and the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::settings::RegistryConfig;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("Failed to read the certificates in {}", path.display())]
    Certificates { path: PathBuf, source: pem::Error },
    #[error("{} has no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} has a certificate that is none", path.display())]
    Certificate { path: PathBuf, source: rustls::Error },
    #[error("Failed to read the private key in {}", path.display())]
    Key { path: PathBuf, source: pem::Error },
    #[error("The certificate in {} and the key in {} do not work together", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("certificate and key of a registry must be given together; {} is alone", .0.display())]
    Half(PathBuf),
    #[error("{0} does not speak TLS")]
    NotTls(String),
    #[error(
        "The certificate of {host} is not trusted (its authority can be set as `ca` under [registries.\"{host}\"])"
    )]
    Untrusted { host: String, source: rustls::Error },
    #[error("TLS with {host} failed")]
    Handshake { host: String, source: io::Error },
    #[error("No certificates of authorities were found on this machine (install ca-certificates)")]
    NoRoots,
    #[error("The TLS library refused its own settings")]
    Library(#[source] rustls::Error),
}

/// What one registry needs, as files that were read. Nothing of the system is touched before the first
/// https connection.
#[derive(Debug, Default)]
pub struct Trust {
    unchecked: bool,
    extra: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    made: OnceLock<Arc<ClientConfig>>,
}

#[derive(Debug)]
struct Identity {
    certificate: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key_file: PathBuf,
    key: PrivateKeyDer<'static>,
}

impl Trust {
    /// Reads the files that the user named. With `unchecked` any certificate will do.
    pub fn new(config: &RegistryConfig, unchecked: bool) -> Result<Self, TlsError> {
        let extra = config.ca.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let identity = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key_file)) => Some(Identity {
                certificate: certificate.clone(),
                chain: certificates(certificate)?,
                key_file: key_file.clone(),
                key: PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|source| TlsError::Key { path: key_file.clone(), source })?,
            }),
            (Some(alone), None) | (None, Some(alone)) => return Err(TlsError::Half(alone.clone())),
            (None, None) => None,
        };
        if let Some(path) = &config.ca {
            let mut roots = RootCertStore::empty();
            for certificate in &extra {
                let added = roots.add(certificate.clone());
                added.map_err(|source| TlsError::Certificate { path: path.clone(), source })?;
            }
        }
        Ok(Self { unchecked, extra, identity, made: OnceLock::new() })
    }

    /// For other hosts that the registry leads to: its authorities count there, too, but they are always
    /// checked, and the registry's client certificate is not shown to them.
    pub fn for_others(&self) -> Self {
        Self { extra: self.extra.clone(), ..Self::default() }
    }

    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.made.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make()?);
        Ok(Arc::clone(self.made.get_or_init(|| config)))
    }

    fn make(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?;
        let builder = if self.unchecked {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let Some(identity) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(|source| {
            TlsError::Pair {
                certificate: identity.certificate.clone(),
                key: identity.key_file.clone(),
                source,
            }
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = system_roots().clone();
        roots.add_parsable_certificates(self.extra.iter().cloned());
        if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
    }
}

/// The system's authorities, read once. What is broken among them is passed over.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificates { path: path.to_owned(), source };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
    let read = read.map_err(failed)?;
    if read.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(read) }
}

pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// Takes any certificate; that the server has its key is checked all the same.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
