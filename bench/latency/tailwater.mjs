// A tailwater of the benchmark's own: the release binary on free ports, its store in a folder that is gone afterwards.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Clock ticks a second in /proc: the same on every Linux there is. */
const TICKS = 100;

export class Tailwater {
  #child;
  #folder;
  #addresses;

  /** Starts it and waits until it serves. @param {string} binary path of `tailwater` */
  static async start(binary) {
    const server = new Tailwater();
    server.#folder = mkdtempSync(join(tmpdir(), "tailwater-latency-"));
    const args = ["serve", "--log-format", "json", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"];
    server.#child = spawn(binary, [...args, "--store", `file:${join(server.#folder, "data")}`], { stdio: ["ignore", "ignore", "pipe"] });
    server.#addresses = await new Promise((resolve, reject) => {
      const said = [];
      server.#child.once("error", (error) => reject(new Error(`${binary} cannot be started: ${error.message}`)));
      server.#child.once("exit", () => reject(new Error(`${binary} ended:\n${said.join("\n")}`)));
      createInterface({ input: server.#child.stderr }).on("line", (line) => {
        said.push(line);
        const entry = parsed(line);
        if (entry.message === "serving") resolve(entry);
        if (entry.level === "ERROR" || entry.level === "WARN") console.error(line);
      });
    });
    return server;
  }

  /** Where a camera publishes. */
  publishUrl(key) {
    return `rtmp://${this.#addresses.rtmp}/live/${key}`;
  }

  url(path) {
    return `http://${this.#addresses.http}${path}`;
  }

  /** Asks for a livestream. @returns {Promise<number>} when, milliseconds since 1970 */
  async create(body) {
    const asked = Date.now();
    const response = await fetch(this.url("/livestreams"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.status !== 202) throw new Error(`POST /livestreams answered ${response.status}: ${await response.text()}`);
    return asked;
  }

  async end(name) {
    await fetch(this.url(`/livestreams/${name}`), { method: "DELETE" });
  }

  /** CPU seconds that the server and what it started have used. */
  cpuSeconds() {
    const pid = this.#child.pid;
    return [pid, ...childrenOf(pid)].reduce((sum, one) => sum + cpuOf(one), 0);
  }

  async stop() {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await gone;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** CPU seconds a process has used; 0 when it is gone. */
export function cpuOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return 0;
  }
}

function childrenOf(parent) {
  try {
    return readdirSync(`/proc/${parent}/task`).flatMap((task) => {
      const children = readFileSync(`/proc/${parent}/task/${task}/children`, "utf8");
      return children.split(" ").filter(Boolean).map(Number);
    });
  } catch {
    return [];
  }
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
}
