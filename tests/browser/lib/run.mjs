// One playback from start to figures: for the command and for the benchmark.

import { launch } from "./chromium.mjs";
import { clockDecoder, summarize, watch } from "./measure.mjs";
import { open } from "./players.mjs";

/**
 * @param {{player: string, url: string, seconds: number, startSeconds?: number, rate?: number, readClock?: boolean,
 *     settleSeconds?: number, screenshot?: string, before?: () => Promise<void>, onStart?: () => void,
 *     onProgress?: (line: string) => void}} options `seconds` count from the first frame, and latencies from
 *     `settleSeconds` after the page was opened. `before` runs when the browser is there and the page not yet opened,
 *     `onStart` at the first frame
 */
export async function play(options) {
  const { player, url, seconds, startSeconds = 20, rate = 1, readClock = false, settleSeconds = 0, screenshot } = options;
  const { before, onStart, onProgress } = options;
  const target = await open(player, url, rate);
  let browser = null;
  try {
    browser = await launch();
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const problems = [];
    page.on("pageerror", (error) => problems.push(`page: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()} ${message.location().url ?? ""}`.trim());
    });
    if (readClock) await page.addInitScript({ content: clockDecoder() });
    await page.addInitScript(watch, { readClock });
    await before?.();
    await page.goto(target.address, { waitUntil: "commit" });
    const started = await page
      .waitForFunction(() => window.__seen.startupMs !== null || window.bare?.error, null, { timeout: startSeconds * 1000, polling: 50 })
      .then(() => true)
      .catch(() => false);
    if (started) {
      onStart?.();
      await settle(page, seconds, onProgress);
    }
    if (screenshot !== undefined) await page.screenshot({ path: screenshot });
    const seen = await page.evaluate(() => window.__finish?.() ?? null);
    if (seen === null) throw new Error(`${target.address} has no <video>`);
    return summarize(seen, problems, settleSeconds * 1000);
  } finally {
    await browser?.close();
    await target.close();
  }
}

async function settle(page, seconds, onProgress) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, end - Date.now())));
    const { error, time, frozen } = await page.evaluate(() => ({
      error: window.bare?.error ?? null,
      time: document.querySelector("video").currentTime,
      frozen: window.__seen.frozen.length,
    }));
    onProgress?.(`${Math.max(0, Math.round((end - Date.now()) / 1000))} s to go, at ${time.toFixed(1)} s, ${frozen} stalls`);
    if (error !== null) return;
  }
}

/** Why a run is a failure, in sentences; empty when it is none. */
export function failures(result, { seconds, allowStalls = 0 }) {
  const found = [];
  if (result.fatal !== null) found.push(`the player gave up: ${result.fatal}`);
  if (result.startupMs === null) found.push("no picture appeared");
  else if (result.advancedSeconds < seconds * 0.8) {
    found.push(`only ${result.advancedSeconds} s were played in ${seconds} s`);
  }
  if (result.stalls.count > allowStalls) {
    found.push(`${result.stalls.count} stalls, ${result.stalls.totalMs} ms altogether`);
  }
  return found;
}
