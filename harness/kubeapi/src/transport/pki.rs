//! The server's certificate authority, made new for every server: its own certificate and clients' certificates.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("certificate for {subject} could not be made: {source}")]
    Generate {
        subject: String,
        source: rcgen::Error,
    },
    #[error(
        "certificate for {subject} can name two groups, not {count}: bind further groups by impersonation"
    )]
    TooManyGroups { subject: String, count: usize },
}

/// A certificate authority and the server certificate it signed.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    ca_der: CertificateDer<'static>,
    server_cert: CertificateDer<'static>,
    server_key: Vec<u8>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pki")
    }
}

/// A key and a certificate, both PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    pub certificate: String,
    pub key: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

impl Pki {
    /// A new authority and a server certificate for these DNS names and IP addresses.
    pub fn generate(sans: &[String]) -> Result<Self, PkiError> {
        let named = |subject: &str| {
            let subject = subject.to_owned();
            move |source| PkiError::Generate { subject, source }
        };
        let mut ca = CertificateParams::new(Vec::new()).map_err(named("kubernetes-ca"))?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::CrlSign,
        ];
        ca.distinguished_name = common_name("kubernetes-ca");
        let ca_key = KeyPair::generate().map_err(named("kubernetes-ca"))?;
        let ca_cert = ca.self_signed(&ca_key).map_err(named("kubernetes-ca"))?;
        let issuer = Issuer::new(ca, ca_key);

        let mut server = CertificateParams::new(sans.to_vec()).map_err(named("kube-apiserver"))?;
        server.distinguished_name = common_name("kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate().map_err(named("kube-apiserver"))?;
        let server_cert = server
            .signed_by(&server_key, &issuer)
            .map_err(named("kube-apiserver"))?;
        Ok(Self {
            issuer,
            ca_pem: ca_cert.pem(),
            ca_der: ca_cert.der().clone(),
            server_cert: server_cert.der().clone(),
            server_key: server_key.serialize_der(),
        })
    }

    /// The authority's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn ca_der(&self) -> CertificateDer<'static> {
        self.ca_der.clone()
    }

    pub(crate) fn server_identity(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (
            self.server_cert.clone(),
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.server_key.clone())),
        )
    }

    /// A client certificate: the user is its common name, the groups its organisations.
    pub fn client_certificate(
        &self,
        user: &str,
        groups: &[&str],
    ) -> Result<ClientCertificate, PkiError> {
        let fail = |source| PkiError::Generate {
            subject: user.to_owned(),
            source,
        };
        let mut params = CertificateParams::new(Vec::new()).map_err(fail)?;
        params.distinguished_name = common_name(user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if groups.len() > ORGANISATION.len() {
            return Err(PkiError::TooManyGroups {
                subject: user.to_owned(),
                count: groups.len(),
            });
        }
        for (kind, group) in ORGANISATION.iter().zip(groups) {
            params
                .distinguished_name
                .push(kind.clone(), DnValue::Utf8String((*group).to_owned()));
        }
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok(ClientCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A kubeconfig (YAML) for one user with an embedded client certificate.
    pub fn kubeconfig(
        &self,
        server_url: &str,
        cluster: &str,
        user: &str,
        groups: &[&str],
    ) -> Result<String, PkiError> {
        let client = self.client_certificate(user, groups)?;
        let name = serde_json::Value::from(cluster);
        let user = serde_json::Value::from(user);
        let url = serde_json::Value::from(server_url);
        Ok(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {url}\n    certificate-authority-data: {ca}\n\
             users:\n- name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {user}\ncurrent-context: {name}\n",
            ca = STANDARD.encode(&self.ca_pem),
            certificate = STANDARD.encode(&client.certificate),
            key = STANDARD.encode(&client.key),
        ))
    }
}

/// Two spellings of one attribute (2.5.4.10): rcgen keeps one value per spelling.
static ORGANISATION: LazyLock<[DnType; 2]> = LazyLock::new(|| {
    [
        DnType::OrganizationName,
        DnType::CustomDnType(vec![2, 5, 4, 10]),
    ]
});

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    dn
}
