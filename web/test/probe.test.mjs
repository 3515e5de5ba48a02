// What the page takes a server's answers for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { firstUri, probe } from "../player/probe.js";

const URL = "http://host/live/a/low-latency.m3u8";
const MULTIVARIANT = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na_720p_low-latency.m3u8?x=1\n";
const MEDIA = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\na_720p_segment000.ts\n";

/** A `fetch` that knows some addresses; a number is a status. */
function server(answers) {
  return async (url) => {
    const answer = answers[url] ?? 404;
    if (answer === "unreachable") throw new TypeError("Failed to fetch");
    const status = typeof answer === "number" ? answer : 200;
    return { status, ok: status < 300, text: async () => answer };
  };
}

const media = "http://host/live/a/a_720p_low-latency.m3u8?x=1";

test("a livestream that nobody started is missing", async () => {
  assert.equal((await probe(URL, server({}))).answer, "missing");
});

test("a server that fails or is away is no missing livestream", async () => {
  for (const answer of [503, 500, "unreachable"]) {
    assert.equal((await probe(URL, server({ [URL]: answer }))).answer, "unavailable");
  }
});

test("a multivariant playlist without its media playlist is not playable yet", async () => {
  assert.equal((await probe(URL, server({ [URL]: MULTIVARIANT }))).answer, "unavailable");
});

test("a media playlist without ENDLIST is live, and its mark changes with it", async () => {
  const first = await probe(URL, server({ [URL]: MULTIVARIANT, [media]: MEDIA }));
  const second = await probe(URL, server({ [URL]: MULTIVARIANT, [media]: `${MEDIA}#EXTINF:1.0,\nb.ts\n` }));
  assert.equal(first.answer, "live");
  assert.notEqual(first.mark, second.mark);
});

test("ENDLIST is the end, in CRLF too, but not inside another line", async () => {
  for (const [end, answer] of [["#EXT-X-ENDLIST\n", "ended"], ["#EXT-X-ENDLIST\r\n", "ended"], ["## not #EXT-X-ENDLIST\n", "live"]]) {
    const found = await probe(URL, server({ [URL]: MULTIVARIANT, [media]: MEDIA + end }));
    assert.equal(found.answer, answer, JSON.stringify(end));
  }
});

test("the first URI is the first line that is no tag", () => {
  assert.equal(firstUri("#EXTM3U\r\n\r\n#EXT-X-VERSION:6\r\na.m3u8\r\nb.m3u8\r\n"), "a.m3u8");
  assert.equal(firstUri("#EXTM3U\n"), null);
});
