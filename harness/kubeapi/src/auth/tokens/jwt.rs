//! JSON Web Tokens signed with ECDSA over P-256, by a key that lives as long as the server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A key could not be made or used; the machine gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("key for service account tokens cannot be {0}")]
pub struct KeyError(&'static str);

/// Signs tokens and knows its own again.
pub struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

impl Signer {
    pub fn generate() -> Result<Self, KeyError> {
        let failed = |_| KeyError("made");
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .map_err(|_| KeyError("read"))?;
        let id = BASE64.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, random, id })
    }

    pub fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let signed = format!(
            "{}.{}",
            BASE64.encode(header.to_string()),
            BASE64.encode(claims.to_string())
        );
        let signature = self
            .pair
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| KeyError("used"))?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this key signed.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        // Only this way of signing is known here, so a token cannot choose a weaker one.
        if header["alg"] != "ES256" {
            return None;
        }
        let signature = BASE64.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// The public key, as others read it to check tokens themselves.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: a mark and two coordinates of 32 bytes.
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_by_its_signer_only() {
        let signer = Signer::generate().unwrap();
        let claims = json!({"sub": "system:serviceaccount:a:b", "exp": 5});
        let token = signer.sign(&claims).unwrap();
        assert_eq!(signer.verify(&token), Some(claims));
        assert_eq!(Signer::generate().unwrap().verify(&token), None);
    }

    #[test]
    fn changed_claims_and_other_algorithms_are_refused() {
        let signer = Signer::generate().unwrap();
        let token = signer.sign(&json!({"sub": "a"})).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = BASE64.encode(json!({"sub": "b"}).to_string());
        assert_eq!(
            signer.verify(&format!("{}.{other}.{}", parts[0], parts[2])),
            None
        );
        let none = BASE64.encode(json!({"alg": "none"}).to_string());
        assert_eq!(signer.verify(&format!("{none}.{}.", parts[1])), None);
        for rubbish in ["", ".", "..", "a.b", "a.b.c", "é.é.é"] {
            assert_eq!(signer.verify(rubbish), None, "{rubbish}");
        }
    }
}
