// The player page. The livestream's name is the last part of the address; nothing in the page is made by the server.

import { Controls } from "./controls.js";
import { Playback } from "./playback.js";

const FIGURES_MS = 250;

const part = (id) => document.getElementById(id);
const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1) ?? "");
const address = (file) => new URL(`../live/${encodeURIComponent(name)}/${file}`, location.href).href;
const urls = { lowLatency: address("low-latency.m3u8"), standard: address("playlist.m3u8") };

const playback = new Playback(part("video"), urls);
const controls = new Controls(playback, part);

document.title = `${name} · live`;
part("name").textContent = name;
part("link-standard").href = urls.standard;
part("link-low-latency").href = urls.lowLatency;

playback.addEventListener("change", show);
setInterval(showFigures, FIGURES_MS);
playback.start();
show();

// For tests and measurements: what the page itself knows, at any time.
window.tailwater = { stats: () => playback.figures() };

function show() {
  const { state, detail } = playback;
  part("stage").dataset.state = state;
  const message = messageFor(state, detail);
  if (part("message").textContent !== message) part("message").textContent = message;
  part("curtain").classList.toggle("quiet", state === "playing" || (state === "paused" && message === ""));
  const badge = badgeFor(state);
  part("badge").dataset.state = badge.state;
  part("badge").textContent = badge.text;
  controls.show();
  showFigures();
}

function badgeFor(state) {
  if (state === "playing" || state === "stalled") {
    return playback.following ? { state: "live", text: "Live" } : { state: "behind", text: "Behind live" };
  }
  const text = { loading: "Loading", waiting: "Waiting", paused: "Paused", ended: "Ended", failed: "Cannot play" }[state];
  return { state, text };
}

function messageFor(state, detail) {
  if (state === "failed") return detail;
  if (state === "ended") return "This livestream has ended. The page goes on by itself when it starts again.";
  if (state === "stalled") return detail === "interrupted" ? "The camera is interrupted. Waiting for it to come back." : "";
  if (state === "playing" && detail === "new-broadcast") return "A new broadcast has begun: press “Go live”.";
  if (state !== "waiting") return "";
  if (detail === "ended") return "This livestream has ended. The page goes on by itself when it starts again.";
  if (detail === "interrupted") return "The camera is interrupted. Waiting for it to come back.";
  if (detail === "unavailable") return "The server does not answer as it should. Trying again.";
  return "Nothing is live here yet. The picture comes by itself when the livestream starts.";
}

function showFigures() {
  const figures = playback.figures();
  set("latency", seconds(figures.latency, 2));
  set("edge", seconds(figures.edge, 2));
  set("buffer", seconds(figures.buffer, 2));
  set("rung", figures.rung ?? "–", figures.frameRate === null ? "" : ` ${Math.round(figures.frameRate)} fps`);
  set("dropped", String(figures.dropped), figures.decoded > 0 ? ` of ${figures.decoded}` : "");
  set("stalls", String(figures.stalls), figures.stalledSeconds >= 0.05 ? ` ${figures.stalledSeconds.toFixed(1)} s` : "");
}

function set(id, text, unit = "") {
  const small = document.createElement("small");
  small.textContent = unit;
  part(id).replaceChildren(text, ...(unit === "" ? [] : [small]));
}

function seconds(value, digits) {
  if (value === null) return "–";
  // The two clocks do not agree: better no figure than a picture from the future.
  return value < -0.05 ? "clocks differ" : `${Math.max(0, value).toFixed(digits)} s`;
}
