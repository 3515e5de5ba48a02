// The tutorial's pipeline, repaired, as the peer: FFmpeg cuts HLS of one-second segments into a folder, a static server
// hands them out. The rungs are x264 at its defaults, as there; key frames are forced where segments begin, the rungs
// have the sizes they say, and one FFmpeg writes a multivariant playlist that names what is there. Nothing is uploaded,
// so that what a store would add is not in the figures.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { below, serve } from "../../tests/browser/lib/server.mjs";
import { cpuOf } from "./tailwater.mjs";

const PATIENCE_MS = 30_000;

export class Tutorial {
  #child;
  #folder;
  #server;

  /**
   * FFmpeg listens for the camera, and what it writes is served.
   * @param {string} publishUrl an RTMP URL on a free port
   * @param {{name: string, height: number, videoBitrate: number}[]} ladder highest first
   */
  static async start(publishUrl, ladder) {
    const peer = new Tutorial();
    peer.#folder = mkdtempSync(join(tmpdir(), "tutorial-latency-"));
    peer.#server = await serve((path) => below("/live/", peer.#folder, path));
    const command = process.env.FFMPEG_PATH ?? "ffmpeg";
    peer.#child = spawn(command, args(publishUrl, ladder, peer.#folder), { stdio: ["ignore", "ignore", "inherit"] });
    await until(() => listens(Number(new URL(publishUrl).port)), "the tutorial's FFmpeg does not listen");
    return peer;
  }

  get url() {
    return `${this.#server.origin}/live/playlist.m3u8`;
  }

  /** Until there is something to play: a player that asks earlier gives up. */
  async playable() {
    await until(() => existsSync(join(this.#folder, "playlist.m3u8")), "the tutorial's FFmpeg wrote no playlist");
  }

  cpuSeconds() {
    return cpuOf(this.#child.pid);
  }

  async stop() {
    const gone = this.#child.exitCode !== null || new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
    await this.#server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function until(condition, complaint) {
  const end = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(complaint);
    await delay(20);
  }
}

/** Whether somebody listens there; to try it would take the one connection that FFmpeg accepts. */
function listens(port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`:${wanted} \\S+ 0A `).test(readFileSync("/proc/net/tcp", "utf8"));
}

function args(publishUrl, ladder, folder) {
  const rungs = ladder.flatMap(({ height, videoBitrate }, index) => [
    ...["-map", "0:v:0", "-map", "0:a:0", `-filter:v:${index}`, `scale=-2:${height}`, `-b:v:${index}`, String(videoBitrate)],
  ]);
  return [
    ...["-hide_banner", "-loglevel", "error", "-nostdin", "-listen", "1", "-f", "flv", "-i", publishUrl, ...rungs],
    ...["-c:v", "libx264", "-sc_threshold", "0", "-force_key_frames", "expr:gte(t,n_forced)", "-c:a", "aac", "-b:a", "128k"],
    ...["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_flags", "independent_segments+program_date_time"],
    ...["-var_stream_map", ladder.map(({ name }, index) => `v:${index},a:${index},name:${name}`).join(" ")],
    ...["-master_pl_name", "playlist.m3u8", "-hls_segment_filename", join(folder, "%v_segment%03d.ts")],
    join(folder, "%v_playlist.m3u8"),
  ];
}
