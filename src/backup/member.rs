//! A member on its way into the store and out of it: bytes, zstd, age where wanted, SHA-256, the store. What is held in
//! memory is a few frames of zstd.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::manifest::{BackupId, Member, damaged};
use crate::credentials::vault::{Closed, Identities, Recipients};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Download, Metadata, Store, Upload};
use crate::tenant::hex;

/// What is unpacked at a time.
const PIECE: usize = 256 << 10;

/// How members are written.
#[derive(Clone)]
pub struct Packing {
    /// zstd's, 1 to 22.
    pub level: i32,
    /// Whom they are encrypted to; none: they are not.
    pub recipients: Arc<Recipients>,
}

impl Packing {
    /// Bytes of a frame of zstd, about twice the window of the level: what a frame cannot find in the one before it then
    /// costs less than a percent, and whole frames are compressed quicker than a stream.
    pub fn frame_bytes(&self) -> usize {
        match self.level {
            ..=2 => 1 << 20,
            3..=9 => 4 << 20,
            _ => 16 << 20,
        }
    }
}

/// Takes the bytes that come out of encryption.
#[derive(Clone, Default)]
struct Sealed(Arc<Mutex<Vec<u8>>>);

impl Write for Sealed {
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

impl Sealed {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Encryption to all recipients.
struct Seal {
    writer: StreamWriter<Sealed>,
    sealed: Sealed,
}

/// Makes frames of zstd, encrypted where wanted, and hashes them.
struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    frame_bytes: usize,
    frame: Vec<u8>,
    seal: Option<Seal>,
    hash: Sha256,
}

impl Packer {
    fn new(packing: &Packing, name: &str) -> Result<Self> {
        let encryptor = packing.recipients.encryptor()?;
        let made = || {
            let seal = encryptor.map(|encryptor| {
                let sealed = Sealed::default();
                let writer = encryptor.wrap_output(sealed.clone())?;
                Ok::<_, std::io::Error>(Seal { writer, sealed })
            });
            Ok(Self {
                compressor: zstd::bulk::Compressor::new(packing.level)?,
                frame_bytes: packing.frame_bytes(),
                frame: Vec::new(),
                seal: seal.transpose()?,
                hash: Sha256::new(),
            })
        };
        made().map_err(|e| cannot_pack(name, &e))
    }

    fn pack(&mut self, bytes: &[u8]) -> std::io::Result<Bytes> {
        let mut packed = Vec::new();
        let mut rest = bytes;
        // An empty frame for no bytes: an empty file is nothing that zstd would read.
        loop {
            let (piece, more) = rest.split_at(rest.len().min(self.frame_bytes));
            self.frame.clear();
            self.frame.reserve(zstd::zstd_safe::compress_bound(piece.len()));
            self.compressor.compress_to_buffer(piece, &mut self.frame)?;
            match &mut self.seal {
                None => packed.extend_from_slice(&self.frame),
                Some(seal) => seal.writer.write_all(&self.frame)?,
            }
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        if let Some(seal) = &self.seal {
            packed = seal.sealed.take();
        }
        self.hash.update(&packed);
        Ok(Bytes::from(packed))
    }

    /// The last bytes, and the checksum of all.
    fn end(mut self) -> std::io::Result<(Bytes, String)> {
        let mut rest = Vec::new();
        if let Some(seal) = self.seal {
            seal.writer.finish()?;
            rest = seal.sealed.take();
        }
        self.hash.update(&rest);
        Ok((Bytes::from(rest), hex(&self.hash.finalize())))
    }
}

/// What packs, what it was given and what came of it.
type Packed = (Packer, Vec<u8>, std::io::Result<Bytes>);

/// Writes one member: a frame of zstd after the other, which any zstd reads as one file. A frame is packed while its writer
/// collects the next.
pub struct MemberWriter {
    name: String,
    upload: Box<dyn Upload>,
    /// Packs what was given last; none after a failure.
    work: Option<tokio::task::JoinHandle<Packed>>,
    raw_bytes: u64,
    stored_bytes: u64,
}

impl MemberWriter {
    /// Begins a member with its first bytes; `name` has its `.zst` and `.age` already.
    ///
    /// # Errors
    /// Kind `store`.
    pub async fn create(
        store: &dyn Store,
        id: &BackupId,
        name: String,
        metadata: &Metadata,
        packing: &Packing,
        bytes: Vec<u8>,
    ) -> Result<Self> {
        let packer = Packer::new(packing, &name)?;
        let upload = store.create(&format!("{}{name}", id.prefix()), metadata).await?;
        let mut writer = Self {
            name,
            upload,
            work: None,
            raw_bytes: 0,
            stored_bytes: 0,
        };
        writer.begin(packer, bytes);
        Ok(writer)
    }

    fn begin(&mut self, mut packer: Packer, bytes: Vec<u8>) {
        self.raw_bytes += bytes.len() as u64;
        self.work = Some(tokio::task::spawn_blocking(move || {
            let packed = packer.pack(&bytes);
            (packer, bytes, packed)
        }));
    }

    /// Waits for what is under way and sends it.
    async fn settle(&mut self) -> Result<(Packer, Vec<u8>)> {
        let ended = match self.work.take() {
            Some(work) => work.await.map_err(std::io::Error::other),
            None => Err(std::io::Error::other("it was given up")),
        };
        let (packer, bytes, packed) = ended.map_err(|e| cannot_pack(&self.name, &e))?;
        self.send(packed.map_err(|e| cannot_pack(&self.name, &e))?).await?;
        Ok((packer, bytes))
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        self.stored_bytes += bytes.len() as u64;
        self.upload.write(bytes).await
    }

    /// Takes the bytes away and appends them, best [`Packing::frame_bytes`] at a time: each call ends a frame.
    ///
    /// # Errors
    /// Kind `store`; the member is then to be aborted.
    pub async fn write(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let (packer, mut spare) = self.settle().await?;
        spare.clear();
        self.begin(packer, std::mem::replace(bytes, spare));
        Ok(())
    }

    /// Makes it visible in the store.
    ///
    /// # Errors
    /// Kind `store`; then nothing of it is there.
    pub async fn finish(mut self) -> Result<Member> {
        let sha256 = match self.end().await {
            Ok(sha256) => sha256,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        self.upload.finish().await?;
        Ok(Member {
            name: self.name,
            raw_bytes: self.raw_bytes,
            stored_bytes: self.stored_bytes,
            sha256,
        })
    }

    async fn end(&mut self) -> Result<String> {
        let (packer, _) = self.settle().await?;
        let (rest, sha256) = packer.end().map_err(|e| cannot_pack(&self.name, &e))?;
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        Ok(sha256)
    }

    /// Gives it up.
    pub async fn abort(self) {
        self.upload.abort().await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_one_file() {
        let packing = Packing {
            level: 1,
            recipients: Arc::default(),
        };
        let mut packer = Packer::new(&packing, "rows").expect("packer");
        let rows: Vec<u8> = (0..packing.frame_bytes() * 5 / 2).map(|i| (i % 251) as u8).collect();
        let mut stored = packer.pack(&rows).expect("pack").to_vec();
        stored.extend_from_slice(&packer.pack(&[]).expect("pack nothing"));
        stored.extend_from_slice(&packer.pack(b"last").expect("pack"));
        let (rest, sha256) = packer.end().expect("end");
        assert!(rest.is_empty());
        assert_eq!(sha256, hex(&Sha256::digest(&stored)));
        let read = zstd::stream::decode_all(stored.as_slice()).expect("unpack");
        assert!(read == [rows.as_slice(), b"last"].concat());
    }
}
