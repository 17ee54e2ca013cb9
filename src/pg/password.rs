//! Tenant passwords: made here, shown once, known to the server only as a SCRAM verifier.

use std::fmt;

use rand::RngExt;

/// Letters and digits without those that look alike, so that a password survives being read aloud and needs
/// quoting nowhere.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/// 32 characters of 57: 186 bits.
const LENGTH: usize = 32;

/// A clear-text password. Debug shows nothing of it; [`Password::reveal`] is the only way to the text.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A new random password from the operating system's generator (reseeded ChaCha).
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        Self(
            (0..LENGTH)
                .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
                .collect(),
        )
    }

    /// A password that was stored.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The text, for showing it once or writing it to the credentials file.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its SCRAM-SHA-256 verifier with a random salt, as `pg_authid.rolpassword` holds it (4,096 iterations, the
    /// server's default).
    pub fn verifier(&self) -> String {
        postgres_protocol::password::scram_sha_256(self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(********)")
    }
}

/// Random bytes as lower-case hex, for salts and names.
pub fn random_hex(bytes: usize) -> String {
    let mut rng = rand::rng();
    (0..bytes).map(|_| format!("{:02x}", rng.random::<u8>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_hide() {
        let (a, b) = (Password::generate(), Password::generate());
        assert_eq!(a.reveal().len(), LENGTH);
        assert_ne!(a.reveal(), b.reveal());
        assert!(!format!("{a:?}").contains(a.reveal()));
        assert!(a.verifier().starts_with("SCRAM-SHA-256$4096:"));
        assert_ne!(a.verifier(), a.verifier());
    }
}
