//! A self-signed certificate for this machine, gone with the process.

use anyhow::Context;

use crate::config::TlsFiles;

/// The files and the text of a certificate. Dropping it removes the files.
pub(super) struct Certificate {
    folder: std::path::PathBuf,
    pem: String,
}

impl Certificate {
    pub(super) fn new() -> anyhow::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
        let folder = std::env::temp_dir().join(format!("tailwater-demo-{}", std::process::id()));
        let certificate = Self { folder, pem: made.cert.pem() };
        let files = certificate.files();
        std::fs::create_dir_all(&certificate.folder)
            .and_then(|()| std::fs::write(&files.cert, &certificate.pem))
            .and_then(|()| write_private(&files.key, &made.signing_key.serialize_pem()))
            .with_context(|| format!("cannot write a certificate to {}", certificate.folder.display()))?;
        Ok(certificate)
    }

    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.folder.join("cert.pem"), key: self.folder.join("key.pem") }
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }
}

/// For the owner's eyes only, from the first byte on.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
