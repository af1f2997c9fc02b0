//! Passwords as the shadow file keeps them.

use sha_crypt::{CustomizedPasswordHasher, Params, PasswordHash, PasswordVerifier, ShaCrypt};

/// What comes of holding a password against an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
    /// Made by a method that this guest cannot compute.
    Unknown,
}

/// As few rounds as the method allows: the guest lives for minutes, and software emulation makes
/// every round dear.
pub fn hash(password: &str, salt: [u8; 12]) -> Option<String> {
    let params = Params::new(Params::ROUNDS_MIN).ok()?;
    let hash: PasswordHash = ShaCrypt::SHA512
        .hash_password_customized(password.as_bytes(), &salt, None, None, params)
        .ok()?;
    Some(hash.to_string())
}

/// An empty entry needs no password; one that begins with `!` or `*` takes none.
pub fn verify(password: &str, entry: &str) -> Verdict {
    if entry.is_empty() {
        return Verdict::Right;
    }
    if entry.starts_with(['!', '*']) {
        return Verdict::Wrong;
    }
    if !(entry.starts_with("$5$") || entry.starts_with("$6$")) {
        return Verdict::Unknown;
    }
    let Ok(hash) = PasswordHash::new(entry) else {
        return Verdict::Wrong;
    };
    match ShaCrypt::SHA512.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Verdict::Right,
        Err(_) => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_right_only_when_it_is() {
        let entry = hash("fedora", *b"twelve bytes").unwrap();
        assert!(entry.starts_with("$6$rounds=1000$"), "{entry}");
        assert_eq!(verify("fedora", &entry), Verdict::Right);
        assert_eq!(verify("Fedora", &entry), Verdict::Wrong);
        assert_eq!(verify("", &entry), Verdict::Wrong);
    }

    /// Entries that other programs made, among them one with the default number of rounds.
    #[test]
    fn entries_of_other_programs() {
        let openssl = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
        assert_eq!(verify("password", openssl), Verdict::Right);
        assert_eq!(verify("passwort", openssl), Verdict::Wrong);
    }

    #[test]
    fn locked_empty_and_unknown_entries() {
        assert_eq!(verify("x", "!"), Verdict::Wrong);
        assert_eq!(verify("x", "*"), Verdict::Wrong);
        assert_eq!(verify("x", ""), Verdict::Right);
        assert_eq!(verify("x", "$y$j9T$salt$hash"), Verdict::Unknown);
        assert_eq!(verify("x", "$6$"), Verdict::Wrong);
        assert_eq!(verify("x", "$6$only"), Verdict::Wrong);
    }
}
