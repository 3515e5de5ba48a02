//! An S3 server in the process of a test.

#![allow(clippy::unwrap_used, dead_code)]

use std::net::SocketAddr;

use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::TcpListener;

/// A server with one bucket named `bucket`, which `camera` (secret `hunter2`) may write and everybody may read, also
/// from pages of other origins. Gone when dropped.
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("camera", "hunter2"));
        builder.set_access(PublicReading);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, builder.build()));
        Self { address, folder, task }
    }

    /// The store's URL of a place in it.
    pub(crate) fn url(&self, location: &str, credentials: &str) -> String {
        format!("s3://{credentials}@{location}?endpoint=http://{}", self.address)
    }

    /// Where a plain HTTP client finds an object.
    pub(crate) fn object(&self, location: &str) -> String {
        format!("http://{}/{location}", self.address)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As a bucket's policy says it for a bucket that a CDN or a player reads.
struct PublicReading;

#[async_trait::async_trait]
impl S3Access for PublicReading {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            Some(_) => Ok(()),
            None if context.s3_op().name() == "GetObject" => Ok(()),
            None => Err(s3_error!(AccessDenied)),
        }
    }
}

pub(crate) async fn serve(listener: TcpListener, service: S3Service) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // Without it each answer waits 40 ms for a delayed acknowledgement.
        socket.set_nodelay(true).unwrap();
        let service = service.clone();
        let with_cors = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let answer = Service::call(&service, request);
            async move {
                let mut answer = answer.await?;
                answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                Ok::<_, s3s::HttpError>(answer)
            }
        });
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), with_cors).await;
        });
    }
}
