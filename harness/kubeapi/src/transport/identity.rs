//! The user a client certificate names: common name and organisations of its subject.
//!
//! TLS has verified the certificate before, so this reads a well-formed structure and only looks for the subject.

use crate::user::User;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
/// The optional version at the start of a certificate's content.
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// None when the certificate has no common name.
pub fn user(certificate: &[u8]) -> Option<User> {
    let (_, certificate, _) = element(certificate)?;
    let (_, content, _) = element(certificate)?;
    let mut rest = content;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, mut names, _) = element(rest)? else {
        return None;
    };
    let mut common_name = None;
    let mut groups = Vec::new();
    while let Some((SET, set, after)) = element(names) {
        names = after;
        let mut attributes = set;
        while let Some((SEQUENCE, attribute, after)) = element(attributes) {
            attributes = after;
            let (OID, kind, value) = element(attribute)? else {
                continue;
            };
            let (_, text, _) = element(value)?;
            let text = String::from_utf8(text.to_vec()).ok()?;
            match kind {
                COMMON_NAME => common_name = Some(text),
                ORGANISATION => groups.push(text),
                _ => {}
            }
        }
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Some(User::new(&common_name?, &groups))
}

/// Tag and content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = bytes.iter().try_fold(0usize, |length, byte| {
            length.checked_mul(256)?.checked_add(usize::from(*byte))
        })?;
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::pki::Pki;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn name_and_groups() {
        let pki = Pki::generate(&["127.0.0.1".to_owned()]).unwrap();
        let client = pki
            .client_certificate("alice", &["system:masters", "devs"])
            .unwrap();
        let der = CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap();
        let user = user(&der).unwrap();
        assert_eq!(user.name, "alice");
        assert!(user.is_master() && user.in_group("devs") && user.in_group("system:authenticated"));
    }

    #[test]
    fn rubbish_names_nobody() {
        assert!(user(&[0x30, 0x82]).is_none());
        assert!(user(b"certificate").is_none());
    }
}
