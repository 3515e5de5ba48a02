// Debian's Chromium, driven by playwright-core, with a profile of its own that is gone afterwards.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../../web/package.json", import.meta.url));

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--autoplay-policy=no-user-gesture-required",
];

/** The browser to drive; a sentence for people as an error when there is none. */
export function executable() {
  const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-headless-shell"].find(
    (path) => path && existsSync(path),
  );
  if (found === undefined) throw new Error("Chromium is not installed: apt install chromium, or set CHROMIUM to its path");
  return found;
}

/** A file of a package of `web/node_modules`. */
export function packageFile(path) {
  try {
    return require.resolve(path);
  } catch {
    throw new Error(`${path} is not installed: run npm ci in web/`);
  }
}

/** @returns {Promise<import("playwright-core").Browser>} */
export async function launch() {
  let playwright;
  try {
    playwright = require("playwright-core");
  } catch {
    throw new Error("playwright-core is not installed: run npm ci in web/");
  }
  return playwright.chromium.launch({ executablePath: executable(), headless: true, args: ARGS });
}
