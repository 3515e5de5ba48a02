#!/usr/bin/env node
// Glass to glass: a camera that films the clock publishes by RTMP, a server of the benchmark's own encodes the ladder,
// Chromium plays, the clock is read back from the frames on screen. Prints p5, p50, p95, start-up time and stalls for
// low latency in both formats, plain HLS, and the tutorial's pipeline.

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, cpus, platform, release } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { executable } from "../../tests/browser/lib/chromium.mjs";
import { play } from "../../tests/browser/lib/run.mjs";
import { publish } from "./camera.mjs";
import { Stages } from "./stages.mjs";
import { Tailwater } from "./tailwater.mjs";
import { Tutorial } from "./tutorial.mjs";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Rungs that a benchmark may name: bit/s. */
const BITRATES = { 1080: 5_000_000, 720: 3_000_000, 480: 1_500_000, 360: 800_000, 240: 400_000, 180: 300_000 };

/** A stream is this old before latencies are measured: milliseconds. */
const JOIN_MS = 6_000;

const MODES = {
  "page-ts": { label: "player page, low latency, MPEG-TS", player: "page", path: (name) => `/watch/${name}` },
  "page-cmaf": { label: "player page, low latency, CMAF", player: "page", format: "cmaf", path: (name) => `/watch/${name}` },
  "hls-ts": { label: "bare hls.js, low latency, MPEG-TS", player: "hls", path: (name) => `/live/${name}/low-latency.m3u8` },
  "hls-cmaf": { label: "bare hls.js, low latency, CMAF", player: "hls", format: "cmaf", path: (name) => `/live/${name}/low-latency.m3u8` },
  plain: { label: "bare hls.js, plain HLS, MPEG-TS", player: "hls", plain: true, path: (name) => `/live/${name}/playlist.m3u8` },
  standard: { label: "bare hls.js, lowLatency: false, MPEG-TS", player: "hls", plain: true, lowLatency: false, path: (name) => `/live/${name}/playlist.m3u8` },
  tutorial: { label: "the tutorial's pipeline, repaired, bare hls.js", player: "hls", plain: true, peer: true },
};

const USAGE = `usage: run.mjs [options]

  --seconds N       to play in each mode, from the first frame on (25)
  --only M,M        some modes: ${Object.keys(MODES).join(", ")}
  --ladder H,H      heights of the rungs, highest first, of ${Object.keys(BITRATES).reverse().join(", ")}
                    (the largest of the known ones that leaves one core free: ${ladderFor(2)} on 2 cores,
                    ${ladderFor(4)} from 4, ${ladderFor(6)} from 6)
  --size WxH        of the camera's picture (the highest rung's, 16:9)
  --rate R          frames a second (30)
  --settle N        seconds after the page was opened before latencies count (5)
  --catch-up R      the fastest that bare hls.js may play (1)
  --binary PATH     a tailwater to measure, instead of building target/release/tailwater
  --json            one line of JSON a mode

  ten minutes without a stall: run.mjs --only page-ts --seconds 600`;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "25" },
    only: { type: "string", default: Object.keys(MODES).join(",") },
    ladder: { type: "string", default: ladderFor(availableParallelism()) },
    size: { type: "string" },
    rate: { type: "string", default: "30" },
    settle: { type: "string", default: "5" },
    "catch-up": { type: "string", default: "1" },
    binary: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);
const modes = values.only.split(",");
const heights = values.ladder.split(",").map(Number);
if (values.help || !(seconds > 0) || !modes.every((mode) => mode in MODES) || !heights.every((height) => height in BITRATES)) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}
const ladder = heights.map((height) => ({ name: `${height}p`, height, videoBitrate: BITRATES[height] }));
const [width, height] = (values.size ?? `${2 * Math.round((heights[0] * 8) / 9)}x${heights[0]}`).split("x").map(Number);
const picture = { width, height, rate: Number(values.rate), bitrate: `${Math.round(BITRATES[heights[0]] / 500)}k` };

const say = (line) => console.error(line);
let failed = false;
const server = modes.some((mode) => !MODES[mode].peer) ? await Tailwater.start(values.binary ?? built()) : null;
// The camera is there before the livestream is asked for, as OBS would be.
const camera = server === null ? null : publish({ url: server.publishUrl("camera"), ...picture });
try {
  if (!values.json) console.log(`${machine()}\ncamera ${width}x${height} at ${picture.rate}, rungs ${heights.join("p, ")}p, ${seconds} s a mode\n`);
  if (camera !== null) await delay(1_500);
  for (const [index, name] of modes.entries()) {
    say(`${name} ...`);
    const measured = MODES[name].peer ? await measurePeer(MODES[name]) : await measureOurs(MODES[name], `latency${index}`);
    report(name, MODES[name], measured);
  }
} catch (error) {
  console.error(error.message);
  failed = true;
} finally {
  await camera?.stop();
  await server?.stop();
}
process.exitCode = failed ? 1 : 0;

async function measureOurs(mode, name) {
  const url = server.url(mode.path(name));
  const body = { rtmpUrl: server.publishUrl("camera"), streamName: name, ladder, format: mode.format ?? "ts", lowLatency: mode.lowLatency ?? true };
  const first = await firstFrame(mode, url, () => server.create(body));
  let stages = null;
  const measured = await joined(mode, url, () => server.cpuSeconds(), () => {
    stages = new Stages(server.url(`/live/${name}/${mode.plain ? "playlist" : "low-latency"}.m3u8`));
  });
  const found = await stages?.stop();
  await server.end(name);
  return { ...measured, ...first, stages: found ?? null };
}

async function measurePeer(mode) {
  const publishUrl = `rtmp://127.0.0.1:${await freePort()}/live/camera`;
  let peer = null;
  let film = null;
  try {
    peer = await Tutorial.start(publishUrl, ladder);
    const first = await firstFrame(mode, peer.url, async () => {
      const asked = Date.now();
      film = publish({ url: publishUrl, ...picture });
      await peer.playable();
      return asked;
    });
    return { ...(await joined(mode, peer.url, () => peer.cpuSeconds())), ...first, stages: null };
  } finally {
    await film?.stop();
    await peer?.stop();
  }
}

/** Opens the page in the moment of the request. @param {() => Promise<number>} ask says when it was made */
async function firstFrame(mode, url, ask) {
  let asked = 0;
  const before = async () => {
    asked = await ask();
  };
  const result = await play({ ...playing(mode), url, seconds: 0.5, before });
  if (result.startupMs === null) throw new Error(`no picture: ${result.errors.join("; ")}`);
  return { firstFrameMs: result.openedAt + result.startupMs - asked };
}

/** A viewer who comes when the stream has been running for a while, as most do: what is plain HLS starts further back then. */
async function joined(mode, url, cpuSeconds, onStart) {
  await delay(JOIN_MS);
  const [cpu, began] = [cpuSeconds(), Date.now()];
  const onProgress = seconds > 60 ? say : undefined;
  const result = await play({ ...playing(mode), url, seconds, settleSeconds: Number(values.settle), readClock: true, onStart, onProgress });
  return { result, cores: ((cpuSeconds() - cpu) * 1000) / (Date.now() - began) };
}

function playing({ player }) {
  return { player, startSeconds: 60, rate: Number(values["catch-up"]) };
}

function report(name, mode, { result, cores, stages, firstFrameMs }) {
  const glass = result.glassToGlassMs;
  if (glass === null || result.startupMs === null) failed = true;
  const where = glass === null ? null : whereItGoes(mode, result, stages);
  if (values.json) {
    const { glassToGlassMs, latencyFromPdt, stalls, framesDropped, framesDecoded, errors } = result;
    const rung = `${result.width}x${result.height}`;
    const figures = { mode: name, seconds, ladder: heights, glassToGlassMs, latencyFromPdt, firstFrameMs, stalls, framesDropped, framesDecoded };
    console.log(JSON.stringify({ ...figures, rung, cores: Number(cores.toFixed(2)), where, errors, machine: machine() }));
    return;
  }
  console.log(`${mode.label} (${name})`);
  if (glass === null) console.log("  no clock was read from the picture");
  else console.log(`  glass to glass     p5 ${glass.p5} ms   p50 ${glass.p50} ms   p95 ${glass.p95} ms   (${glass.samples} frames of ${result.width}x${result.height})`);
  console.log(`  first frame        ${firstFrameMs} ms after the ${mode.peer ? "start of FFmpeg and camera" : "POST"}`);
  console.log(`  stalls             ${result.stalls.count} (${result.stalls.totalMs} ms), frames dropped ${result.framesDropped} of ${result.framesDecoded}`);
  console.log(`  encoder and server ${cores.toFixed(2)} cores`);
  if (stages?.listedMs != null) console.log(`  ingest to listed   p5 ${stages.listedMs.p5} ms   p50 ${stages.listedMs.p50} ms   p95 ${stages.listedMs.p95} ms`);
  if (where !== null) console.log(`  of the p50         ${where.map(({ stage, ms }) => `${stage} ${ms} ms`).join(", ")}`);
  if (result.errors.length > 0) console.log(`  the player said    ${[...new Set(result.errors)].join("; ")}`);
}

/** The p50 taken apart; what is measured is named as such in docs/design/LATENCY.md. */
function whereItGoes(mode, result, stages) {
  const date = result.latencyFromPdt;
  if (date === null) return null;
  const behind = Math.round(date.p50 * 1000);
  const found = [{ stage: "camera to ingest, and the screen", ms: result.glassToGlassMs.p50 - behind }];
  if (stages?.listedMs == null) return [...found, { stage: "ingest to playhead", ms: behind }];
  const piece = Math.round(stages.pieceMs);
  const rest = behind - stages.listedMs.p50 - piece;
  return [...found, { stage: "ingest to listed", ms: stages.listedMs.p50 }, { stage: mode.plain ? "a segment" : "a part", ms: piece }, { stage: "held by the player beyond it", ms: rest }];
}

/** The largest ladder that leaves one core free beside Chromium and the camera. */
function ladderFor(cores) {
  if (cores >= 6) return "1080,720,480";
  return cores >= 4 ? "720,480,240" : "360,180";
}

function built() {
  const { status } = spawnSync("cargo", ["build", "--release", "--locked", "-p", "tailwater"], { cwd: ROOT, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error("tailwater was not built");
  return join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "release/tailwater");
}

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function machine() {
  const ffmpeg = version(process.env.FFMPEG_PATH ?? "ffmpeg", ["-version"]);
  const browser = version(executable(), ["--version"]);
  let model = cpus()[0]?.model ?? "unknown";
  try {
    model = /model name\s*:\s*(.+)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? model;
  } catch {
    // Not Linux: what Node says will do.
  }
  return `${cpus().length} cores of ${model}, ${platform()} ${release()}, ${ffmpeg}, ${browser}`;
}

function version(command, args) {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0].split(" Copyright")[0].trim();
  } catch {
    return command;
  }
}
