//! Passwords as age files: encrypted here to public keys, and decrypted here with a private one.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor, Identity, Recipient, ssh, x25519};

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::Password;

/// The public keys that passwords are stored for. Empty: none are stored.
#[derive(Default)]
pub struct Recipients {
    texts: Vec<String>,
    keys: Vec<Box<dyn Recipient + Send + Sync>>,
}

/// A password that only the holders of a key can read.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// An ASCII-armored age file.
    pub ciphertext: String,
    /// The public keys it was encrypted to, as configured.
    pub recipients: Vec<String>,
}

impl Recipients {
    /// Parses public keys: age's X25519 keys, and SSH keys of kind Ed25519 and RSA.
    ///
    /// # Errors
    /// Kind `config`, naming the key that is none.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let keys = texts.iter().map(|text| recipient(text)).collect::<Result<_>>()?;
        Ok(Self {
            texts: texts.to_vec(),
            keys,
        })
    }

    /// Whether there are none, so that nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// As configured.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// What encrypts a stream to all of them; none if there are none.
    ///
    /// # Errors
    /// When a key cannot encrypt.
    pub fn encryptor(&self) -> Result<Option<Encryptor>> {
        if self.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.iter().map(|key| key.as_ref() as &dyn Recipient);
        Encryptor::with_recipients(keys).map(Some).map_err(|why| {
            Error::config("cannot encrypt to the age recipients")
                .with_cause(why)
                .with_hint("Check the public keys in the configuration.")
        })
    }

    /// Encrypts a password to all of them; none if there are none.
    ///
    /// # Errors
    /// When a key cannot encrypt.
    pub fn seal(&self, password: &Password) -> Result<Option<Sealed>> {
        if self.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.iter().map(|key| key.as_ref() as &dyn Recipient);
        let encrypted = Encryptor::with_recipients(keys)
            .map_err(|e| e.to_string())
            .and_then(|encryptor| write(encryptor, password.reveal().as_bytes()).map_err(|e| e.to_string()));
        let ciphertext = encrypted.map_err(|why| {
            Error::config("cannot encrypt to credentials.age_recipients")
                .with_cause(why)
                .with_hint("Check the public keys there.")
        })?;
        Ok(Some(Sealed {
            ciphertext,
            recipients: self.texts.clone(),
        }))
    }
}

fn write(encryptor: Encryptor, text: &[u8]) -> std::io::Result<String> {
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
    writer.write_all(text)?;
    let bytes = writer.finish()?.finish()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn recipient(text: &str) -> Result<Box<dyn Recipient + Send + Sync>> {
    let parsed: Result<Box<dyn Recipient + Send + Sync>, String> = if text.starts_with("age1") {
        text.parse::<x25519::Recipient>()
            .map(|key| Box::new(key) as _)
            .map_err(str::to_owned)
    } else {
        text.parse::<ssh::Recipient>()
            .map(|key| Box::new(key) as _)
            .map_err(|e| match e {
                ssh::ParseRecipientKeyError::RsaModulusTooLarge => "the RSA key is larger than 4096 bits".into(),
                ssh::ParseRecipientKeyError::RsaModulusTooSmall => "the RSA key is smaller than 2048 bits".into(),
                ssh::ParseRecipientKeyError::Invalid(why) => why.to_owned(),
                _ => "not a key of kind ssh-ed25519 or ssh-rsa".into(),
            })
    };
    parsed.map_err(|why| {
        Error::config(format!("credentials.age_recipients: {text:?} is not a public key"))
            .with_cause(why)
            .with_hint("Copy it in full: `age-keygen -y FILE` prints it, for SSH it is in the file that ends in .pub.")
    })
}

/// Private keys.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

/// Larger than any file of keys.
const FILE_MAX_BYTES: u64 = 1 << 20;

impl Identities {
    /// Reads files of age identities, or of one SSH private key each; `-` is stdin.
    ///
    /// # Errors
    /// Kind `store`, when one cannot be read, holds no private key, or is protected by a passphrase.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut all = Vec::new();
        for path in paths {
            all.extend(identities(path.as_ref())?);
        }
        Ok(Self(all))
    }

    /// Decrypts a stream.
    ///
    /// # Errors
    /// Which of the two ways it failed in.
    pub fn decrypt<R: Read + 'static>(&self, input: R) -> Result<impl Read + 'static, Closed> {
        let decryptor = Decryptor::new_buffered(BufReader::new(input)).map_err(|e| Closed::Damaged(e.to_string()))?;
        let keys = self.0.iter().map(|key| key.as_ref() as &dyn Identity);
        decryptor.decrypt(keys).map_err(|e| match e {
            DecryptError::NoMatchingKeys => Closed::NoKey,
            e => Closed::Damaged(e.to_string()),
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decrypts an armored age file.
    ///
    /// # Errors
    /// Which of the two ways it failed in; the caller knows whose password it is.
    pub fn open(&self, ciphertext: &str) -> Result<Password, Closed> {
        let damaged = |why: &dyn std::fmt::Display| Closed::Damaged(why.to_string());
        let decryptor = Decryptor::new(ArmoredReader::new(ciphertext.as_bytes())).map_err(|e| damaged(&e))?;
        let mut reader = decryptor
            .decrypt(self.0.iter().map(|key| key.as_ref() as &dyn Identity))
            .map_err(|e| match e {
                DecryptError::NoMatchingKeys => Closed::NoKey,
                e => damaged(&e),
            })?;
        let mut text = String::new();
        reader.read_to_string(&mut text).map_err(|e| damaged(&e))?;
        Ok(Password::from_text(text))
    }
}

/// Why a stored password cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is encrypted to other keys.
    NoKey,
    /// It is not an age file, or not whole; with age's own words.
    Damaged(String),
}

fn identities(path: &Path) -> Result<Vec<Box<dyn Identity + Send + Sync>>> {
    let stdin = path == Path::new("-");
    let name = if stdin {
        "stdin".into()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    let source: std::io::Result<Box<dyn Read>> = if stdin {
        Ok(Box::new(std::io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as _)
    };
    source
        .and_then(|source| source.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| {
            Error::new(ErrorKind::Store, format!("cannot read identity {name}"))
                .with_cause(e)
                .with_hint("--identity or TENANTCTL_IDENTITY names a file with an age or SSH private key.")
        })?;
    let no_key = |why: String| {
        Error::new(ErrorKind::Store, format!("{name} holds no private key"))
            .with_cause(why)
            .with_hint("It must be what `age-keygen` wrote, or an SSH private key of kind Ed25519 or RSA.")
    };
    if bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || bytes.starts_with(b"age-encryption.org/") {
        return Err(Error::new(
            ErrorKind::Store,
            format!("identity {name} is protected by a passphrase"),
        )
        .with_hint(format!(
            "Decrypt it on the way in: `age -d {} | tenantctl credentials show TENANT --identity -`.",
            if stdin { "FILE" } else { &name }
        )));
    }
    if bytes.starts_with(b"-----BEGIN") {
        return match ssh::Identity::from_buffer(BufReader::new(bytes.as_slice()), None) {
            Ok(key @ ssh::Identity::Unencrypted(_)) => Ok(vec![Box::new(key)]),
            Ok(ssh::Identity::Encrypted(_)) => Err(Error::new(
                ErrorKind::Store,
                format!("identity {name} is protected by a passphrase"),
            )
            .with_hint(
                "Use a copy without one (`ssh-keygen -p -N '' -f COPY`) and remove it afterwards, or an age identity.",
            )),
            Ok(ssh::Identity::Unsupported(_)) => Err(no_key("a kind of SSH key that age cannot use".into())),
            Err(e) => Err(no_key(e.to_string())),
        };
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| no_key(e.to_string()))?;
    let lines = text.lines().map(str::trim).enumerate();
    let found: Vec<Box<dyn Identity + Send + Sync>> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| {
            let key = line.parse::<x25519::Identity>();
            key.map(|key| Box::new(key) as _)
                .map_err(|e| no_key(format!("line {}: {e}", at + 1)))
        })
        .collect::<Result<_>>()?;
    if found.is_empty() {
        return Err(no_key("it has no line that starts with AGE-SECRET-KEY-1".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";

    fn file(text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tenantctl-identity-{}", crate::pg::password::random_hex(8)));
        std::fs::write(&path, text).expect("a temporary file");
        path
    }

    #[test]
    fn only_the_holder_of_a_key_reads_a_password() {
        use age::secrecy::ExposeSecret;
        let (ours, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let recipients = Recipients::parse(&[ours.to_public().to_string(), SSH.into()]).expect("keys");
        let password = Password::generate();
        let sealed = recipients.seal(&password).expect("sealed").expect("recipients");
        assert!(sealed.ciphertext.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert!(!sealed.ciphertext.contains(password.reveal()));
        assert_eq!(sealed.recipients.len(), 2);
        let paths = [&ours, &other].map(|key| file(&format!("# a comment\n{}\n", key.to_string().expose_secret())));
        let open = |paths: &[std::path::PathBuf], text: &str| Identities::load(paths).expect("identities").open(text);
        assert_eq!(
            open(&paths, &sealed.ciphertext).expect("opened").reveal(),
            password.reveal()
        );
        assert_eq!(open(&paths[1..], &sealed.ciphertext).err(), Some(Closed::NoKey));
        for damaged in [
            String::new(),
            "hello".into(),
            sealed.ciphertext[..sealed.ciphertext.len() / 2].to_owned(),
        ] {
            assert!(
                matches!(open(&paths[..1], &damaged), Err(Closed::Damaged(_))),
                "{damaged}"
            );
        }
        for path in paths {
            let _ = std::fs::remove_file(path);
        }
        assert!(Recipients::default().seal(&password).expect("nothing to do").is_none());
    }

    #[test]
    fn keys_that_are_none_are_named() {
        for bad in [
            format!("age1{}", "q".repeat(58)),
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQD".into(),
        ] {
            let error = Recipients::parse(std::slice::from_ref(&bad)).err().expect("not a key");
            assert!(error.message().contains(&bad), "{error}");
            assert_eq!(error.kind().exit_code(), 2);
        }
    }

    #[test]
    fn files_that_hold_no_usable_key_say_why() {
        for (text, what, hint) in [
            ("", "holds no private key", "age-keygen"),
            ("hello\n", "holds no private key", "age-keygen"),
            (SSH, "holds no private key", "age-keygen"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nzzz\n",
                "holds no private key",
                "age-keygen",
            ),
            (
                "-----BEGIN AGE ENCRYPTED FILE-----\nzzz\n",
                "protected by a passphrase",
                "age -d",
            ),
        ] {
            let path = file(text);
            let error = Identities::load(&[&path]).err().expect(text);
            assert!(error.message().contains(what), "{error}");
            assert!(error.hint().is_some_and(|h| h.contains(hint)), "{error:?}");
            assert_eq!(error.kind().exit_code(), 5);
            let _ = std::fs::remove_file(path);
        }
        assert_eq!(
            Identities::load(&["/nonexistent/key"])
                .err()
                .map(|e| e.kind().exit_code()),
            Some(5)
        );
    }
}
