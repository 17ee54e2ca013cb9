//! An S3 service in the test process: s3s over HTTP, with s3s-fs behind it, made to answer as Amazon's does where s3s-fs is
//! lenient, and a layer in front that breaks what a test wants broken.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tenantctl::store::Access;

use super::{runtime, unique};

/// The bucket that every server has.
pub const BUCKET: &str = "backups";
const KEY: &str = "AKIATENANTCTLTEST";
const SECRET: &str = "not a secret";

/// A server; its folder is removed with it.
pub struct S3Server {
    root: PathBuf,
    port: u16,
    state: Arc<State>,
    service: S3Service,
    accepting: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// What a fault does to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answers with this status and the code that goes with it, without doing anything.
    Answer(u16, &'static str),
    /// Cuts the connection after so many bytes of the request's body.
    CutRequest(usize),
    /// Does what was asked, then cuts the connection after so many bytes of the answer's body.
    CutResponse(usize),
    /// Does what was asked, then cuts the connection before the answer.
    LoseAnswer,
    /// Waits first.
    Delay(Duration),
}

/// What is to go wrong, for requests by this method whose path and query hold this text.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    pub holds: String,
    /// So many requests go through before.
    pub after: usize,
    /// So many requests are hit.
    pub times: usize,
    pub action: Action,
}

impl Fault {
    /// Hits the next request of this kind.
    pub fn once(method: &'static str, holds: &str, action: Action) -> Self {
        Self {
            method,
            holds: holds.to_owned(),
            after: 0,
            times: 1,
            action,
        }
    }

    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }
}

/// What an object was written with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub storage_class: Option<String>,
    pub encryption: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<String>>,
    uploads: Mutex<BTreeMap<String, OpenUpload>>,
    written: Mutex<BTreeMap<String, Written>>,
    refuses_policies: AtomicBool,
    lists_no_uploads: AtomicBool,
    removes_no_batches: AtomicBool,
    part_requests: AtomicUsize,
    most_part_requests: AtomicUsize,
}

struct OpenUpload {
    bucket: String,
    key: String,
    initiated: SystemTime,
    written: Written,
    /// ETags by number.
    parts: BTreeMap<i32, String>,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        let root = std::env::temp_dir().join(format!("tenantctl-s3-{}-{}", std::process::id(), unique("s3")));
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let state = Arc::<State>::default();
        let mut builder = S3ServiceBuilder::new(Amazon {
            files: Arc::new(FileSystem::new(&root).unwrap()),
            root: root.clone(),
            state: Arc::clone(&state),
        });
        builder.set_auth(Keys);
        let server = Self {
            root,
            port: super::free_port(),
            state,
            service: builder.build(),
            accepting: Mutex::new(None),
        };
        server.resume();
        server
    }

    /// The URL of a store in the bucket.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// For the library.
    pub fn access(&self) -> Access {
        Access {
            endpoint_url: Some(self.endpoint()),
            region: Some("us-east-1".to_owned()),
            keys: Some((KEY.to_owned(), SECRET.to_owned())),
            attempts: None,
        }
    }

    /// The same for the binary.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Ends the server as a kill does: connections break, what was stored stays.
    pub fn kill(&self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
            // The listener is closed when the task has ended.
            let _ = runtime().block_on(accepting);
        }
    }

    /// Listens again, on the same port.
    pub fn resume(&self) {
        let front = Front {
            state: Arc::clone(&self.state),
            service: self.service.clone(),
        };
        let address = ("127.0.0.1", self.port);
        let listener = runtime().block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let task = runtime().spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let front = front.clone();
                connections.spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), front).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.state.faults.lock().unwrap().push(fault);
    }

    /// Whether every fault has come to pass.
    pub fn faults_done(&self) -> bool {
        self.state.faults.lock().unwrap().is_empty()
    }

    pub fn no_more_faults(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// Requests so far whose method, path and query hold all of these.
    pub fn requests(&self, parts: &[&str]) -> usize {
        let requests = self.state.requests.lock().unwrap();
        requests
            .iter()
            .filter(|r| parts.iter().all(|part| r.contains(part)))
            .count()
    }

    /// The keys of multipart uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        let uploads = self.state.uploads.lock().unwrap();
        uploads.values().map(|upload| upload.key.clone()).collect()
    }

    /// All objects of the bucket.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(dir: &std::path::Path, key: &str, found: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let key = format!("{key}{}", entry.file_name().to_str().unwrap());
                match entry.path().is_dir() {
                    true => walk(&entry.path(), &format!("{key}/"), found),
                    false => {
                        found.insert(key, std::fs::read(entry.path()).unwrap());
                    }
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.root.join(BUCKET), "", &mut found);
        found
    }

    /// Puts other bytes into an object's place, behind the server's back.
    pub fn overwrite(&self, key: &str, bytes: &[u8]) {
        std::fs::write(self.root.join(BUCKET).join(key), bytes).unwrap();
    }

    /// Takes an object away, behind the server's back.
    pub fn remove(&self, key: &str) {
        std::fs::remove_file(self.root.join(BUCKET).join(key)).unwrap();
    }

    /// What an object was written with.
    pub fn written(&self, key: &str) -> Written {
        self.state.written.lock().unwrap().get(key).cloned().unwrap_or_default()
    }

    /// The most UploadParts that were being answered at one time.
    pub fn most_parts_at_once(&self) -> usize {
        self.state.most_part_requests.load(Ordering::Relaxed)
    }

    /// Refuses storage classes and encryption, as services without them do.
    pub fn refuse_policies(&self) {
        self.state.refuses_policies.store(true, Ordering::Relaxed);
    }

    /// Has no ListMultipartUploads.
    pub fn list_no_uploads(&self) {
        self.state.lists_no_uploads.store(true, Ordering::Relaxed);
    }

    /// Has no DeleteObjects.
    pub fn remove_no_batches(&self) {
        self.state.removes_no_batches.store(true, Ordering::Relaxed);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The layer that breaks things.
#[derive(Clone)]
struct Front {
    state: Arc<State>,
    service: S3Service,
}

impl Front {
    /// The fault that this request is to suffer.
    fn fault(&self, method: &str, uri: &str) -> Option<Action> {
        let mut faults = self.state.faults.lock().unwrap();
        let hit = faults
            .iter_mut()
            .find(|fault| fault.method == method && uri.contains(&fault.holds))?;
        if hit.after > 0 {
            hit.after -= 1;
            return None;
        }
        hit.times -= 1;
        let action = hit.action.clone();
        faults.retain(|fault| fault.times > 0);
        Some(action)
    }

    async fn answer(self, request: hyper::Request<Incoming>) -> Result<HttpResponse, HttpError> {
        let (method, uri) = (request.method().to_string(), request.uri().to_string());
        self.state.requests.lock().unwrap().push(format!("{method} {uri}"));
        let fault = self.fault(&method, &uri);
        match fault {
            None => self.service.call(request.map(Body::from)).await,
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.service.call(request.map(Body::from)).await
            }
            Some(Action::Answer(status, code)) => {
                // Who is answered while still sending may find the connection broken before it has read the answer.
                let mut body = request.into_body();
                while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
                let text = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
                let mut response = HttpResponse::new(Body::from(text));
                *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
            Some(Action::CutRequest(bytes)) => {
                let mut body = request.into_body();
                let mut seen = 0;
                while seen < bytes {
                    let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                    let Some(Ok(frame)) = frame else { break };
                    seen += frame.data_ref().map_or(0, |data| data.len());
                }
                Err(cut())
            }
            Some(Action::LoseAnswer) => {
                let response = self.service.call(request.map(Body::from)).await?;
                // Some answers are made while they are sent.
                let mut body = response.into_body();
                while std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))
                    .await
                    .is_some()
                {}
                Err(cut())
            }
            Some(Action::CutResponse(bytes)) => {
                let response = self.service.call(request.map(Body::from)).await?;
                Ok(response.map(|body| Body::http_body_unsync(CutBody { body, left: bytes })))
            }
        }
    }
}

fn cut() -> HttpError {
    HttpError::new("cut by the test".into())
}

impl hyper::service::Service<hyper::Request<Incoming>> for Front {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// A body that breaks off.
struct CutBody {
    body: Body,
    left: usize,
}

impl HttpBody for CutBody {
    type Data = bytes::Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("cut by the test".into())));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = frame else {
            return frame;
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut data) => {
                data.truncate(self.left);
                self.left -= data.len();
                Frame::data(data)
            }
            Err(frame) => frame,
        })))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One account.
struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match access_key {
            KEY => Ok(SecretKey::from(SECRET)),
            _ => {
                let mut error = s3_error!(
                    InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records."
                );
                error.set_status_code(hyper::StatusCode::FORBIDDEN);
                Err(error)
            }
        }
    }
}

/// Whole, although the client may hang up meanwhile: what a request has changed is not left half changed.
async fn carried_out<T: Send + 'static>(work: impl Future<Output = S3Result<T>> + Send + 'static) -> S3Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(s3_error!(InternalError, "We encountered an internal error.")))
}

/// s3s-fs makes buckets by itself, forgets storage classes, lists no uploads, does not compare ETags of parts, and says
/// AccessDenied where there is no such upload.
struct Amazon {
    files: Arc<FileSystem>,
    root: PathBuf,
    state: Arc<State>,
}

impl Amazon {
    fn bucket(&self, bucket: &str) -> S3Result<()> {
        match self.root.join(bucket).is_dir() {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }

    /// The storage class is kept here and taken off: s3s-fs knows two.
    fn written(
        &self,
        class: &mut Option<StorageClass>,
        encryption: Option<&ServerSideEncryption>,
        metadata: Option<&Metadata>,
    ) -> S3Result<Written> {
        let written = Written {
            storage_class: class.take().map(|class| class.as_str().to_owned()),
            encryption: encryption.map(|encryption| encryption.as_str().to_owned()),
            metadata: metadata
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        let refuses = self.state.refuses_policies.load(Ordering::Relaxed);
        if refuses && (written.storage_class.is_some() || written.encryption.is_some()) {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        Ok(written)
    }

    fn upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        let uploads = self.state.uploads.lock().unwrap();
        match uploads.get(id) {
            Some(upload) if upload.bucket == bucket && upload.key == key => Ok(()),
            _ => Err(s3_error!(NoSuchUpload, "The specified upload does not exist.")),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Amazon {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&req.input.bucket)?;
        let encryption = req.input.server_side_encryption.clone();
        let metadata = req.input.metadata.clone();
        let written = self.written(&mut req.input.storage_class, encryption.as_ref(), metadata.as_ref())?;
        let key = req.input.key.clone();
        let answer = self.files.put_object(req).await?;
        self.state.written.lock().unwrap().insert(key, written);
        Ok(answer)
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.bucket(&bucket)?;
        if !self.root.join(&bucket).join(&key).is_file() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        let condition = req.input.if_match.take();
        let ranged = req.input.range.is_some();
        let mut answer = self.files.get_object(req).await?;
        if let (Some(ETagCondition::ETag(wanted)), Some(found)) = (&condition, &answer.output.e_tag)
            && !found.strong_cmp(wanted)
        {
            return Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ));
        }
        if ranged {
            answer.status = Some(hyper::StatusCode::PARTIAL_CONTENT);
        }
        Ok(answer)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.bucket(&req.input.bucket)?;
        if self.state.removes_no_batches.load(Ordering::Relaxed) {
            return Err(s3_error!(NotImplemented, "DeleteObjects is not implemented"));
        }
        if req.input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML, "more than 1000 keys"));
        }
        self.files.delete_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.bucket(&req.input.bucket)?;
        let encryption = req.input.server_side_encryption.clone();
        let metadata = req.input.metadata.clone();
        let written = self.written(&mut req.input.storage_class, encryption.as_ref(), metadata.as_ref())?;
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let answer = self.files.create_multipart_upload(req).await?;
        let id = answer.output.upload_id.clone().unwrap();
        let upload = OpenUpload {
            bucket,
            key,
            initiated: SystemTime::now(),
            written,
            parts: BTreeMap::new(),
        };
        self.state.uploads.lock().unwrap().insert(id, upload);
        Ok(answer)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (id, number) = (req.input.upload_id.clone(), req.input.part_number);
        self.upload(&id, &req.input.bucket, &req.input.key)?;
        let now = self.state.part_requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.state.most_part_requests.fetch_max(now, Ordering::Relaxed);
        let answer = self.files.upload_part(req).await;
        self.state.part_requests.fetch_sub(1, Ordering::Relaxed);
        let answer = answer?;
        let tag = answer.output.e_tag.as_ref().unwrap().value().to_owned();
        if let Some(upload) = self.state.uploads.lock().unwrap().get_mut(&id) {
            upload.parts.insert(number, tag);
        }
        Ok(answer)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (id, key) = (req.input.upload_id.clone(), req.input.key.clone());
        self.upload(&id, &req.input.bucket, &key)?;
        let parts = req
            .input
            .multipart_upload
            .as_ref()
            .and_then(|all| all.parts.clone())
            .unwrap_or_default();
        let written = {
            let uploads = self.state.uploads.lock().unwrap();
            let upload = uploads.get(&id).unwrap();
            for part in &parts {
                let known = part.part_number.and_then(|number| upload.parts.get(&number));
                if known.is_none() || part.e_tag.as_ref().map(|tag| tag.value()) != known.map(String::as_str) {
                    return Err(s3_error!(
                        InvalidPart,
                        "One or more of the specified parts could not be found."
                    ));
                }
            }
            upload.written.clone()
        };
        let (files, state) = (Arc::clone(&self.files), Arc::clone(&self.state));
        carried_out(async move {
            let answer = files.complete_multipart_upload(req).await?;
            state.uploads.lock().unwrap().remove(&id);
            state.written.lock().unwrap().insert(key, written);
            Ok(answer)
        })
        .await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        self.upload(&id, &req.input.bucket, &req.input.key)?;
        let (files, state) = (Arc::clone(&self.files), Arc::clone(&self.state));
        carried_out(async move {
            let answer = files.abort_multipart_upload(req).await?;
            state.uploads.lock().unwrap().remove(&id);
            Ok(answer)
        })
        .await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.bucket(&input.bucket)?;
        if self.state.lists_no_uploads.load(Ordering::Relaxed) {
            return Err(S3Error::new(S3ErrorCode::NotImplemented));
        }
        // Two a page, so that paging is used.
        let most = 2;
        let after = (
            input.key_marker.clone().unwrap_or_default(),
            input.upload_id_marker.clone().unwrap_or_default(),
        );
        let prefix = input.prefix.clone().unwrap_or_default();
        let uploads = self.state.uploads.lock().unwrap();
        let mut found: Vec<_> = uploads
            .iter()
            .filter(|(_, upload)| upload.bucket == input.bucket && upload.key.starts_with(&prefix))
            .map(|(id, upload)| (upload.key.clone(), id.clone(), upload.initiated))
            .filter(|(key, id, _)| (key, id) > (&after.0, &after.1))
            .collect();
        found.sort();
        let truncated = found.len() > most;
        found.truncate(most);
        let last = found.last().filter(|_| truncated).cloned();
        let uploads = found.into_iter().map(|(key, id, initiated)| MultipartUpload {
            key: Some(key),
            upload_id: Some(id),
            initiated: Some(initiated.into()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|(key, _, _)| key.clone()),
            next_upload_id_marker: last.map(|(_, id, _)| id),
            uploads: Some(uploads.collect()),
            ..Default::default()
        }))
    }
}
