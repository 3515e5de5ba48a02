#!/usr/bin/env node
// A camera whose picture carries the wall clock: frames are drawn here, in real time, and FFmpeg encodes and publishes
// them. The time in a frame is the time at which it was drawn.

import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { AREA, COLUMNS, encode, ROWS } from "../../tests/browser/lib/clock-code.mjs";

const BLACK = 16;
const WHITE = 235;
const SAMPLE_RATE = 48_000;
/** Sound runs this far ahead of the picture, seconds: FLV's muxer holds a frame back until it has sound for its time. */
const SOUND_LEAD = 0.2;

/** Draws frames of one size: a texture that moves, for the encoder to have work, and the code. */
export class Scene {
  #width;
  #height;
  #luma;
  #chroma;

  /** @param {number} width even @param {number} height even */
  constructor(width, height) {
    this.#width = width;
    this.#height = height;
    this.#luma = texture(width * 2, height);
    this.#chroma = Buffer.alloc((width / 2) * (height / 2) * 2);
    const half = this.#chroma.length / 2;
    for (let at = 0; at < half; at += 1) {
      this.#chroma[at] = 96 + Math.round((64 * (at % (width / 2))) / (width / 2));
      this.#chroma[half + at] = 160 - Math.round((64 * at) / half);
    }
  }

  /** One frame, planar YUV 4:2:0. @param {number} index of the frame @param {number} time milliseconds since 1970 */
  frame(index, time) {
    const width = this.#width;
    const height = this.#height;
    const picture = Buffer.allocUnsafe((width * height * 3) / 2);
    const offset = (index * 4) % width;
    for (let row = 0; row < height; row += 1) {
      const from = row * width * 2 + offset;
      this.#luma.copy(picture, row * width, from, from + width);
    }
    this.#chroma.copy(picture, width * height);
    this.#drawCode(picture, encode(time));
    return picture;
  }

  #drawCode(picture, rows) {
    const cellWidth = Math.floor((AREA.width * this.#width) / COLUMNS);
    const cellHeight = Math.floor((AREA.height * this.#height) / ROWS);
    const left = Math.round(AREA.left * this.#width);
    const top = Math.round(AREA.top * this.#height);
    rows.forEach((byte, row) => {
      for (let column = 0; column < COLUMNS; column += 1) {
        const value = (byte >> (COLUMNS - 1 - column)) & 1 ? WHITE : BLACK;
        for (let line = 0; line < cellHeight; line += 1) {
          const from = (top + row * cellHeight + line) * this.#width + left + column * cellWidth;
          picture.fill(value, from, from + cellWidth);
        }
      }
    });
  }
}

/** Smooth stripes with some grain, the same in every run; as wide as two pictures, so that it can move round. */
function texture(width, height) {
  const made = Buffer.alloc(width * height);
  let grain = 1;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      grain = (grain * 1_103_515_245 + 12_345) & 0x7fffffff;
      const wave = Math.sin((x * 8 * Math.PI * 2) / width + y / 40) + Math.sin(y / 15 + (x * 4 * Math.PI * 2) / width);
      made[y * width + x] = 110 + 35 * wave + ((grain >> 16) % 16);
    }
  }
  return made;
}

/** A quiet 440 Hz, 16 bits, from sample `start` on. */
function tone(start, count) {
  const made = Buffer.allocUnsafe(count * 2);
  for (let at = 0; at < count; at += 1) {
    made.writeInt16LE(Math.round(3000 * Math.sin(((start + at) * 440 * 2 * Math.PI) / SAMPLE_RATE)), at * 2);
  }
  return made;
}

/** FFmpeg's arguments: what encoders such as OBS send, H.264 and AAC in FLV. */
export function publishArgs({ url, width, height, rate, bitrate }) {
  return [
    ...["-hide_banner", "-loglevel", "error", "-nostdin"],
    ...["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", `${width}x${height}`, "-framerate", String(rate)],
    // Probing what is described already would keep half a second of frames back.
    ...["-probesize", "32", "-analyzeduration", "0", "-thread_queue_size", "4", "-i", "pipe:0"],
    ...["-f", "s16le", "-ar", String(SAMPLE_RATE), "-ac", "1", "-probesize", "32", "-analyzeduration", "0"],
    ...["-thread_queue_size", "64", "-i", "pipe:3"],
    ...["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"],
    ...["-profile:v", "baseline", "-g", String(rate), "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate],
    ...["-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2", "-flvflags", "no_duration_filesize"],
    ...["-flush_packets", "1"],
    ...["-f", "flv", url],
  ];
}

/**
 * Publishes until stopped.
 * @param {{url: string, width?: number, height?: number, rate?: number, bitrate?: string, ffmpeg?: string}} options
 * @returns {{stop: () => Promise<void>, ended: Promise<number>}} `ended` gives FFmpeg's exit code
 */
export function publish({ url, width = 1280, height = 720, rate = 30, bitrate = "4M", ffmpeg }) {
  const scene = new Scene(width, height);
  const command = ffmpeg ?? process.env.FFMPEG_PATH ?? "ffmpeg";
  const child = spawn(command, publishArgs({ url, width, height, rate, bitrate }), {
    stdio: ["pipe", "ignore", "inherit", "pipe"],
  });
  const ended = new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(`${command} cannot be started: ${error.message}`);
      resolve(1);
    });
    child.once("exit", (code) => resolve(code ?? 1));
  });
  const start = performance.now();
  let index = 0;
  let samples = 0;
  let timer = null;
  const sound = child.stdio[3];
  for (const pipe of [child.stdin, sound]) pipe.on("error", () => clearTimeout(timer));
  const tick = () => {
    // A frame whose time has passed is drawn late with the time it is then, so that the pace holds.
    while (performance.now() >= start + (index * 1000) / rate) {
      if (child.stdin.writableLength > width * height * 6) break;
      const wanted = Math.round((index / rate + SOUND_LEAD) * SAMPLE_RATE);
      sound.write(tone(samples, wanted - samples));
      samples = wanted;
      child.stdin.write(scene.frame(index, Date.now()));
      index += 1;
    }
    timer = setTimeout(tick, Math.max(1, start + (index * 1000) / rate - performance.now()));
  };
  tick();
  const stop = async () => {
    clearTimeout(timer);
    child.stdin.end();
    sound.end();
    const timeout = setTimeout(() => child.kill("SIGKILL"), 3_000);
    await ended;
    clearTimeout(timeout);
  };
  return { stop, ended };
}

if (process.argv[1] && import.meta.url === new URL(`file://${process.argv[1]}`).href) {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      size: { type: "string", default: "1280x720" },
      rate: { type: "string", default: "30" },
      bitrate: { type: "string", default: "4M" },
    },
  });
  const [width, height] = values.size.split("x").map(Number);
  if (!values.url || !(width > 0) || !(height > 0)) {
    console.error("usage: camera.mjs --url rtmp://HOST/APP/KEY [--size 1280x720] [--rate 30] [--bitrate 4M]");
    process.exit(2);
  }
  const camera = publish({ url: values.url, width, height, rate: Number(values.rate), bitrate: values.bitrate });
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => camera.stop());
  process.exitCode = await camera.ended;
}
