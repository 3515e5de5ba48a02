// The pages from the source tree, laid out and guarded as the server does it: `tailwater/src/web.rs`.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("../../../", import.meta.url).pathname;
const WEB = join(ROOT, "web");
const ASSETS = "/watch/assets/v/";
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", mjs: "text/javascript", svg: "image/svg+xml" };

/** @returns {{headers: Record<string, string>, body: Buffer | string} | null} what the server has at a path */
export function webFile(path) {
  if (path.startsWith(`${ASSETS}hls/`)) return file(join(WEB, "node_modules/hls.js/dist", path.slice(ASSETS.length + 4)), "PLAYER");
  if (path.startsWith(ASSETS)) return file(join(WEB, path.slice(ASSETS.length)), "PLAYER");
  if (path === "/") return page("dashboard.html", "DASHBOARD");
  return /^\/watch\/[^/]+$/.test(path) ? page("watch.html", "PLAYER") : null;
}

function page(name, policy) {
  const found = file(join(WEB, name), policy);
  return { ...found, body: found.body.toString().replaceAll("__VERSION__", "v") };
}

function file(path, policy) {
  try {
    const type = `${TYPES[path.split(".").at(-1)] ?? "text/plain"}; charset=utf-8`;
    const headers = { "content-type": type, "content-security-policy": policyOf(policy), "cache-control": "no-store" };
    return { headers, body: readFileSync(path) };
  } catch {
    return null;
  }
}

/** The server's own content security policy, so that what it forbids fails here too. */
function policyOf(name) {
  const source = readFileSync(join(ROOT, "tailwater/src/web.rs"), "utf8");
  const literal = new RegExp(`const ${name}_POLICY: &str = "([^"]+)"`).exec(source)?.[1];
  if (literal === undefined) throw new Error(`tailwater/src/web.rs has no ${name}_POLICY`);
  return literal.replace(/\\\s+/g, "");
}
