// The dashboard in a real browser, against an API that says what a test wants.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch } from "./lib/chromium.mjs";
import { webFile } from "./lib/pages.mjs";

const LIVE = {
  name: "mymomentostream",
  stream: "mymomentostream_playlist.m3u8",
  title: "My Momento Stream",
  state: "live",
  source: {
    kind: "own",
    url: "rtmp://localhost/live/…",
    connected: true,
    video: { codec: "h264", width: 1920, height: 1080, frameRate: 30 },
    audio: { codec: "aac", sampleRate: 48000, channels: 2 },
  },
  renditions: [{ name: "1080p", width: 1920, height: 1080, frameRate: 30, action: "encode", bandwidth: 5_600_000, nextMsn: 4 }],
  store: [{ url: "momento:livestreams", state: "ok", waiting: 0, gaps: 2 }],
  format: "ts",
  lowLatency: true,
  createdAt: "2026-01-01T00:00:00.000Z",
  discontinuities: 0,
};

let browser;
let page;
let server;
let api;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

beforeEach(async () => {
  api = { token: null, livestreams: [], waiting: [], requests: [], listeners: [], refusal: null };
  server = createServer(handle);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  await page?.close();
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
});

async function handle(request, response) {
  const path = new URL(request.url, "http://localhost").pathname;
  const file = webFile(path);
  if (file !== null) {
    response.writeHead(200, file.headers);
    return response.end(file.body);
  }
  let body = "";
  for await (const piece of request) body += piece;
  api.requests.push({ method: request.method, path, body: body === "" ? null : JSON.parse(body) });
  const answer = (status, value) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  if (api.token !== null && request.headers.authorization !== `Bearer ${api.token}`) {
    return answer(401, { error: "a token is needed", code: "unauthorized" });
  }
  if (path === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": welcome\n\n");
    return api.listeners.push(response);
  }
  if (request.method === "POST") {
    if (api.refusal !== null) return answer(400, api.refusal);
    return answer(202, { stream: "astream_playlist.m3u8", publishUrl: "rtmp://localhost/live", streamKey: "abc" });
  }
  if (request.method === "DELETE") return answer(200, {});
  return answer(200, { livestreams: api.livestreams, waiting: api.waiting });
}

function happen(kind) {
  for (const listener of api.listeners) listener.write(`event: ${kind}\ndata: {"type":"${kind}"}\n\n`);
}

async function visit() {
  page = await browser.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.message));
  await page.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: "commit" });
}

const text = (selector) => page.textContent(selector);
const shows = (selector, pattern) => page.locator(selector, { hasText: pattern }).first().waitFor();

test("a livestream is shown with its source, renditions, store and links", async () => {
  api.livestreams = [LIVE];
  await visit();
  await shows(".card h3", "My Momento Stream");
  const card = await text(".card");
  for (const part of ["live", "H.264 1920×1080 30 fps", "AAC 48 kHz stereo", "1080p", "5.6 Mbit/s", "momento:livestreams", "2 gaps"]) {
    assert.ok(card.includes(part), `${part} in ${card}`);
  }
  const links = await page.$$eval(".card a", (all) => all.map((link) => new URL(link.href).pathname));
  assert.deepEqual(links, ["/watch/mymomentostream", "/live/mymomentostream/playlist.m3u8", "/live/mymomentostream/low-latency.m3u8"]);
  assert.deepEqual(page.problems, []);
});

test("whatever fields are missing, the rest is shown, and text stays text", async () => {
  api.livestreams = [{ name: "bare" }, { name: "hostile", title: "<img src=x onerror=alert(1)>", state: "failed", error: { message: "<b>no</b>" } }];
  await visit();
  await shows(".card h3", "bare");
  await shows(".card h3", "<img src=x");
  assert.equal(await page.$(".card img, .card b"), null);
  assert.deepEqual(page.problems, []);
});

test("an event brings the list up to date", async () => {
  await visit();
  await page.waitForSelector("#empty:not([hidden])");
  await shows("#link", "up to date");
  api.livestreams = [LIVE];
  happen("livestream");
  await shows(".card h3", "My Momento Stream");
});

test("a token is asked for, a wrong one refused, and the right one sent", async () => {
  api.token = "secret";
  api.livestreams = [LIVE];
  await visit();
  await page.fill("#token", "wrong");
  await page.click("#sign-in button");
  await shows("#sign-in-error", "does not accept");
  await page.fill("#token", "secret");
  await page.click("#sign-in button");
  await shows(".card h3", "My Momento Stream");
  await shows("#link", "up to date");
  assert.equal(await page.isVisible("#sign-in"), false);
});

test("stopping is asked about first", async () => {
  api.livestreams = [LIVE];
  await visit();
  await page.waitForSelector(".stop");
  const deletes = () => api.requests.filter(({ method }) => method === "DELETE");
  page.once("dialog", (dialog) => dialog.dismiss());
  await page.click(".stop");
  assert.equal(deletes().length, 0);
  page.once("dialog", (dialog) => dialog.accept());
  const answered = page.waitForResponse((response) => response.request().method() === "DELETE");
  await page.click(".stop");
  await answered;
  assert.deepEqual(deletes().map(({ path }) => path), ["/livestreams/mymomentostream"]);
});

test("the form sends the tutorial's fields, and shows a refusal in the server's words", async () => {
  await visit();
  await page.fill("[name=streamName]", "My Momento Stream");
  await page.fill("[name=rtmpUrl]", "rtmp://localhost/live/teststream");
  await page.click("#start button");
  await shows("#start-result", "watch/astream");
  const sent = api.requests.find(({ method }) => method === "POST").body;
  assert.deepEqual(sent, { streamName: "My Momento Stream", rtmpUrl: "rtmp://localhost/live/teststream" });
  api.refusal = { error: "RTMP url and stream name are required", code: "missing-field" };
  await page.fill("[name=streamName]", "Other");
  await page.click("#start button");
  await shows("#start-result.error", "RTMP url and stream name are required");
});

test("a waiting publisher fills in the form", async () => {
  api.waiting = [{ app: "live", rtmpUrl: "rtmp://localhost/live/teststream", peer: "192.0.2.7:1", since: "2026-01-01T00:00:00Z" }];
  await visit();
  await page.click("#waiting button");
  assert.equal(await page.inputValue("[name=rtmpUrl]"), "rtmp://localhost/live/teststream");
});
