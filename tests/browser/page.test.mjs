// The player page in a real browser, against a livestream that begins, breaks and ends when a test says so.

import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { launch } from "./lib/chromium.mjs";
import { Origin } from "./lib/origin.mjs";

/** Longer than anything here takes on a busy machine, milliseconds. */
const PATIENCE = 30_000;

let browser;
let origin;
let page;

before(async () => {
  browser = await launch();
});
after(() => browser.close());
beforeEach(async () => {
  origin = await new Origin().listen();
});
afterEach(async () => {
  await page?.close();
  await origin.close();
});

async function visit() {
  page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
  page.setDefaultTimeout(PATIENCE);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.message));
  await page.goto(`${origin.origin}/watch/test`, { waitUntil: "commit" });
}

const stats = () => page.evaluate(() => window.tailwater.stats());
const message = () => page.textContent("#message");
/** Waits until the page's own figures satisfy a condition. */
async function until(condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const figures = await page.evaluate(() => window.tailwater?.stats() ?? null);
    if (figures !== null && condition(figures)) return;
    assert.ok(Date.now() < deadline, `still ${JSON.stringify(figures)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const playing = () => until((stats) => stats.state === "playing" && stats.startupMs !== null && stats.buffer > 0);
const moving = async () => {
  const from = await page.evaluate(() => document.querySelector("video").currentTime);
  await page.waitForFunction((from) => document.querySelector("video").currentTime > from + 0.5, from, { polling: 50 });
};

test("the low-latency playlist is played and every figure is shown", async () => {
  origin.begin();
  await visit();
  await playing();
  await until((stats) => stats.latency !== null && stats.edge !== null);
  const figures = await stats();
  assert.equal(figures.mode, "low-latency");
  assert.equal(figures.rung, "180p");
  assert.ok(figures.latency > 0 && figures.latency < 10, `${figures.latency}`);
  await page.waitForFunction(() => /\d s$/.test(document.getElementById("latency").textContent));
  for (const id of ["edge", "buffer", "rung", "dropped", "stalls"]) assert.match(await page.textContent(`#${id}`), /\d/, id);
  assert.equal(await page.textContent("#badge"), "Live");
  assert.deepEqual(page.problems, []);
});

test("a livestream that is not there yet is waited for, and plays by itself", async () => {
  await visit();
  await until((stats) => stats.state === "waiting");
  assert.match(await message(), /Nothing is live here yet/);
  origin.begin();
  await playing();
  await moving();
  assert.equal(await message(), "");
});

test("without a low-latency playlist the plain one is played", async () => {
  origin.lowLatency = false;
  origin.begin();
  await visit();
  await playing();
  assert.equal((await stats()).mode, "standard");
  await moving();
});

test("a server in trouble is said to be, not the livestream to be missing", async () => {
  origin.down = true;
  origin.begin();
  await visit();
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("does not answer"));
  origin.down = false;
  await playing();
});

test("a camera that comes back is seen again without a reload", async () => {
  origin.begin();
  await visit();
  await playing();
  await moving();
  origin.interrupt();
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("interrupted"));
  origin.begin();
  await playing();
  await moving();
  assert.equal(await message(), "");
});

test("the end is told, and the next broadcast plays by itself", async () => {
  origin.begin();
  await visit();
  await playing();
  await moving();
  origin.end();
  await until((stats) => stats.state === "ended");
  assert.match(await message(), /has ended/);
  origin.begin();
  await playing();
  await moving();
  assert.equal((await stats()).mode, "low-latency");
});

test("a page opened after the end says so and shows the last minutes only when asked", async () => {
  origin.begin();
  await visit();
  await playing();
  await moving();
  origin.end();
  await page.reload({ waitUntil: "commit" });
  await until((stats) => stats.state === "ended");
  assert.equal(await page.evaluate(() => document.querySelector("video").paused), true);
  await page.keyboard.press("Space");
  await moving();
});

test("the keys do what the help line says", async () => {
  origin.begin();
  await visit();
  await playing();
  const video = (read) => page.$eval("video", read);
  await page.keyboard.press("m");
  assert.equal(await video((video) => video.muted), false);
  await page.keyboard.press("m");
  assert.equal(await video((video) => video.muted), true);
  await page.keyboard.press("Space");
  await until((stats) => stats.state === "paused");
  assert.equal(await page.textContent("#live-label"), "Go live");
  await page.keyboard.press("l");
  await playing();
  assert.equal(await page.textContent("#live-label"), "Live");
  await page.waitForFunction(() => document.querySelector("video").currentTime > document.querySelector("video").seekable.start(0) + 3);
  const from = await video((video) => video.currentTime);
  await page.keyboard.press("ArrowLeft");
  assert.ok((await video((video) => video.currentTime)) < from - 1);
  assert.equal(await page.textContent("#badge"), "Behind live");
  await page.keyboard.press("f");
  await page.waitForFunction(() => document.fullscreenElement?.id === "stage");
  await page.keyboard.press("f");
  await page.waitForFunction(() => document.fullscreenElement === null);
});

test("the quality menu and its keys choose the rung", async () => {
  origin.twoRungs = true;
  origin.begin();
  await visit();
  await playing();
  await page.waitForFunction(() => document.getElementById("quality").options.length === 3);
  const labels = () => page.$$eval("#quality option", (options) => options.map((option) => option.textContent));
  assert.deepEqual((await labels()).slice(1), ["180p", "90p"]);
  await page.selectOption("#quality", { label: "90p" });
  await until((stats) => stats.rung === "90p");
  assert.deepEqual(await labels(), ["Auto", "180p", "90p"]);
  await page.$eval("#quality", (menu) => menu.blur());
  await page.keyboard.press("ArrowUp");
  await until((stats) => stats.rung === "180p");
  await page.keyboard.press("ArrowDown");
  await until((stats) => stats.rung === "90p");
  await moving();
  await page.selectOption("#quality", "-1");
  await page.waitForFunction(() => /^Auto \(\d+p\)$/.test(document.getElementById("quality").options[0].textContent));
});

test("the button brings a viewer who went back to the live edge", async () => {
  origin.begin();
  await visit();
  await playing();
  await page.waitForFunction(() => document.querySelector("video").currentTime > document.querySelector("video").seekable.start(0) + 4);
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction(() => document.getElementById("live-label").textContent === "Go live");
  await moving();
  await page.click("#live");
  await until((stats) => stats.state === "playing" && stats.edge !== null && stats.edge < 2);
  assert.equal(await page.textContent("#badge"), "Live");
  await moving();
});

test("a browser without Media Source Extensions is given the low-latency playlist itself", async () => {
  origin.begin();
  page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.addInitScript(() => {
    for (const name of ["MediaSource", "ManagedMediaSource", "WebKitMediaSource"]) delete window[name];
    HTMLMediaElement.prototype.canPlayType = (type) => (type === "application/vnd.apple.mpegurl" ? "maybe" : "");
  });
  await page.goto(`${origin.origin}/watch/test`, { waitUntil: "commit" });
  await page.waitForFunction(() => document.querySelector("video").src.endsWith("/live/test/low-latency.m3u8"));
});

test("sound comes with one tap, and the button for it goes", async () => {
  origin.begin();
  await visit();
  await playing();
  await page.click("#unmute");
  assert.equal(await page.evaluate(() => document.querySelector("video").muted), false);
  assert.equal(await page.isVisible("#unmute"), false);
});

test("every control has a name and is large enough for a thumb", async () => {
  origin.begin();
  await visit();
  await playing();
  const small = await page.evaluate(() =>
    [...document.querySelectorAll(".bar button, .bar select")]
      .filter((control) => control.getBoundingClientRect().height < 44 || control.getBoundingClientRect().width < 44)
      .map((control) => control.id),
  );
  assert.deepEqual(small, []);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, select, input, video")]
      .filter((control) => !control.getAttribute("aria-label") && !control.textContent.trim() && !control.closest("label"))
      .map((control) => control.id),
  );
  assert.deepEqual(nameless, []);
});

for (const [held, width, height] of [
  ["upright", 360, 740],
  ["lying", 740, 360],
]) {
  test(`on a phone held ${held} nothing is cut off`, async () => {
    origin.begin();
    page = await browser.newPage({ viewport: { width, height }, isMobile: true, hasTouch: true });
    page.setDefaultTimeout(PATIENCE);
    await page.goto(`${origin.origin}/watch/test`, { waitUntil: "commit" });
    await playing();
    const outside = await page.evaluate(() => {
      const stage = document.getElementById("stage").getBoundingClientRect();
      return [...document.querySelectorAll(".bar button, .bar select, #unmute, video")]
        .filter((control) => control.getBoundingClientRect().width > 0)
        .filter((control) => {
          const { left, right, bottom } = control.getBoundingClientRect();
          return left < stage.left || right > stage.right + 1 || bottom > stage.bottom + 1;
        })
        .map((control) => control.id);
    });
    assert.deepEqual(outside, []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing scrolls sideways");
    await page.tap("#unmute");
    assert.equal(await page.evaluate(() => document.querySelector("video").muted), false);
    // All of the picture and its controls fit on the screen at once.
    assert.ok(await page.evaluate(() => document.getElementById("stage").getBoundingClientRect().bottom <= innerHeight));
  });
}
