//! A real nginx with the documented configuration, filled in for a free port.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

const TEMPLATE: &str = include_str!("../../../../docs/cdn/nginx.conf.template");

/// Ends with the test.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Before a cache.
    pub(crate) async fn start(store: SocketAddr, api_key: &str) -> Self {
        Self::with_template(TEMPLATE, store, api_key).await
    }

    /// Before an object store, by the line that a comment of the template gives for it.
    #[allow(dead_code, reason = "for who tests an object store")]
    pub(crate) async fn before_an_object_store(store: SocketAddr, api_key: &str) -> Self {
        let (cache, object_store) =
            ("momento/cache/${MOMENTO_CACHE}?key=$object;", "momento/objectstore/${MOMENTO_CACHE}/$object");
        assert!(
            TEMPLATE.contains(cache)
                && TEMPLATE.contains(&format!("# For an object store: ${{MOMENTO_SCHEME}}://{object_store}"))
        );
        Self::with_template(&TEMPLATE.replace(cache, &format!("{object_store};")), store, api_key).await
    }

    async fn with_template(template: &str, store: SocketAddr, api_key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Started as root, nginx works as another user, who has to reach the socket in it.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let address = free_address();
        let path = folder.path().to_str().unwrap();
        let configuration = [
            ("CDN_LISTEN", address.to_string()),
            ("CDN_DIR", path.to_owned()),
            ("MOMENTO_SCHEME", "http".into()),
            ("MOMENTO_HOST", store.ip().to_string()),
            ("MOMENTO_PORT", store.port().to_string()),
            ("MOMENTO_CACHE", "livestreams".into()),
            ("MOMENTO_API_KEY", api_key.to_owned()),
        ]
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .args(["-p", path, "-e", "stderr", "-g", "daemon off;", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let mut nginx = Self { address, child, _folder: folder };
        nginx.wait_until_it_listens().await;
        nginx
    }

    async fn wait_until_it_listens(&mut self) {
        for _ in 0..500 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("nginx ended with {status}: its complaint is above");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx does not listen on {}", self.address);
    }
}

impl Drop for Nginx {
    /// By SIGTERM, so that the master takes its workers with it.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
