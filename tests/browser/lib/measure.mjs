// What is watched while a stream plays. `watch` is sent into the page and must not use anything outside itself but its
// argument; `summarize` turns what it saw into figures.

import { readFileSync } from "node:fs";

/** A picture that stands still this long, while it should move, is a stall: milliseconds. */
export const STALL_MS = 250;

/** A script that gives a page the decoder of the camera's clock: its content security policy forbids to make one there. */
export function clockDecoder() {
  const source = readFileSync(new URL("./clock-code.mjs", import.meta.url), "utf8").replaceAll("export ", "");
  return `window.__decodeClock = (() => { ${source}; return decode; })();`;
}

/** Runs in the page, from before its own scripts. */
export function watch({ readClock }) {
  const seen = {
    opened: Date.now(),
    startupMs: null,
    first: null,
    last: null,
    frames: 0,
    longestFrameGapMs: 0,
    frozen: [],
    waits: 0,
    latencies: [],
    glass: [],
    unread: 0,
    states: [],
  };
  window.__seen = seen;
  const decode = readClock ? window.__decodeClock : null;
  const canvas = document.createElement("canvas");
  canvas.width = 160;
  canvas.height = 90;
  const context = readClock ? canvas.getContext("2d", { willReadFrequently: true }) : null;

  const attach = (video) => {
    let moved = performance.now();
    let time = null;
    let lastFrame = null;
    const look = () => {
      const now = performance.now();
      if (seen.startupMs === null) return;
      if (video.currentTime !== time || video.paused || video.ended) {
        const frozen = now - moved;
        if (time !== null && frozen >= 250) seen.frozen.push(Math.round(frozen));
        time = video.currentTime;
        moved = now;
        if (!video.paused) seen.last = { now, time };
      }
    };
    const frame = (now, metadata) => {
      const wall = Date.now();
      if (seen.startupMs === null) {
        seen.startupMs = Math.round(performance.now());
        seen.first = { now: performance.now(), time: video.currentTime };
        moved = performance.now();
      }
      seen.frames = metadata.presentedFrames;
      if (lastFrame !== null) seen.longestFrameGapMs = Math.max(seen.longestFrameGapMs, Math.round(now - lastFrame));
      lastFrame = now;
      look();
      if (decode !== null) {
        context.drawImage(video, 0, 0, canvas.width, canvas.height);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        const clock = decode((x, y) => data[4 * (Math.floor(y * canvas.height) * canvas.width + Math.floor(x * canvas.width))], wall);
        if (clock === null) seen.unread += 1;
        else seen.glass.push({ at: wall - seen.opened, ms: wall - clock });
      }
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
    video.addEventListener("waiting", () => {
      if (seen.startupMs !== null && !video.seeking) seen.waits += 1;
    });
    setInterval(look, 50);
    setInterval(() => {
      look();
      if (seen.startupMs === null || video.paused) return;
      const date = window.bare?.date() ?? null;
      const latency = window.tailwater ? window.tailwater.stats().latency : date === null ? null : (Date.now() - date.getTime()) / 1000;
      if (latency !== null) seen.latencies.push({ at: Date.now() - seen.opened, seconds: latency });
    }, 200);
    // A freeze that has not ended when the figures are read counts too.
    window.__finish = () => {
      const frozen = performance.now() - moved;
      if (seen.startupMs !== null && frozen >= 250 && !video.paused && !video.ended) seen.frozen.push(Math.round(frozen));
      const quality = video.getVideoPlaybackQuality();
      return {
        ...seen,
        decoded: quality.totalVideoFrames,
        dropped: quality.droppedVideoFrames,
        width: video.videoWidth,
        height: video.videoHeight,
        page: window.tailwater?.stats() ?? null,
        error: window.bare?.error ?? null,
        errors: window.bare?.errors ?? [],
      };
    };
  };
  const find = () => {
    const video = document.querySelector("video");
    if (video === null) requestAnimationFrame(find);
    else attach(video);
  };
  find();
}

/** The figures of one run. Seconds and milliseconds as the names say; null where nothing was seen. */
export function summarize(seen, problems, settleMs) {
  const settled = ({ at }) => at >= settleMs;
  const total = seen.frozen.reduce((sum, ms) => sum + ms, 0);
  return {
    openedAt: seen.opened,
    startupMs: seen.startupMs,
    framesDecoded: seen.decoded,
    framesDropped: seen.dropped,
    framesPresented: seen.frames,
    longestFrameGapMs: seen.longestFrameGapMs,
    width: seen.width,
    height: seen.height,
    advancedSeconds: seen.first === null || seen.last === null ? 0 : round(seen.last.time - seen.first.time, 3),
    stalls: { count: seen.frozen.length, totalMs: total, waitingEvents: seen.waits },
    latencyFromPdt: spread(seen.latencies.filter(settled).map(({ seconds }) => seconds), 3),
    glassToGlassMs: spread(seen.glass.filter(settled).map(({ ms }) => ms), 0),
    clockUnread: seen.unread,
    page: seen.page,
    errors: [...seen.errors, ...problems],
    fatal: seen.error,
  };
}

/** p5, p50, p95 and how many; null when there are none. */
export function spread(values, digits) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))], digits);
  return { p5: at(0.05), p50: at(0.5), p95: at(0.95), samples: values.length };
}

function round(value, digits) {
  return Number(value.toFixed(digits));
}
