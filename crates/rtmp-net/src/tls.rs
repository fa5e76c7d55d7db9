//! TLS for RTMPS, with ring as the only provider.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A server's certificate and key, ready for use. Cheap to clone; clones present the same.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    config: Arc<rustls::ServerConfig>,
    presented: Arc<Presented>,
}

impl ServerConfig {
    /// Reads a certificate chain and its key, both PEM, and names the protocols that ALPN may choose.
    pub fn from_files(certificates: &Path, key: &Path, alpn: &[&str]) -> Result<Self, Error> {
        let files = Files { certificates: certificates.to_owned(), key: key.to_owned() };
        let presented = Arc::new(Presented { certified: RwLock::new(files.read()?), files });
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(presented.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self { config: Arc::new(config), presented })
    }

    /// Reads the files again, as after a renewal: handshakes from now on get what is there, sessions stay. Files that cannot be
    /// used change nothing, and the log says why.
    pub fn read_again(&self) {
        let Presented { files, certified } = &*self.presented;
        match files.read() {
            Ok(read) => {
                let mut certified = certified.write().unwrap_or_else(PoisonError::into_inner);
                if read.cert != certified.cert {
                    tracing::info!(file = %files.certificates.display(), "certificates.reloaded");
                }
                *certified = read;
            }
            Err(error) => tracing::error!(%error, "certificates.not_reloaded"),
        }
    }
}

impl From<ServerConfig> for TlsAcceptor {
    fn from(config: ServerConfig) -> Self {
        config.config.into()
    }
}

/// What a handshake is given.
#[derive(Debug)]
struct Presented {
    files: Files,
    certified: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Where it is read.
#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

impl Files {
    /// A certificate without its key, as half of a renewal, is an error.
    fn read(&self) -> Result<Arc<CertifiedKey>, Error> {
        let failed = |file: &Path, error| Error::File { path: file.display().to_string(), error };
        let chain = CertificateDer::pem_file_iter(&self.certificates).and_then(Iterator::collect);
        let chain = chain.map_err(|error| failed(&self.certificates, error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| failed(&self.key, error))?;
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
    }
}

/// Whom a client trusts.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Whoever has a certificate from one of the authorities in this PEM file.
    pub fn authorities(file: &Path) -> Result<Self, Error> {
        let failed = |error| Error::File { path: file.display().to_string(), error };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(failed)? {
            roots.add(certificate.map_err(failed)?)?;
        }
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Whoever the system trusts.
    pub fn system() -> Result<Self, Error> {
        let known = SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
        Self::authorities(known.unwrap_or(Path::new(SYSTEM_FILES[0])))
    }

    /// Anybody: for tests of servers whose certificate nobody signed.
    pub fn anybody() -> Result<Self, Error> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let verifier = Arc::new(Anybody(provider));
        Ok(Self(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())))
    }
}

impl From<Trust> for TlsConnector {
    fn from(trust: Trust) -> Self {
        trust.0.into()
    }
}

/// Where systems keep the authorities that they trust.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Takes any certificate, but checks that the server has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which one.
        path: String,
        /// Why not.
        error: pem::Error,
    },
    /// Certificate and key do not work together, or cannot be used.
    #[error("cannot use certificate or key: {0}")]
    Rustls(#[from] rustls::Error),
}
