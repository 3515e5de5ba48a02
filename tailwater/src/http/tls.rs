//! The certificate, read again when its files change: renewal needs no restart.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why there is no HTTPS.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the certificate {cert} with the key {key}: {source}", cert = cert.display(), key = key.display())]
pub struct TlsError {
    cert: PathBuf,
    key: PathBuf,
    source: io::Error,
}

/// A certificate in use. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key, and checks that they belong together.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let config = read(files).await.map_err(|source| TlsError {
            cert: files.cert.clone(),
            key: files.key.clone(),
            source,
        })?;
        Ok(Self { files: files.clone(), config: Arc::new(ArcSwap::from_pointee(config)) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Looks at the files until `stop`. What cannot be used is told and left: the certificate before stays.
    pub async fn follow(self, stop: CancellationToken) {
        let mut seen = self.stamp();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = self.stamp();
            if now == seen {
                continue;
            }
            match self.reload().await {
                Ok(()) => {
                    seen = now;
                    tracing::info!(cert = %self.files.cert.display(), "certificate read again");
                }
                // Perhaps half of a renewal: seen again in a moment.
                Err(error) => tracing::warn!(%error, "the changed certificate cannot be used; the one before stays"),
            }
        }
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// When they cannot be used; the certificate before stays.
    pub async fn reload(&self) -> Result<(), TlsError> {
        let fresh = Self::load(&self.files).await?;
        self.config.store(fresh.config.load_full());
        Ok(())
    }

    /// When the files were written last. A renewal that replaces a link shows too: links are followed.
    fn stamp(&self) -> [Option<SystemTime>; 2] {
        [&self.files.cert, &self.files.key]
            .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}

async fn read(files: &TlsFiles) -> io::Result<ServerConfig> {
    // The one provider of this process; a second call finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (cert, key) = (tokio::fs::read(&files.cert).await?, tokio::fs::read(&files.key).await?);
    let chain = CertificateDer::pem_slice_iter(&cert).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
