// What the server says about a livestream, as elements. Any field may be missing; all text goes in as text.

/** @returns {HTMLLIElement} */
export function card(livestream, onStop) {
  const { name, state } = livestream;
  const over = state === "ended" || state === "failed";
  const stop = element("button", { class: "stop", type: "button", "aria-label": `Stop ${name}` }, "Stop");
  stop.addEventListener("click", () => onStop(name, stop));
  const live = `live/${encodeURIComponent(name)}`;
  return element("li", { class: "card" }, [
    element("div", { class: "top" }, [
      element("h3", {}, livestream.title ?? name ?? "?"),
      badge(state ?? "unknown"),
      element("div", { class: "actions" }, [
        element("a", { class: "button", href: `watch/${encodeURIComponent(name)}` }, "Watch"),
        ...(over ? [] : [stop]),
      ]),
    ]),
    ...(livestream.error ? [element("p", { class: "error" }, errorText(livestream.error))] : []),
    facts([
      ["Source", sourceText(livestream.source)],
      ["Publish to", livestream.publishUrl ?? null],
      ["Renditions", renditions(livestream.renditions)],
      ["Encoding", encodingText(livestream)],
      ["Store", storeTexts(livestream.store)],
      ["Since", dateText(livestream.startedAt ?? livestream.createdAt)],
      [
        "Playlists",
        [
          element("a", { href: `${live}/playlist.m3u8` }, "playlist.m3u8"),
          " ",
          ...(livestream.lowLatency === false ? [] : [element("a", { href: `${live}/low-latency.m3u8` }, "low-latency.m3u8")]),
        ],
      ],
    ]),
  ]);
}

/** A publisher that no livestream wants yet. `onStart(url)` fills in the form. */
export function waitingCard(publisher, onStart) {
  const url = publisher.rtmpUrl ?? null;
  const use = element("button", { type: "button" }, "Make a livestream of it");
  use.addEventListener("click", () => onStart(url));
  return element("li", { class: "card" }, [
    element("div", { class: "top" }, [
      element("h3", {}, publisher.app ?? "A publisher"),
      badge("waiting"),
      element("div", { class: "actions" }, url === null ? [] : [use]),
    ]),
    facts([
      ["From", publisher.peer ?? null],
      ["Since", dateText(publisher.since)],
    ]),
  ]);
}

export function element(tag, attributes = {}, content = []) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...(Array.isArray(content) ? content : [content]));
  return made;
}

function badge(state) {
  return element("span", { class: "state", "data-state": state }, state);
}

function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    { class: "facts" },
    shown.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]),
  );
}

function errorText(error) {
  if (typeof error === "string") return error;
  return error.message ?? error.error ?? error.code ?? "failed";
}

function sourceText(source) {
  if (source === null || source === undefined) return null;
  if (typeof source === "string") return source;
  const { video, audio } = source;
  const parts = [source.url ?? { push: "published here", own: "published here", pull: "pulled" }[source.kind] ?? source.kind];
  if (source.active === "backup") parts.push("the backup is used");
  if (source.connected === false) parts.push("not connected");
  if (video) {
    const size = video.width && video.height ? `${video.width}×${video.height}` : null;
    const rate = video.frameRate ? `${round(video.frameRate, 3)} fps` : null;
    parts.push([codecName(video.codec), size, rate, rateText(video.bitrate)].filter(Boolean).join(" "));
  }
  if (audio) {
    const hertz = audio.sampleRate ? `${round(audio.sampleRate / 1000, 1)} kHz` : null;
    const channels = { 1: "mono", 2: "stereo" }[audio.channels] ?? (audio.channels ? `${audio.channels} channels` : null);
    parts.push([codecName(audio.codec), hertz, channels].filter(Boolean).join(" "));
  }
  return parts.filter(Boolean).join(" · ") || null;
}

function renditions(list) {
  if (!Array.isArray(list) || list.length === 0) return null;
  return [element("span", { class: "rungs" }, list.map((one) => element("span", { class: "rung" }, renditionText(one))))];
}

function renditionText(one) {
  if (typeof one === "string") return one;
  const width = one.width ?? one.video?.width;
  const height = one.height ?? one.video?.height;
  const size = width && height ? `${width}×${height}` : null;
  const rate = one.frameRate ? `${round(one.frameRate, 2)} fps` : null;
  const copied = one.action === "copy" ? "copied" : null;
  return [one.name, size, rate, rateText(one.bandwidth), copied].filter(Boolean).join(" · ");
}

function storeTexts(store) {
  if (store === null || store === undefined) return null;
  const lines = (Array.isArray(store) ? store : [store]).map(storeText).filter(Boolean);
  return lines.length === 0 ? null : lines.map((line) => element("div", {}, line));
}

function storeText(store) {
  if (typeof store === "string") return store;
  const state = { ok: "stored in time", idle: "idle", throttled: "throttled by the store", failing: "failing" }[store.state];
  const gaps = store.gaps ? `${store.gaps} ${store.gaps === 1 ? "gap" : "gaps"}` : null;
  const waiting = store.waiting ? `${store.waiting} objects waiting` : null;
  const error = store.error ? errorText(store.error) : null;
  return [store.url, state ?? store.state, waiting, gaps, error].filter(Boolean).join(" · ");
}

function encodingText({ speed, discontinuities, load }) {
  const lag = speed === undefined || speed === null ? null : `${round(speed, 2)}× real time`;
  const breaks = discontinuities ? `${discontinuities} ${discontinuities === 1 ? "discontinuity" : "discontinuities"}` : null;
  const shed = load?.level ? `step ${load.level} of ${load.levels} shed` : null;
  return [lag, breaks, shed].filter(Boolean).join(" · ") || null;
}

function codecName(codec) {
  if (codec === null || codec === undefined) return null;
  const text = typeof codec === "string" ? codec : (codec.name ?? Object.keys(codec)[0] ?? "");
  return { h264: "H.264", avc: "H.264", hevc: "HEVC", av1: "AV1", aac: "AAC", mp3: "MP3", opus: "Opus" }[text.toLowerCase()] ?? text;
}

function rateText(bits) {
  if (!bits) return null;
  return bits >= 1e6 ? `${round(bits / 1e6, 1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;
}

function dateText(date) {
  const at = date === null || date === undefined ? null : new Date(date);
  return at === null || Number.isNaN(at.getTime()) ? null : at.toLocaleString();
}

function round(value, digits) {
  return String(Number(value.toFixed(digits)));
}
