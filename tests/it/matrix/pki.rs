//! Certificates, good and bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// A certificate of the private authority.
    Good,
    /// One that nobody signed.
    SelfSigned,
    /// One that expired in 2021.
    Expired,
    /// One that is valid from 2090 on.
    Early,
    /// One for `other.example`.
    OtherName,
    /// One of an authority that nobody here knows.
    OtherAuthority,
    /// A good one; and it asks for the client's.
    AsksForOurs,
}

/// A private authority, with a certificate for us.
pub struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    other: CertifiedIssuer<'static, KeyPair>,
    /// The authority, on disk.
    pub ca: PathBuf,
    /// Our certificate and its key, on disk.
    pub identity: Vec<PathBuf>,
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Pki {
    pub fn new(dir: &Path) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (authority, other) = (issuer("ours"), issuer("theirs"));
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = leaf("kubeherald").signed_by(&key, &authority).unwrap();
        let identity = vec![dir.join("client.pem"), dir.join("client-key.pem")];
        std::fs::write(&identity[0], cert.pem()).unwrap();
        std::fs::write(&identity[1], key.serialize_pem()).unwrap();
        Self { authority, other, ca, identity }
    }

    /// A server on 127.0.0.1.
    pub fn server(&self, shows: Shows) -> Arc<ServerConfig> {
        let mut params = leaf(if shows == Shows::OtherName { "other.example" } else { "127.0.0.1" });
        if shows == Shows::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        if shows == Shows::Early {
            (params.not_before, params.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let cert = match shows {
            Shows::SelfSigned => params.self_signed(&key),
            Shows::OtherAuthority => params.signed_by(&key, &self.other),
            _ => params.signed_by(&key, &self.authority),
        };
        let chain: Vec<CertificateDer<'static>> = vec![cert.unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = if shows == Shows::AsksForOurs {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        } else {
            ServerConfig::builder().with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}
