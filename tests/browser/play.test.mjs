// The judge judged: it passes what plays in each player, and fails what does not.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { Origin } from "./lib/origin.mjs";

const COMMAND = new URL("./play.mjs", import.meta.url).pathname;
let origin;

before(async () => {
  origin = await new Origin().listen();
  origin.begin();
});
after(() => origin.close());

/** Runs the command; its figures and exit code. */
async function play(player, file, ...more) {
  const url = player === "page" ? `${origin.origin}/watch/test` : `${origin.origin}/live/test/${file}`;
  const args = [COMMAND, "--player", player, "--url", url, "--json", ...more];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (bytes) => (out += bytes));
  const code = await new Promise((resolve) => child.once("close", resolve));
  return { code, figures: out === "" ? null : JSON.parse(out) };
}

// The machine that runs the tests may be busy: what a stall is, is another test's business.
const LENIENT = ["--seconds", "5", "--start-seconds", "60", "--allow-stalls", "100"];

for (const player of ["hls", "videojs", "shaka"]) {
  test(`${player} plays a plain playlist`, async () => {
    const { code, figures } = await play(player, "playlist.m3u8", ...LENIENT);
    assert.deepEqual(figures.failures, []);
    assert.equal(code, 0);
    assert.ok(figures.framesDecoded > 60 && figures.advancedSeconds > 4, JSON.stringify(figures));
    assert.ok(figures.latencyFromPdt.p50 > 0, "the date of what is on screen is known");
  });
}

for (const player of ["page", "hls", "shaka"]) {
  test(`${player} plays a low-latency playlist`, async () => {
    const { code, figures } = await play(player, "low-latency.m3u8", ...LENIENT);
    assert.deepEqual(figures.failures, []);
    assert.equal(code, 0);
  });
}

test("a livestream that is not there is a failure", async () => {
  const { code, figures } = await play("hls", "nothing.m3u8", "--seconds", "3", "--start-seconds", "10");
  assert.equal(code, 1);
  assert.match(figures.failures.join(), /manifestLoadError|no picture/);
});

test("a livestream that stands still is a stall, and a failure", async () => {
  const running = play("hls", "low-latency.m3u8", "--seconds", "12", "--start-seconds", "60");
  // Some seconds of parts have been fetched: it plays.
  origin.requests.length = 0;
  await origin.seen((requests) => requests.filter((name) => name.endsWith(".m4s")).length > 15);
  origin.interrupt();
  const { code, figures } = await running;
  assert.equal(code, 1);
  assert.ok(figures.stalls.count > 0 && figures.stalls.totalMs > 1_000, JSON.stringify(figures.stalls));
  assert.match(figures.failures.join(), /stall/);
});
