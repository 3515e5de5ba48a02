// The steering in virtual time, against a buffer that fills by parts and empties by playing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LOW_LATENCY_CUSHION, Steering } from "../player/steering.js";

const TICK = 50;

/** Plays parts that arrive every `part` seconds, each `late(index)` seconds late; tells what happened. */
function run({ start, seconds, part = 0.2, late = () => 0, burst = null, steering = new Steering(LOW_LATENCY_CUSHION), jumps = true }) {
  let buffered = start;
  let played = 0;
  let arrived = 0;
  let dry = false;
  const seen = { rates: [], jumped: 0, stalls: 0, buffers: [] };
  steering.settle(0);
  for (let now = 0; now < seconds * 1000; now += TICK) {
    while (now / 1000 >= arrived * part + late(arrived)) {
      buffered += part;
      arrived += 1;
    }
    if (burst !== null && now === burst.at * 1000) buffered += burst.seconds;
    if (dry && buffered - played > 0.1) {
      dry = false;
      steering.restart(now);
    }
    if (!dry) {
      steering.sample(now, buffered - played);
      const jump = jumps ? steering.jump(now) : 0;
      if (jump > 0) {
        played += jump;
        seen.jumped += jump;
        steering.restart(now);
      }
      const rate = steering.rate(now);
      seen.rates.push(rate);
      played += (rate * TICK) / 1000;
      if (played >= buffered) {
        played = buffered;
        dry = true;
        seen.stalls += 1;
        steering.stalled(now);
      }
    }
    seen.buffers.push(buffered - played);
  }
  return seen;
}

const tail = (values, share = 0.25) => values.slice(Math.floor(values.length * (1 - share)));

test("a second too much at the start is jumped over while nobody sees it", () => {
  const seen = run({ start: 1.2, seconds: 10 });
  assert.ok(seen.jumped > 0.6, `jumped ${seen.jumped}`);
  assert.equal(seen.stalls, 0);
});

test("what a slow machine has loaded only some seconds after the start is jumped over too", () => {
  const seen = run({ start: 0.4, seconds: 10, burst: { at: 2.5, seconds: 1.6 } });
  assert.ok(seen.jumped > 1.2, `jumped ${seen.jumped}`);
  assert.equal(seen.stalls, 0);
});

test("what is too much later is caught up with, never faster than 1.1 near the target", () => {
  const steering = new Steering(LOW_LATENCY_CUSHION);
  const seen = run({ start: 1, seconds: 60, steering, jumps: false });
  const lowest = Math.min(...tail(seen.buffers));
  assert.ok(Math.abs(lowest - LOW_LATENCY_CUSHION) < 0.1, `low water ${lowest}`);
  assert.ok(Math.max(...seen.rates) <= 1.1);
  assert.equal(seen.stalls, 0);
});

test("on a quiet line the rate rests at one", () => {
  const seen = run({ start: 0.3, seconds: 60 });
  const moved = tail(seen.rates, 0.5).filter((rate) => rate !== 1).length;
  assert.ok(moved / tail(seen.rates, 0.5).length < 0.05, `${moved} of ${seen.rates.length}`);
});

test("one late part in every ten seconds holds playback back from the edge", () => {
  const jitter = (index) => (index % 50 === 7 ? 0.25 : 0);
  const seen = run({ start: 0.8, seconds: 120, late: jitter, jumps: false });
  assert.equal(seen.stalls, 0);
});

test("after a stall the cushion grows, and sinks again with time", () => {
  const steering = new Steering(LOW_LATENCY_CUSHION);
  steering.stalled(0);
  steering.stalled(1_000);
  const raised = steering.cushion;
  assert.ok(raised >= LOW_LATENCY_CUSHION + 0.4);
  for (let now = 1_000; now <= 200_000; now += TICK) steering.sample(now, 1);
  assert.equal(steering.cushion, LOW_LATENCY_CUSHION);
  assert.ok(raised > steering.cushion);
});

test("a line that is always bad ends with a cushion that carries it, not with endless stalls", () => {
  const bad = (index) => (index % 9 === 4 ? 0.7 : 0);
  const seen = run({ start: 0.3, seconds: 120, late: bad });
  assert.ok(seen.stalls <= 4, `${seen.stalls} stalls`);
});

test("nothing measured, nothing done", () => {
  const steering = new Steering(LOW_LATENCY_CUSHION);
  assert.equal(steering.rate(0), 1);
  assert.equal(steering.jump(0), 0);
});
