//! The contract on the stores that need nothing.

use store::{FileConfig, Files, Memory, conformance};

#[tokio::test(start_paused = true)]
async fn memory_conforms() {
    conformance::all(&Memory::new(64 << 20), "suite").await;
}

#[tokio::test]
async fn files_conform() {
    let folder = tempfile::tempdir().unwrap();
    let store = Files::open(FileConfig::new(folder.path())).await.unwrap();
    conformance::all(&store, "suite").await;
}

#[tokio::test(start_paused = true)]
async fn files_conform_without_memory_and_under_a_tight_bound() {
    let folder = tempfile::tempdir().unwrap();
    let config = FileConfig { hot_bytes: 0, max_bytes: 8 << 20, ..FileConfig::new(folder.path()) };
    conformance::all(&Files::open(config).await.unwrap(), "suite").await;
}
