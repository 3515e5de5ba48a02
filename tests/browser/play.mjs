#!/usr/bin/env node
// Plays a stream in Chromium and says how it went. Exit code 1: a fatal error, no picture, or a stall. 2: wrong use.

import { parseArgs } from "node:util";
import { NAMES } from "./lib/players.mjs";
import { failures, play } from "./lib/run.mjs";

const USAGE = `usage: play.mjs --player ${NAMES.join("|")} --url URL --seconds N [options]

  --player P          page: URL is a player page (/watch/<name>); the others play the playlist at URL on a bare page
  --seconds N         to play, from the first frame on
  --start-seconds N   to wait for the first frame (20)
  --rate R            the fastest that bare hls.js plays to catch up (1: not at all)
  --clock             read the camera's clock from the picture: glass-to-glass latency
  --allow-stalls N    that are no failure (0)
  --screenshot FILE   of the page at the end, PNG
  --json              print the figures as JSON, and nothing else`;

const { values } = parseArgs({
  options: {
    player: { type: "string" },
    url: { type: "string" },
    seconds: { type: "string" },
    "start-seconds": { type: "string", default: "20" },
    rate: { type: "string", default: "1" },
    clock: { type: "boolean", default: false },
    "allow-stalls": { type: "string", default: "0" },
    screenshot: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help || !NAMES.includes(values.player) || !values.url || !(Number(values.seconds) > 0)) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}

const seconds = Number(values.seconds);
try {
  const result = await play({
    player: values.player,
    url: values.url,
    seconds,
    startSeconds: Number(values["start-seconds"]),
    rate: Number(values.rate),
    readClock: values.clock,
    screenshot: values.screenshot,
    onProgress: values.json ? undefined : (line) => console.error(line),
  });
  const failed = failures(result, { seconds, allowStalls: Number(values["allow-stalls"]) });
  console.log(JSON.stringify({ ...result, failures: failed }, null, values.json ? undefined : 2));
  if (!values.json) for (const failure of failed) console.error(`FAILED: ${failure}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
