// A livestream to provoke the player page with: FFmpeg encodes in real time, its fragments become parts and segments,
// and a test says when it begins, stands still, ends and begins again. Low-latency and plain playlists, as a server's.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { webFile } from "./pages.mjs";

const PART = 0.2;
const PARTS = 5;
const WINDOW = 20;

export class Origin {
  #broadcasts = 0;
  #child = null;
  #server = null;
  #rest = Buffer.alloc(0);
  #init = null;
  /** Of segments: `{ msn, date, parts: [Buffer], init }`; the last one may be open. */
  #segments = [];
  #inits = [];
  #next = 0;
  #discontinuity = false;
  #ended = false;
  #waiters = new Set();
  /** What a player asked for, in order. */
  requests = [];
  #watchers = new Set();
  /** Whether there is a low-latency playlist. */
  lowLatency = true;
  /** Whether the multivariant playlists offer the same media as a plainer rung too. */
  twoRungs = false;
  /** Answers every request for the livestream with 503. */
  down = false;

  async listen() {
    this.#server = createServer((request, response) => this.#handle(request, response));
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** A broadcast begins: a new presentation after an end, another side of a discontinuity after a break. */
  begin() {
    if (this.#ended) this.#segments = [];
    this.#ended = false;
    this.#discontinuity = this.#segments.length > 0;
    this.#init = null;
    this.#rest = Buffer.alloc(0);
    this.#broadcasts += 1;
    this.#child = spawn("ffmpeg", [
      ...["-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"],
      ...["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast"],
      ...["-tune", "zerolatency", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac"],
      ...["-movflags", "+cmaf+frag_keyframe+delay_moov+skip_trailer", "-frag_duration", String(PART * 1e6)],
      ...["-flush_packets", "1", "-f", "mp4", "pipe:1"],
    ]);
    this.#child.stdout.on("data", (bytes) => this.#push(bytes));
    this.#child.stderr.resume();
  }

  /** The camera is gone; the playlists stay. */
  interrupt() {
    this.#child?.kill("SIGKILL");
    this.#child?.stdout.removeAllListeners("data");
    this.#child = null;
    const last = this.#segments.at(-1);
    if (last !== undefined && last.parts.length < PARTS) last.closed = true;
  }

  /** The broadcast ends: ENDLIST. */
  end() {
    this.interrupt();
    this.#ended = true;
    this.#wake();
  }

  /** Waits until what players asked for satisfies a condition. */
  async seen(condition) {
    if (condition(this.requests)) return;
    await new Promise((resolve) => {
      const watcher = () => {
        if (!condition(this.requests)) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  async close() {
    this.interrupt();
    this.#wake();
    this.#server.closeAllConnections?.();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #push(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const length = groupLength(this.#rest, this.#init === null ? "moov" : "mdat");
      if (length === null) return;
      const group = Buffer.from(this.#rest.subarray(0, length));
      this.#rest = this.#rest.subarray(length);
      if (this.#init === null) {
        this.#init = this.#inits.length;
        this.#inits.push(group);
      } else this.#part(group);
    }
  }

  #part(bytes) {
    let segment = this.#segments.at(-1);
    if (segment === undefined || segment.parts.length === PARTS || segment.closed || this.#discontinuity) {
      const date = new Date(Date.now() - PART * 1000);
      segment = { msn: this.#next, date, parts: [], init: this.#init, discontinuity: this.#discontinuity, closed: false };
      this.#next += 1;
      this.#discontinuity = false;
      this.#segments.push(segment);
      if (this.#segments.length > WINDOW) this.#segments.shift();
    }
    segment.parts.push(bytes);
    this.#wake();
  }

  #wake() {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  #handle(request, response) {
    const url = new URL(request.url, "http://localhost");
    const answer = (status, type, body) => {
      response.writeHead(status, { "content-type": type, "access-control-allow-origin": "*", "cache-control": "no-store" });
      response.end(body);
    };
    const page = webFile(url.pathname);
    if (page !== null) {
      response.writeHead(200, page.headers);
      return response.end(page.body);
    }
    const live = /^\/live\/test\/(.+)$/.exec(url.pathname)?.[1];
    if (live === undefined) return answer(404, "text/plain", "");
    this.requests.push(live);
    for (const watcher of this.#watchers) watcher();
    if (this.down) return answer(503, "text/plain", "");
    const playlist = "application/vnd.apple.mpegurl";
    if (this.#segments.length === 0 || (!this.lowLatency && live.includes("low-latency"))) return answer(404, "text/plain", "");
    if (live === "playlist.m3u8") return answer(200, playlist, multivariant("media.m3u8", this.twoRungs));
    if (live === "low-latency.m3u8") return answer(200, playlist, multivariant("media-low-latency.m3u8", this.twoRungs));
    if (live === "media.m3u8") return answer(200, playlist, this.#plain());
    if (live === "media-low-latency.m3u8") return this.#blocking(url.searchParams, response, () => answer(200, playlist, this.#ll()));
    this.#hinted(live, (media) => (media === null ? answer(404, "text/plain", "") : answer(200, "video/mp4", media)));
  }

  /** A hinted part is answered when all of it is there. */
  #hinted(name, done) {
    const media = this.#media(name);
    if (media !== null || name !== this.#hint()) return done(media);
    this.#waiters.add(() => this.#hinted(name, done));
  }

  #hint() {
    const last = this.#segments.at(-1);
    const whole = last.parts.length === PARTS || last.closed;
    if (this.#ended) return null;
    return whole ? `${last.msn + 1}.0.m4s` : `${last.msn}.${last.parts.length}.m4s`;
  }

  #blocking(query, response, done) {
    const msn = Number(query.get("_HLS_msn") ?? -1);
    const part = Number(query.get("_HLS_part") ?? PARTS - 1);
    const deadline = Date.now() + 3_000;
    const look = () => {
      const last = this.#segments.at(-1);
      const there = last.msn > msn || (last.msn === msn && last.parts.length > part);
      if (there || this.#ended) return done();
      if (Date.now() > deadline) {
        response.writeHead(503, { "access-control-allow-origin": "*" });
        return response.end();
      }
      const timer = setTimeout(() => {
        this.#waiters.delete(again);
        look();
      }, 3_000);
      const again = () => {
        clearTimeout(timer);
        look();
      };
      this.#waiters.add(again);
    };
    look();
  }

  #media(name) {
    const init = /^init(\d+)\.mp4$/.exec(name);
    if (init !== null) return this.#inits[Number(init[1])] ?? null;
    const [, msn, part] = /^(\d+)(?:\.(\d+))?\.m4s$/.exec(name) ?? [];
    const segment = this.#segments.find((one) => one.msn === Number(msn));
    if (segment === undefined) return null;
    return part === undefined ? Buffer.concat(segment.parts) : (segment.parts[Number(part)] ?? null);
  }

  #plain() {
    const whole = this.#segments.filter((one) => one.parts.length === PARTS || one.closed || this.#ended);
    return [...this.#head(whole, 6), ...whole.flatMap((one, at) => this.#segment(one, whole[at - 1])), ...this.#tail()].join("\n") + "\n";
  }

  #ll() {
    const lines = this.#head(this.#segments, 9);
    lines.splice(3, 0, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.66", "#EXT-X-PART-INF:PART-TARGET=0.22");
    this.#segments.forEach((one, at) => {
      const whole = one.parts.length === PARTS || one.closed || this.#ended;
      const segment = this.#segment(one, this.#segments[at - 1]);
      const parts = at < this.#segments.length - 3 ? [] : one.parts.map((_, index) => partTag(one.msn, index));
      lines.push(...segment.slice(0, -2), ...parts, ...(whole ? segment.slice(-2) : []));
    });
    if (!this.#ended) lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${this.#hint()}"`);
    return [...lines, ...this.#tail()].join("\n") + "\n";
  }

  #head(segments, version) {
    return ["#EXTM3U", `#EXT-X-VERSION:${version}`, "#EXT-X-TARGETDURATION:1", `#EXT-X-MEDIA-SEQUENCE:${segments[0]?.msn ?? 0}`];
  }

  #segment(segment, before) {
    const lines = segment.discontinuity && before !== undefined ? ["#EXT-X-DISCONTINUITY"] : [];
    if (before === undefined || before.init !== segment.init) lines.push(`#EXT-X-MAP:URI="init${segment.init}.mp4"`);
    const duration = (segment.parts.length * PART).toFixed(5);
    return [...lines, `#EXT-X-PROGRAM-DATE-TIME:${segment.date.toISOString()}`, `#EXTINF:${duration},`, `${segment.msn}.m4s`];
  }

  #tail() {
    return this.#ended ? ["#EXT-X-ENDLIST"] : [];
  }
}

function partTag(msn, index) {
  return `#EXT-X-PART:DURATION=${PART},URI="${msn}.${index}.m4s"${index === 0 ? ",INDEPENDENT=YES" : ""}`;
}

function multivariant(uri, twoRungs) {
  const variant = (bandwidth, size, uri) =>
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},CODECS="avc1.42c00d,mp4a.40.2",RESOLUTION=${size},FRAME-RATE=30.000\n${uri}\n`;
  const plainer = twoRungs ? variant(300_000, "160x90", `${uri}?plainer`) : "";
  return `#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n${variant(900_000, "320x180", uri)}${plainer}`;
}

/** How long the boxes up to and with the first `kind` are; null while they are not all there. */
function groupLength(bytes, kind) {
  let at = 0;
  while (bytes.length >= at + 8) {
    const size = bytes.readUInt32BE(at);
    if (bytes.length < at + size) return null;
    const type = bytes.toString("latin1", at + 4, at + 8);
    at += size;
    if (type === kind) return at;
  }
  return null;
}
