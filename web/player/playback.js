// One livestream on one <video>: which address to play, by what, and what to do when that stops working.
//
//            open                 first frame              buffer dry
//   loading ──────▶ (hls.js) ───────────────▶ playing ◀──────────────▶ stalled
//      ▲                │ 404, fatal error       │ ENDLIST                │ for long
//      │                ▼                        ▼                        ▼
//      └──────────── waiting ◀──────────────── ended                  (search)
//
// `search` asks the server, not the player, until there is something to play: a livestream that is not there yet, one
// that is interrupted and one that ended all look alike to hls.js.

import Hls from "../hls/hls.min.mjs";
import { probe } from "./probe.js";
import { LOW_LATENCY_CUSHION, STANDARD_CUSHION, Steering } from "./steering.js";

const TICK_MS = 50;
/** Without a picture for this long, ask the server what is the matter. */
const STUCK_MS = 6_000;
/** After ENDLIST: hls.js does not always tell the browser that a livestream of parts is complete. */
const END_STUCK_MS = 1_200;
/** Polls while nothing is there: soon at first, for whoever opened the page just before the broadcast. */
const POLL_MS = [250, 250, 250, 500, 500, 500, 1_000];
const POLL_SLOW_MS = 2_000;
/** A second media error within this time is not cured by another recovery. */
const RECOVERY_MS = 5_000;

export class Playback extends EventTarget {
  #video;
  #urls;
  #hls = null;
  #native = false;
  #mode = null;
  #state = "loading";
  #detail = "";
  #steering = new Steering(LOW_LATENCY_CUSHION);
  #following = true;
  #live = true;
  #search = null;
  #lowLatencyFaults = 0;
  #lastRecovery = -Infinity;
  #stalls = 0;
  #stalledMs = 0;
  #stallStart = null;
  #lastMove = performance.now();
  #lastTime = -1;
  #startupMs = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {{lowLatency: string, standard: string}} urls of the two multivariant playlists
   */
  constructor(video, urls) {
    super();
    this.#video = video;
    this.#urls = urls;
    video.addEventListener("playing", () => this.#onPlaying());
    video.addEventListener("waiting", () => this.#onWaiting());
    video.addEventListener("seeking", () => this.#onSeeking());
    video.addEventListener("pause", () => this.#onPause());
    video.addEventListener("ended", () => this.#onEnded());
    video.addEventListener("error", () => this.#onVideoError());
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Opens the livestream, low latency first. */
  start() {
    this.#watchFirstFrame();
    this.#open("low-latency");
  }

  /** `loading`, `waiting`, `playing`, `paused`, `stalled`, `ended`, `failed`. */
  get state() {
    return this.#state;
  }

  /** Why the state is what it is, where there is more to say than the state. */
  get detail() {
    return this.#detail;
  }

  /** Whether playback is held at the live edge; not after a pause or a seek back. */
  get following() {
    return this.#following;
  }

  /** Back to the live edge. */
  goLive() {
    this.#following = true;
    const edge = this.#bufferEnd();
    const sync = this.#hls?.liveSyncPosition ?? null;
    if (this.#live && this.#hls !== null) {
      // What is buffered is nearer than the hold-back; what is not has to be loaded from where hls.js would start.
      const target = edge !== null && (sync === null || edge >= sync) ? edge - this.#steering.cushion - 0.2 : sync;
      if (target !== null && target > this.#video.currentTime) this.#seek(target);
      this.#steering.settle(performance.now());
    } else if (!this.#native) {
      this.#open("low-latency");
    } else if (this.#video.seekable.length > 0) {
      this.#seek(this.#video.seekable.end(this.#video.seekable.length - 1));
    }
    this.#play();
    this.#changed();
  }

  /** Back (or forth) by `seconds`, within what can be played; it stays there. */
  skip(seconds) {
    const { seekable, currentTime } = this.#video;
    if (seekable.length === 0) return;
    const low = seekable.start(0);
    const high = this.#bufferEnd() ?? seekable.end(seekable.length - 1);
    this.#following = false;
    this.#video.playbackRate = 1;
    this.#seek(Math.min(Math.max(currentTime + seconds, low), Math.max(low, high - 0.5)));
    this.#changed();
  }

  togglePause() {
    if (this.#video.paused) this.#play();
    else this.#video.pause();
  }

  /** The rungs on offer, highest first: `{ index, label }`; empty where the browser chooses by itself. */
  rungs() {
    const levels = (this.#hls?.levels ?? []).map((level, index) => ({ index, level }));
    levels.sort((a, b) => b.level.bitrate - a.level.bitrate);
    const heights = levels.map(({ level }) => size(level));
    return levels.map(({ index, level }, at) => {
      const twice = heights.filter((height) => height === heights[at]).length > 1;
      const rate = `${(level.bitrate / 1e6).toFixed(1)} Mbit/s`;
      return { index, label: heights[at] === null ? rate : twice ? `${heights[at]}p, ${rate}` : `${heights[at]}p` };
    });
  }

  /** Index of the rung asked for, -1 for automatic. */
  get chosenRung() {
    return this.#hls === null || this.#hls.autoLevelEnabled ? -1 : this.#hls.loadLevel;
  }

  /** Takes effect with the next part, so that what is buffered is still played. */
  chooseRung(index) {
    if (this.#hls !== null) this.#hls.loadLevel = index;
    this.#changed();
  }

  /** What the page shows and the tests read. Times in seconds, null where not known. */
  figures() {
    const video = this.#video;
    const quality = video.getVideoPlaybackQuality?.();
    const level = this.#hls?.levels?.[this.#hls.currentLevel] ?? null;
    const date = this.#hls?.playingDate ?? startDate(video);
    const shown = this.#startupMs !== null && this.#state !== "ended";
    const details = this.#hls?.latestLevelDetails ?? null;
    return {
      state: this.#state,
      mode: this.#mode,
      latency: shown && date !== null && this.#live ? (Date.now() - date.getTime()) / 1000 : null,
      edge: shown && details !== null && details.live ? Math.max(0, details.edge - video.currentTime) : null,
      buffer: shown ? this.#ahead() : null,
      rung: rungName(level, video),
      frameRate: level?.frameRate || null,
      bitrate: level?.bitrate ?? null,
      decoded: quality?.totalVideoFrames ?? 0,
      dropped: quality?.droppedVideoFrames ?? 0,
      stalls: this.#stalls,
      stalledSeconds: (this.#stalledMs + (this.#stallStart === null ? 0 : performance.now() - this.#stallStart)) / 1000,
      rate: video.playbackRate,
      cushion: this.#steering.cushion,
      startupMs: this.#startupMs,
    };
  }

  #open(mode) {
    this.#close();
    this.#mode = mode;
    this.#live = true;
    this.#lastMove = performance.now();
    this.#steering = new Steering(mode === "low-latency" ? LOW_LATENCY_CUSHION : STANDARD_CUSHION);
    this.#become("loading");
    const url = mode === "low-latency" ? this.#urls.lowLatency : this.#urls.standard;
    if (Hls.isSupported()) this.#openHls(url, mode);
    else if (this.#video.canPlayType("application/vnd.apple.mpegurl")) this.#openNative(url);
    else this.#become("failed", "This browser can play neither Media Source Extensions nor HLS.");
  }

  #openHls(url, mode) {
    const hls = new Hls({
      lowLatencyMode: mode === "low-latency",
      // Parts are small: the thread of its own costs more, at the start above all, than what it takes off this one.
      enableWorker: mode !== "low-latency",
      workerPath: new URL("../hls/hls.worker.js", import.meta.url).href,
      // Steered here.
      maxLiveSyncPlaybackRate: 1,
      liveSyncOnStallIncrease: 0,
      // Whether it plays is decided here alone: that controller plays whenever a playlist arrives, also after a pause.
      interstitialsController: undefined,
      capLevelToPlayerSize: true,
      // The browser makes room by itself when it needs some. What hls.js removes while a part is on its way makes it take
      // that part for missing, and wait for it for two seconds (hls.js 1.7.4).
      backBufferLength: Infinity,
      abrEwmaDefaultEstimate: 5_000_000,
      // A livestream that is not there is asked for by `probe`, more often than hls.js would.
      manifestLoadPolicy: {
        default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: null, errorRetry: null },
      },
    });
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#changed());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#changed());
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => this.#onPlaylist(details));
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (error.fatal && this.#hls === hls) this.#onFatal(error);
    });
    hls.loadSource(url);
    hls.attachMedia(this.#video);
    this.#play();
  }

  #openNative(url) {
    this.#native = true;
    this.#video.src = url;
    this.#play();
  }

  #close() {
    this.#stopSearch();
    this.#endStall();
    this.#hls?.destroy();
    this.#hls = null;
    if (this.#native) this.#video.removeAttribute("src");
    this.#native = false;
    this.#video.playbackRate = 1;
  }

  #play() {
    // Refused where autoplay is not allowed even muted: the play button is there.
    this.#video.play()?.catch((error) => error.name === "NotAllowedError" && this.#become("paused"));
  }

  #seek(time) {
    this.#video.currentTime = time;
  }

  #onPlaylist(details) {
    this.#steering.arrival = (this.#mode === "low-latency" && details.partTarget) || details.targetduration;
    const ended = !details.live;
    if (ended && this.#live) {
      this.#live = false;
      this.#video.playbackRate = 1;
      // Opened after its end: the last minutes are there for whoever asks, but are not live.
      if (this.#startupMs === null || this.#state === "loading") {
        this.#video.pause();
        this.#onEnded();
      }
    }
  }

  #onFatal(error) {
    const now = performance.now();
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && now - this.#lastRecovery > RECOVERY_MS) {
      this.#lastRecovery = now;
      this.#hls.recoverMediaError();
      return;
    }
    if (error.type !== Hls.ErrorTypes.NETWORK_ERROR && this.#mode === "low-latency") this.#lowLatencyFaults += 1;
    this.#become("waiting", this.#startupMs === null ? "" : "interrupted");
    this.#startSearch();
  }

  #onVideoError() {
    if (!this.#native) return;
    if (this.#mode === "low-latency") this.#lowLatencyFaults += 1;
    this.#become("waiting");
    this.#startSearch();
  }

  #onPlaying() {
    this.#endStall();
    this.#stopSearch();
    this.#lastMove = performance.now();
    this.#steering.restart(this.#lastMove);
    this.#become("playing");
  }

  #onWaiting() {
    const { seeking, paused } = this.#video;
    if (this.#state !== "playing" || seeking || paused || this.#video.ended) return;
    this.#stalls += 1;
    this.#stallStart = performance.now();
    this.#steering.stalled(this.#stallStart);
    this.#video.playbackRate = 1;
    this.#become("stalled");
  }

  #onSeeking() {
    this.#steering.restart(performance.now());
  }

  #onPause() {
    if (this.#video.ended || this.#state === "ended" || this.#state === "waiting" || this.#state === "failed") return;
    this.#endStall();
    this.#following = false;
    this.#video.playbackRate = 1;
    this.#become("paused");
  }

  #onEnded() {
    this.#endStall();
    this.#live = false;
    this.#become("ended");
    this.#startSearch();
  }

  #endStall() {
    if (this.#stallStart === null) return;
    this.#stalledMs += performance.now() - this.#stallStart;
    this.#stallStart = null;
  }

  #tick() {
    const now = performance.now();
    const { currentTime, paused, seeking, readyState } = this.#video;
    if (currentTime !== this.#lastTime) {
      this.#lastTime = currentTime;
      this.#lastMove = now;
    }
    const expectsMotion = !paused && ["loading", "playing", "stalled"].includes(this.#state);
    if (expectsMotion && !this.#live && now - this.#lastMove > END_STUCK_MS && this.#ahead() < 0.5) {
      this.#onEnded();
      return;
    }
    if (expectsMotion && now - this.#lastMove > STUCK_MS && this.#search === null) {
      if (this.#state !== "loading") this.#become("stalled", "interrupted");
      this.#startSearch();
    }
    if (this.#state !== "playing" || !this.#following || !this.#live || this.#hls === null || seeking) return;
    if (readyState < HTMLMediaElement.HAVE_FUTURE_DATA) return;
    this.#steering.sample(now, this.#ahead());
    const jump = this.#steering.jump(now);
    if (jump > 0) {
      this.#seek(currentTime + jump);
      this.#steering.restart(now);
      return;
    }
    const rate = this.#steering.rate(now);
    if (Math.abs(rate - this.#video.playbackRate) > 0.005) this.#video.playbackRate = rate;
  }

  /** Asks until there is something to play that is not what just failed. One search at a time. */
  async #startSearch() {
    this.#stopSearch();
    const search = { cancelled: false, timer: null };
    this.#search = search;
    const hadPicture = this.#startupMs !== null && this.#state !== "ended" && this.#mode !== null;
    let mark = null;
    for (let round = 0; ; round += 1) {
      const found = await this.#ask();
      if (search.cancelled) return;
      // An interrupted livestream keeps its playlist: it is worth opening again once that goes on.
      const moved = mark !== null && found.mark !== mark;
      if (found.answer === "live" && (!hadPicture || moved)) {
        this.#resume(found.mode);
        return;
      }
      if (found.mark !== undefined) mark = found.mark;
      if (found.answer === "ended" && this.#state === "stalled") this.#become("ended");
      if (this.#state !== "ended" && this.#state !== "stalled") this.#become("waiting", waitingFor(found.answer, hadPicture));
      await new Promise((resolve) => {
        search.timer = setTimeout(resolve, POLL_MS[round] ?? POLL_SLOW_MS);
      });
      if (search.cancelled) return;
    }
  }

  #resume(mode) {
    // Somebody is watching the last minutes of what ended: say it, do not tear it away.
    if (this.#state === "playing" && !this.#live) {
      this.#stopSearch();
      this.#become("playing", "new-broadcast");
      return;
    }
    this.#following = true;
    this.#open(mode);
  }

  #stopSearch() {
    if (this.#search === null) return;
    this.#search.cancelled = true;
    clearTimeout(this.#search.timer);
    this.#search = null;
  }

  async #ask() {
    let ended = null;
    let worst = { answer: "missing" };
    for (const mode of this.#lowLatencyFaults >= 2 ? ["standard"] : ["low-latency", "standard"]) {
      const found = await probe(mode === "low-latency" ? this.#urls.lowLatency : this.#urls.standard);
      if (found.answer === "live") return { ...found, mode };
      if (found.answer === "ended") ended ??= { ...found, mode };
      if (found.answer === "unavailable") worst = found;
    }
    return ended ?? worst;
  }

  #become(state, detail = "") {
    if (this.#state === state && this.#detail === detail) return;
    this.#state = state;
    this.#detail = detail;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #watchFirstFrame() {
    const seen = () => {
      this.#startupMs ??= Math.round(performance.now());
    };
    if ("requestVideoFrameCallback" in this.#video) this.#video.requestVideoFrameCallback(seen);
    else this.#video.addEventListener("playing", seen, { once: true });
  }

  #ahead() {
    const { buffered, currentTime } = this.#video;
    for (let range = 0; range < buffered.length; range += 1) {
      if (buffered.start(range) <= currentTime + 0.05 && buffered.end(range) >= currentTime) {
        return buffered.end(range) - currentTime;
      }
    }
    return 0;
  }

  #bufferEnd() {
    const { buffered } = this.#video;
    return buffered.length === 0 ? null : buffered.end(buffered.length - 1);
  }
}

/** A rung is named by its short side, as 720p is 720p in portrait too. */
function size(level) {
  return level.width && level.height ? Math.min(level.width, level.height) : null;
}

function rungName(level, video) {
  if (level !== null) return size(level) === null ? "audio" : `${size(level)}p`;
  return video.videoWidth ? `${Math.min(video.videoWidth, video.videoHeight)}p` : null;
}

function startDate(video) {
  const start = video.getStartDate?.();
  if (!start || Number.isNaN(start.getTime())) return null;
  return new Date(start.getTime() + video.currentTime * 1000);
}

function waitingFor(answer, hadPicture) {
  if (answer === "ended") return "ended";
  if (answer === "unavailable") return "unavailable";
  return hadPicture ? "interrupted" : "";
}
