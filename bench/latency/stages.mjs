// Where the time goes on its way to the screen, as far as it can be told from outside: a player that only reloads the
// playlist sees when each part (each segment, where there are no parts) is listed, and the playlist says when its frames
// came in.

import { setTimeout as delay } from "node:timers/promises";
import { spread } from "../../tests/browser/lib/measure.mjs";

/** A playlist that does not block is asked for as often as this, milliseconds. */
const POLL_MS = 20;

/** Follows one media playlist until stopped. */
export class Stages {
  #stopped = false;
  #lags = [];
  #piece = 0;
  #following;

  /** @param {string} url a multivariant playlist; its first variant is followed */
  constructor(url) {
    this.#following = this.#follow(url).catch((error) => console.error(`the playlist cannot be followed: ${error.message}`));
  }

  /**
   * `pieceMs` is what is listed at a time: a part, or a segment.
   * @returns {Promise<{listedMs: {p5: number, p50: number, p95: number, samples: number} | null, pieceMs: number}>}
   */
  async stop() {
    this.#stopped = true;
    await this.#following;
    return { listedMs: spread(this.#lags, 0), pieceMs: this.#piece * 1000 };
  }

  async #follow(url) {
    const variants = (await text(url)).split("\n");
    const media = new URL(variants.find((line) => line !== "" && !line.startsWith("#")), url);
    let last = null;
    while (!this.#stopped) {
      const playlist = await text(last === null ? media : ask(media, last));
      const now = Date.now();
      const edge = read(playlist);
      this.#piece = edge.partTarget || edge.targetDuration;
      const isNews = last !== null && (edge.msn !== last.msn || edge.part !== last.part);
      // What was listed before this began says nothing about when.
      if (isNews && edge.listedUntil !== null) this.#lags.push(now - edge.listedUntil);
      last = edge;
      if (edge.partTarget === 0) await delay(POLL_MS);
    }
  }
}

function ask(media, { msn, part, partTarget }) {
  const url = new URL(media);
  if (partTarget === 0) return url;
  url.searchParams.set("_HLS_msn", msn);
  url.searchParams.set("_HLS_part", part);
  return url;
}

async function text(url) {
  const response = await fetch(url);
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  return response.text();
}

/** What comes next, and when the frames listed last came in: milliseconds since 1970. */
function read(playlist) {
  let msn = Number(/#EXT-X-MEDIA-SEQUENCE:(\d+)/.exec(playlist)?.[1] ?? 0);
  let part = 0;
  let date = null;
  let inParts = 0;
  for (const line of playlist.split("\n")) {
    if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) {
      date = Date.parse(line.slice(25));
      inParts = 0;
    } else if (line.startsWith("#EXT-X-PART:")) {
      part += 1;
      inParts += Number(/DURATION=([\d.]+)/.exec(line)[1]);
    } else if (line.startsWith("#EXTINF:")) {
      msn += 1;
      part = 0;
      inParts = Number(/#EXTINF:([\d.]+)/.exec(line)[1]);
    }
  }
  const partTarget = Number(/PART-TARGET=([\d.]+)/.exec(playlist)?.[1] ?? 0);
  const targetDuration = Number(/#EXT-X-TARGETDURATION:(\d+)/.exec(playlist)?.[1] ?? 0);
  return { msn, part, partTarget, targetDuration, listedUntil: date === null ? null : date + inParts * 1000 };
}
