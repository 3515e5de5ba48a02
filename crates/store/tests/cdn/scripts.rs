//! The scripts of the other CDNs, run by Node: the Worker against the store, the function on CloudFront's events.

use tokio::process::Command;

use super::Cdn;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cdn");

async fn node(script: &str, environment: &[(&str, &str)]) -> serde_json::Value {
    let output = Command::new("node")
        .args(["--input-type=module", "-e", script])
        .env("FOLDER", FOLDER)
        .envs(environment.iter().copied())
        .output()
        .await
        .expect("node is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_cloudflare_worker_maps_types_and_refuses() {
    let cdn = Cdn::with_stream().await;
    let script = r#"
        const { default: worker } = await import(`file://${process.env.FOLDER}/cloudflare-worker.mjs`);
        const told = [];
        for (const [method, path] of [["GET", "/show/playlist.m3u8"], ["GET", "/show/show_180p_segment001.ts?a=b"],
                ["HEAD", "/show_180p_segment001.ts"], ["GET", "/show/none.ts"], ["GET", "/show_sequence"],
                ["PUT", "/show/none.ts"], ["OPTIONS", "/show/none.ts"]]) {
            const answer = await worker.fetch(new Request(`http://cdn${path}`, { method }), process.env);
            const bytes = (await answer.arrayBuffer()).byteLength;
            told.push([answer.status, answer.headers.get("content-type"), answer.headers.get("cache-control"),
                answer.headers.get("access-control-allow-origin"), bytes > 100]);
        }
        console.log(JSON.stringify(told));
        // Node would wait for the connections it keeps alive.
        process.exit(0);
    "#;
    let http = cdn.fake.http_endpoint();
    let environment = [("MOMENTO_HTTP", &*http), ("MOMENTO_CACHE", "livestreams"), ("MOMENTO_API_KEY", &*cdn.reader)];
    let told = node(script, &environment).await;
    let (playlist, media) = ("public, max-age=0, s-maxage=1", "public, max-age=3600, immutable");
    let text = "text/plain;charset=UTF-8";
    assert_eq!(
        told,
        serde_json::json!([
            [200, "application/vnd.apple.mpegurl", playlist, "*", true],
            [200, "video/mp2t", media, "*", true],
            [200, "video/mp2t", media, "*", false],
            [404, text, "no-store", "*", false],
            [404, text, "no-store", "*", false],
            [405, text, "no-store", "*", false],
            [204, null, null, "*", false],
        ])
    );
}

#[tokio::test]
async fn the_cloudfront_function_maps_requests_and_types_responses() {
    let script = r#"
        import { readFileSync } from "node:fs";
        const source = readFileSync(`${process.env.FOLDER}/cloudfront-function.js`, "utf8");
        const handler = new Function(`${source}; return handler;`)();
        const request = (uri) => handler({ context: { eventType: "viewer-request" },
            request: { uri, querystring: { a: { value: "b" } } } });
        const response = (uri, statusCode) => handler({ context: { eventType: "viewer-response" },
            request: { uri }, response: { statusCode, headers: {} } }).headers;
        console.log(JSON.stringify([
            request("/show/playlist.m3u8"), request("/show/show_180p_segment001.ts"), request("/show_sequence").statusCode,
            response("/show_playlist.m3u8", 200), response("/show_180p_segment001.ts", 206), response("/show_180p_segment001.ts", 304),
        ]));
    "#;
    let told = node(script, &[]).await;
    let header = |value: &str| serde_json::json!({"value": value});
    assert_eq!(
        told,
        serde_json::json!([
            {"uri": "/show_playlist.m3u8", "querystring": {}},
            {"uri": "/show_180p_segment001.ts", "querystring": {}},
            404,
            {"content-type": header("application/vnd.apple.mpegurl"), "cache-control": header("public, max-age=0, s-maxage=1")},
            {"content-type": header("video/mp2t"), "cache-control": header("public, max-age=3600, immutable")},
            {},
        ])
    );
}
