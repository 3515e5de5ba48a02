//! nginx with the RTMP module, as in the tutorial.

use std::process::{Child, Command, Stdio};

/// A running nginx on a port of its own.
pub struct Nginx {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Nginx {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let path = folder.path().display();
        let module = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
        let config = format!(
            "load_module {module};\ndaemon off;\npid {path}/pid;\nerror_log stderr warn;\nworker_processes 1;\n\
             events {{ worker_connections 64; }}\n\
             rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c"]).arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nginx is installed");
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed().as_secs() < 10, "nginx does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { child, port, _folder: folder }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to publish and what to pull.
    pub fn url(&self, key: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{key}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when it is asked to.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
