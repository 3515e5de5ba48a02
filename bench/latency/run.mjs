#!/usr/bin/env node
// Glass to glass: a camera that films the clock publishes by RTMP, Chromium plays, the clock is read back from the
// frames on screen. Prints p5, p50, p95, start-up time and stalls.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, platform, release } from "node:os";
import { parseArgs } from "node:util";
import { executable } from "../../tests/browser/lib/chromium.mjs";
import { NAMES } from "../../tests/browser/lib/players.mjs";
import { play } from "../../tests/browser/lib/run.mjs";
import { publish } from "./camera.mjs";

const USAGE = `usage: run.mjs --camera-url rtmp://HOST/APP/KEY --play-url URL --seconds N [options]

  --camera-url URL    where the camera publishes; "none": one publishes already
  --play-url URL      a player page (/watch/<name>) for --player page, else a playlist
  --player P          ${NAMES.join(", ")} (page)
  --post URL          POST the tutorial's body there first, and count the start-up from then: http://HOST:3000/livestreams
  --name NAME         its streamName (latency)
  --body JSON         more fields of the POST, such as {"format":"cmaf"}
  --size WxH          of the camera's picture (1280x720)
  --rate R            frames a second (30)
  --settle N          seconds before figures count (5)
  --catch-up R        the fastest that bare hls.js may play (1)
  --label TEXT        printed with the figures
  --json              one line of JSON`;

const { values } = parseArgs({
  options: {
    "camera-url": { type: "string" },
    "play-url": { type: "string" },
    seconds: { type: "string" },
    player: { type: "string", default: "page" },
    post: { type: "string" },
    name: { type: "string", default: "latency" },
    body: { type: "string", default: "{}" },
    size: { type: "string", default: "1280x720" },
    rate: { type: "string", default: "30" },
    settle: { type: "string", default: "5" },
    "catch-up": { type: "string", default: "1" },
    label: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});

const seconds = Number(values.seconds);
if (!values["camera-url"] || !values["play-url"] || !(seconds > 0) || !NAMES.includes(values.player)) {
  console.error(USAGE);
  process.exit(2);
}

const say = (line) => values.json || console.error(line);
const [width, height] = values.size.split("x").map(Number);
const pulled = values["camera-url"] === "none";
const camera = pulled ? null : publish({ url: values["camera-url"], width, height, rate: Number(values.rate) });
try {
  const posted = values.post === undefined ? null : await post();
  say(`playing ${values["play-url"]} for ${seconds} s with ${values.player}`);
  const result = await play({
    player: values.player,
    url: values["play-url"],
    seconds,
    startSeconds: 60,
    rate: Number(values["catch-up"]),
    readClock: true,
    settleSeconds: Number(values.settle),
    onProgress: values.json ? undefined : say,
  });
  report(result, posted);
  process.exitCode = result.startupMs === null || result.glassToGlassMs === null ? 1 : 0;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await camera?.stop();
}

/** @returns {Promise<number>} when it was accepted, milliseconds since 1970 */
async function post() {
  // The camera is there before the livestream is asked for, as OBS would be.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const begun = Date.now();
  const response = await fetch(values.post, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ rtmpUrl: values["camera-url"], streamName: values.name, ...JSON.parse(values.body) }),
  });
  const answer = await response.text();
  if (response.status !== 202) throw new Error(`POST ${values.post} answered ${response.status}: ${answer}`);
  say(`POST accepted: ${answer}`);
  return begun;
}

function report(result, posted) {
  const firstFrameMs = posted === null ? null : result.openedAt + result.startupMs - posted;
  const figures = {
    label: values.label,
    player: values.player,
    glassToGlassMs: result.glassToGlassMs,
    latencyFromPdtSeconds: result.latencyFromPdt,
    startupMs: result.startupMs,
    postToFirstFrameMs: firstFrameMs,
    stalls: result.stalls,
    framesDropped: result.framesDropped,
    framesDecoded: result.framesDecoded,
    clockUnread: result.clockUnread,
    rung: `${result.width}x${result.height}`,
    seconds,
    machine: machine(),
    errors: result.errors,
  };
  if (values.json) {
    console.log(JSON.stringify(figures));
    return;
  }
  const glass = result.glassToGlassMs;
  console.log(`${values.label || "glass to glass"} (${values.player}, ${figures.rung}, ${seconds} s)`);
  if (glass === null) console.log("  no clock was read from the picture");
  else console.log(`  p5 ${glass.p5} ms   p50 ${glass.p50} ms   p95 ${glass.p95} ms   (${glass.samples} frames)`);
  const date = result.latencyFromPdt;
  if (date !== null) console.log(`  behind PROGRAM-DATE-TIME: p5 ${date.p5} s   p50 ${date.p50} s   p95 ${date.p95} s`);
  console.log(`  page opened to first frame ${result.startupMs} ms` + (firstFrameMs === null ? "" : `, POST to first frame ${firstFrameMs} ms`));
  console.log(`  stalls ${result.stalls.count} (${result.stalls.totalMs} ms), frames dropped ${result.framesDropped} of ${result.framesDecoded}`);
  console.log(`  ${figures.machine}`);
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
