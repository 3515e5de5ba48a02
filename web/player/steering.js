// How fast to play, and when to jump, so that a live picture stays close to the camera without running dry.
//
// The measure is the buffer's low water: how little was left before the next part arrived. Unlike the latency read
// from PROGRAM-DATE-TIME it needs no agreement between this device's clock and the server's. hls.js steers too, but
// never with less than a second in the buffer, where low latency begins.

/** Seconds of low water that parts of about 200 ms need on a quiet line. */
export const LOW_LATENCY_CUSHION = 0.28;
/** Seconds of low water for whole segments that are polled for. */
export const STANDARD_CUSHION = 1.5;

const CUSHION_MAX = 3;
/** What a stall adds to the cushion, seconds; half as much again when it was not the first in two minutes. */
const STALL_PENALTY = 0.2;
const REPEAT_MS = 120_000;
/** After a stall the cushion stays, then sinks again: milliseconds, and seconds a second. */
const PENALTY_HOLD_MS = 30_000;
const PENALTY_DECAY = 0.005;
/** Low water is looked for this far back before playing faster, and before playing slower. Milliseconds. */
const CALM_MS = 12_000;
const RECENT_MS = 600;
/** Excess that is left alone, seconds: less than a listener or a viewer would gain from. */
const DEAD_BAND = 0.04;
/** Beyond this excess a jump is kinder than minutes of fast playback, seconds. */
const JUMP_EXCESS = 2.5;
/** While the picture has only just appeared a jump goes unseen, and costs no patience. */
const SETTLING_MS = 4_000;
const SETTLING_EXCESS = 0.3;

export class Steering {
  #base;
  #penalty = 0;
  #lastStall = -Infinity;
  #lastSample = null;
  #started = null;
  #calmSince = 0;
  #samples = [];

  /** Seconds of media that arrive at once: a part's, or a segment's. The buffer falls by as much in between. */
  arrival = 0.2;

  /** @param {number} cushion seconds of low water to keep when nothing goes wrong */
  constructor(cushion) {
    this.#base = cushion;
  }

  /** Seconds of low water kept at present. */
  get cushion() {
    return Math.min(this.#base + this.#penalty, CUSHION_MAX);
  }

  /** The picture moves for the first time, or again after a seek or a pause: what was measured before says nothing. */
  restart(now) {
    this.#samples = [];
    this.#calmSince = now;
    this.#started ??= now;
  }

  /** The viewer asked for the live edge, or a new broadcast begins: jump as at the start. */
  settle(now) {
    this.restart(now);
    this.#started = now;
  }

  /** The buffer ran dry. */
  stalled(now) {
    const added = now - this.#lastStall < REPEAT_MS ? STALL_PENALTY * 1.5 : STALL_PENALTY;
    this.#penalty = Math.min(this.#penalty + added, CUSHION_MAX - this.#base);
    this.#lastStall = now;
    this.restart(now);
  }

  /** What is buffered ahead of the playing position, seconds, at `now`, milliseconds. */
  sample(now, ahead) {
    const since = this.#lastSample === null ? 0 : (now - this.#lastSample) / 1000;
    this.#lastSample = now;
    if (now - this.#lastStall > PENALTY_HOLD_MS) {
      this.#penalty = Math.max(0, this.#penalty - PENALTY_DECAY * since);
    }
    this.#samples.push({ now, ahead });
    while (this.#samples.length > 0 && this.#samples[0].now < now - CALM_MS) this.#samples.shift();
  }

  /** Seconds to jump forward now; 0 nearly always. */
  jump(now) {
    if (this.#samples.length === 0) return 0;
    // Measured for less than an arrival takes, the water still falls.
    const unseen = Math.max(0, this.arrival - (now - this.#samples[0].now) / 1000);
    const excess = this.#lowWater(now, RECENT_MS) - unseen - this.cushion;
    const settling = this.#started !== null && now - this.#started < SETTLING_MS;
    if (excess < (settling ? SETTLING_EXCESS : JUMP_EXCESS)) return 0;
    return excess;
  }

  /** The playback rate for now: between 0.92 and 1.2, beyond 1.1 only while more than a second behind. */
  rate(now) {
    const recent = this.#lowWater(now, RECENT_MS) - this.cushion;
    if (!Number.isFinite(recent)) return 1;
    // Slower as soon as the water is low: half a cushion is lost in the time that a late part takes.
    if (recent < -this.cushion / 2) return 0.92;
    if (recent < -this.cushion / 4) return 0.97;
    // Faster only when it was never low for a while, one late part in ten seconds being how the next stall begins.
    const calm = now - this.#calmSince >= 1_000 ? this.#lowWater(now, CALM_MS) - this.cushion : 0;
    if (calm <= DEAD_BAND) return 1;
    const most = calm > 1 ? 0.2 : calm > 0.3 ? 0.1 : 0.05;
    return 1 + Math.round(Math.min(most, Math.max(0.02, calm * 0.25)) * 100) / 100;
  }

  #lowWater(now, span) {
    let low = Infinity;
    for (const sample of this.#samples) {
      if (sample.now >= now - span) low = Math.min(low, sample.ahead);
    }
    return low;
  }
}
