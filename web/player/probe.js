// What is at a livestream's address at the moment: asked when playing it did not work, or is over.

/**
 * @param {string} url of a multivariant playlist
 * @param {typeof fetch} get
 * @returns {Promise<{answer: "missing" | "unavailable" | "live" | "ended", mark?: string}>} `mark` changes when the
 *     media playlist does
 */
export async function probe(url, get = fetch) {
  const multivariant = await text(url, get);
  if (multivariant.answer !== null) return multivariant;
  const uri = firstUri(multivariant.body);
  if (uri === null) return { answer: "unavailable" };
  const media = await text(new URL(uri, url).href, get);
  // A multivariant playlist whose media playlist is not there is being made, or being taken away.
  if (media.answer !== null) return { answer: "unavailable" };
  const answer = /^#EXT-X-ENDLIST\s*$/m.test(media.body) ? "ended" : "live";
  return { answer, mark: media.body };
}

/** The first line of a playlist that is neither a tag, a comment nor empty; null when there is none. */
export function firstUri(playlist) {
  for (const line of playlist.split(/\r?\n/)) {
    if (line !== "" && !line.startsWith("#")) return line;
  }
  return null;
}

async function text(url, get) {
  try {
    const response = await get(url, { cache: "no-store" });
    if (response.status === 404 || response.status === 410) return { answer: "missing" };
    if (!response.ok) return { answer: "unavailable" };
    return { answer: null, body: await response.text() };
  } catch {
    return { answer: "unavailable" };
  }
}
