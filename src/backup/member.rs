//! A member on its way into the store and out of it: bytes, zstd, age where wanted, SHA-256, the store. All streaming; what
//! is held in memory is some hundred kilobytes and the window of zstd.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::manifest::{BackupId, Member, damaged};
use crate::credentials::vault::{Closed, Identities, Recipients};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Download, Metadata, Store, Upload};
use crate::tenant::hex;

/// What is sent to the store at a time, at least.
const PIECE: usize = 256 << 10;

/// How members are written.
#[derive(Clone)]
pub struct Packing {
    /// zstd's, 1 to 22.
    pub level: i32,
    /// Whom they are encrypted to; none: they are not.
    pub recipients: Arc<Recipients>,
}

/// Takes the bytes that come out of compression and encryption.
#[derive(Clone, Default)]
struct Packed(Arc<Mutex<Vec<u8>>>);

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Packed {
    fn take(&self, at_least: usize) -> Option<Bytes> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (buffer.len() >= at_least && !buffer.is_empty()).then(|| Bytes::from(std::mem::take(&mut *buffer)))
    }
}

enum Seal {
    Open(Packed),
    Age(Box<StreamWriter<Packed>>),
}

impl Write for Seal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Open(out) => out.write(bytes),
            Self::Age(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes one member.
pub struct MemberWriter {
    name: String,
    packed: Packed,
    encoder: zstd::stream::write::Encoder<'static, Seal>,
    upload: Box<dyn Upload>,
    hash: Sha256,
    raw_bytes: u64,
    stored_bytes: u64,
}

impl MemberWriter {
    /// Begins a member; `name` has its `.zst` and `.age` already.
    ///
    /// # Errors
    /// Kind `store`.
    pub async fn create(
        store: &dyn Store,
        id: &BackupId,
        name: String,
        metadata: &Metadata,
        packing: &Packing,
    ) -> Result<Self> {
        let packed = Packed::default();
        let seal = match packing.recipients.encryptor()? {
            None => Seal::Open(packed.clone()),
            Some(encryptor) => Seal::Age(Box::new(
                seal(encryptor, packed.clone()).map_err(|e| cannot_pack(&name, &e))?,
            )),
        };
        let encoder = zstd::stream::write::Encoder::new(seal, packing.level).map_err(|e| cannot_pack(&name, &e))?;
        let upload = store.create(&format!("{}{name}", id.prefix()), metadata).await?;
        Ok(Self {
            name,
            packed,
            encoder,
            upload,
            hash: Sha256::new(),
            raw_bytes: 0,
            stored_bytes: 0,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Kind `store`; the member is then to be aborted.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.encoder.write_all(bytes).map_err(|e| cannot_pack(&self.name, &e))?;
        self.raw_bytes += bytes.len() as u64;
        self.send(PIECE).await
    }

    /// Bytes that the store has got so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    async fn send(&mut self, at_least: usize) -> Result<()> {
        if let Some(bytes) = self.packed.take(at_least) {
            self.hash.update(&bytes);
            self.stored_bytes += bytes.len() as u64;
            self.upload.write(bytes).await?;
        }
        Ok(())
    }

    /// Makes it visible in the store.
    ///
    /// # Errors
    /// Kind `store`; then nothing of it is there.
    pub async fn finish(mut self) -> Result<Member> {
        let sealed = self.encoder.do_finish().map_err(|e| cannot_pack(&self.name, &e));
        let (encoder, name) = (self.encoder, self.name);
        let mut rest = MemberTail {
            packed: self.packed,
            upload: self.upload,
            hash: self.hash,
            stored_bytes: self.stored_bytes,
        };
        let ended = sealed.and_then(|()| {
            let seal = encoder.finish().map_err(|e| cannot_pack(&name, &e))?;
            if let Seal::Age(writer) = seal {
                writer.finish().map_err(|e| cannot_pack(&name, &e))?;
            }
            Ok(())
        });
        match ended {
            Ok(()) => rest.send().await?,
            Err(error) => {
                rest.upload.abort().await;
                return Err(error);
            }
        }
        let sha256 = hex(&rest.hash.finalize());
        rest.upload.finish().await?;
        Ok(Member {
            name,
            raw_bytes: self.raw_bytes,
            stored_bytes: rest.stored_bytes,
            sha256,
        })
    }

    /// Gives it up.
    pub async fn abort(self) {
        self.upload.abort().await;
    }
}

/// What is left of a writer once the encoder has ended.
struct MemberTail {
    packed: Packed,
    upload: Box<dyn Upload>,
    hash: Sha256,
    stored_bytes: u64,
}

impl MemberTail {
    async fn send(&mut self) -> Result<()> {
        if let Some(bytes) = self.packed.take(1) {
            self.hash.update(&bytes);
            self.stored_bytes += bytes.len() as u64;
            self.upload.write(bytes).await?;
        }
        Ok(())
    }
}

fn seal(encryptor: Encryptor, out: Packed) -> std::io::Result<StreamWriter<Packed>> {
    encryptor.wrap_output(out)
}

fn cannot_pack(name: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot pack {name}")).with_cause(error)
}

/// Writes a small object as it is, neither compressed nor encrypted.
///
/// # Errors
/// Kind `store`.
pub async fn write_plain(
    store: &dyn Store,
    id: &BackupId,
    name: &str,
    metadata: &Metadata,
    text: &str,
) -> Result<Member> {
    let mut upload = store.create(&format!("{}{name}", id.prefix()), metadata).await?;
    if let Err(error) = upload.write(Bytes::copy_from_slice(text.as_bytes())).await {
        upload.abort().await;
        return Err(error);
    }
    upload.finish().await?;
    Ok(Member {
        name: name.to_owned(),
        raw_bytes: text.len() as u64,
        stored_bytes: text.len() as u64,
        sha256: super::manifest::sha256(text.as_bytes()),
    })
}

/// Reads a member's bytes as they lie in the store and holds them to size and checksum, without unpacking.
///
/// # Errors
/// Kind `store`, naming the member.
pub async fn check(store: &dyn Store, id: &BackupId, member: &Member) -> Result<()> {
    let mut stored = Stored::open(store, id, member).await?;
    while stored.next().await?.is_some() {}
    Ok(())
}

/// The bytes of a member as they lie in the store; the last call fails when they are not what the manifest says.
struct Stored {
    id: BackupId,
    member: Member,
    download: Box<dyn Download>,
    hash: Sha256,
    bytes: u64,
}

impl Stored {
    async fn open(store: &dyn Store, id: &BackupId, member: &Member) -> Result<Self> {
        let opened = store.open(&format!("{}{}", id.prefix(), member.name)).await;
        Ok(Self {
            id: id.clone(),
            member: member.clone(),
            download: opened.map_err(|e| match e.kind() {
                ErrorKind::NotFound => damaged(id, &member.name, "it is missing"),
                _ => e,
            })?,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.download.read().await? {
            self.bytes += bytes.len() as u64;
            if self.bytes > self.member.stored_bytes {
                return Err(damaged(&self.id, &self.member.name, "it is longer than it was written"));
            }
            self.hash.update(&bytes);
            return Ok(Some(bytes));
        }
        if self.bytes != self.member.stored_bytes {
            return Err(damaged(
                &self.id,
                &self.member.name,
                "it is shorter than it was written",
            ));
        }
        if hex(&self.hash.clone().finalize()) != self.member.sha256 {
            return Err(damaged(&self.id, &self.member.name, "it does not match its checksum"));
        }
        Ok(None)
    }
}

/// Reads one member, unpacked. The checksum is known only at the end: until [`MemberReader::next`] has returned none, what
/// came is not to be trusted.
pub struct MemberReader {
    id: BackupId,
    member: Member,
    unpacked: mpsc::Receiver<std::io::Result<Bytes>>,
    fed: Option<tokio::task::JoinHandle<Result<()>>>,
    raw_bytes: u64,
}

impl MemberReader {
    /// Opens a member; it is decrypted when its name ends in `.age`.
    ///
    /// # Errors
    /// Kind `store`, naming the member.
    pub async fn open(store: &dyn Store, id: &BackupId, member: &Member, identities: &Arc<Identities>) -> Result<Self> {
        let mut stored = Stored::open(store, id, member).await?;
        let (feed, packed) = mpsc::channel::<Bytes>(4);
        let (out, unpacked) = mpsc::channel(4);
        let encrypted = member.name.ends_with(".age");
        let identities = Arc::clone(identities);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = unpack(Feed::new(packed), encrypted, &identities, &out) {
                let _ = out.blocking_send(Err(error));
            }
        });
        let fed = tokio::spawn(async move {
            // Read to its end even when unpacking has failed: the checksum tells whether the store or the writer is to blame.
            let mut wanted = true;
            while let Some(bytes) = stored.next().await? {
                wanted = wanted && feed.send(bytes).await.is_ok();
            }
            Ok(())
        });
        Ok(Self {
            id: id.clone(),
            member: member.clone(),
            unpacked,
            fed: Some(fed),
            raw_bytes: 0,
        })
    }

    /// The next bytes; none at the end, when size and checksum were found right.
    ///
    /// # Errors
    /// Kind `store`, naming the member.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.unpacked.recv().await {
            Some(Ok(bytes)) => {
                self.raw_bytes += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Some(Err(error)) => {
                self.end().await?;
                Err(self.not_unpacked(&error))
            }
            None => {
                self.end().await?;
                if self.raw_bytes != self.member.raw_bytes {
                    return Err(damaged(
                        &self.id,
                        &self.member.name,
                        "it unpacks to another size than was packed",
                    ));
                }
                Ok(None)
            }
        }
    }

    /// Reads all of it, for what is small.
    ///
    /// # Errors
    /// Kind `store`, naming the member.
    pub async fn text(mut self) -> Result<String> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        String::from_utf8(all)
            .map_err(|e| damaged(&self.id, &self.member.name, "it is not text").with_cause(e.utf8_error()))
    }

    async fn end(&mut self) -> Result<()> {
        match self.fed.take() {
            None => Ok(()),
            Some(fed) => match fed.await {
                Ok(result) => result,
                Err(error) => {
                    Err(Error::new(ErrorKind::Store, format!("cannot read {}", self.member.name)).with_cause(error))
                }
            },
        }
    }

    fn not_unpacked(&self, error: &std::io::Error) -> Error {
        let name = &self.member.name;
        match error.get_ref().and_then(|e| e.downcast_ref::<NoKey>()) {
            Some(_) => Error::new(
                ErrorKind::Store,
                format!("backup {} is encrypted to other keys", self.id),
            )
            .with_cause(format!("none of the identities given opens {name}"))
            .with_hint(
                "--identity or TENANTCTL_IDENTITY names the file with the private key of one of its recipients.",
            ),
            None => damaged(&self.id, name, "it cannot be unpacked").with_cause(error),
        }
    }
}

impl Drop for MemberReader {
    fn drop(&mut self) {
        if let Some(fed) = self.fed.take() {
            fed.abort();
        }
    }
}

/// No identity fits.
#[derive(Debug, thiserror::Error)]
#[error("no identity fits")]
struct NoKey;

fn unpack(
    packed: Feed,
    encrypted: bool,
    identities: &Identities,
    out: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<()> {
    let source: Box<dyn Read> = if encrypted {
        Box::new(identities.decrypt(packed).map_err(|closed| match closed {
            Closed::NoKey => std::io::Error::other(NoKey),
            Closed::Damaged(why) => std::io::Error::other(why),
        })?)
    } else {
        Box::new(packed)
    };
    let mut decoder = zstd::stream::read::Decoder::new(source)?;
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match decoder.read(&mut piece[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        piece.truncate(filled);
        if out.blocking_send(Ok(Bytes::from(piece))).is_err() {
            return Ok(());
        }
    }
}

/// Bytes from a channel as a [`Read`].
struct Feed {
    pieces: mpsc::Receiver<Bytes>,
    now: Bytes,
}

impl Feed {
    fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self {
            pieces,
            now: Bytes::new(),
        }
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.now.is_empty() {
            match self.pieces.blocking_recv() {
                Some(bytes) => self.now = bytes,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.now.len());
        buffer[..n].copy_from_slice(&self.now.split_to(n));
        Ok(n)
    }
}
