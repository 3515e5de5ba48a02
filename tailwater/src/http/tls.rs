//! The certificate, read again when its files change: renewal needs no restart.

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
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

/// A certificate in use.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RustlsConfig,
}

impl Tls {
    /// Reads certificate and key, and checks that they belong together.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        // The one provider of this process; a second call finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = RustlsConfig::from_pem_chain_file(&files.cert, &files.key).await.map_err(|source| TlsError {
            cert: files.cert.clone(),
            key: files.key.clone(),
            source,
        })?;
        Ok(Self { files: files.clone(), config })
    }

    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
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
        self.config.reload_from_config(fresh.config.get_inner());
        Ok(())
    }

    /// When the files were written last. A renewal that replaces a link shows too: links are followed.
    fn stamp(&self) -> [Option<SystemTime>; 2] {
        [&self.files.cert, &self.files.key]
            .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}
