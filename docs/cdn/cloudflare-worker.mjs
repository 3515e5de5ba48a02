// A Cloudflare Worker as the CDN before Momento: see ../CDN.md.
//
// Variables of the Worker: MOMENTO_HTTP (https://api.cache.<cell>.prod.a.momentohq.com), MOMENTO_CACHE (livestreams),
// and the secret MOMENTO_API_KEY (a key that may only read).

const TYPES = {
  m3u8: "application/vnd.apple.mpegurl",
  ts: "video/mp2t",
  m4s: "video/mp4",
  mp4: "video/mp4",
  m4a: "audio/mp4",
  vtt: "text/vtt",
};

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, HEAD, OPTIONS",
  "access-control-allow-headers": "Range",
  "access-control-expose-headers": "Age, Content-Length, Content-Range, Date",
};

// /<stream>/playlist.m3u8 is <stream>_playlist.m3u8; /<stream>/<key> and /<key> are <key>. Media only.
function objectOf(path) {
  const entry = path.match(/^\/([A-Za-z0-9-]+)\/playlist\.m3u8$/);
  if (entry) return `${entry[1]}_playlist.m3u8`;
  const key = path.match(/^\/(?:[A-Za-z0-9-]+\/)?([A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:m3u8|ts|m4s|mp4|m4a|vtt))$/);
  return key ? key[1] : null;
}

function refuse(status, text, headers = {}) {
  return new Response(`${text}\n`, { status, headers: { ...CORS, "cache-control": "no-store", ...headers } });
}

export default {
  async fetch(request, env) {
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: CORS });
    if (request.method !== "GET" && request.method !== "HEAD") return refuse(405, "Method not allowed.");
    const key = objectOf(new URL(request.url).pathname);
    if (!key) return refuse(404, "There is no such object.");

    const playlist = key.endsWith(".m3u8");
    const source = `${env.MOMENTO_HTTP}/cache/${env.MOMENTO_CACHE}?key=${key}`;
    // Momento names no lifetimes: they are set here, and what is missing now is asked for again at once.
    const ttl = playlist ? 1 : 3600;
    const answer = await fetch(source, {
      headers: { authorization: env.MOMENTO_API_KEY },
      cf: { cacheEverything: true, cacheTtlByStatus: { "200-299": ttl, "300-599": -1 } },
    });
    if (answer.status === 404) return refuse(404, "There is no such object, or it has expired.");
    if (answer.status === 429 || answer.status >= 500) {
      return refuse(503, "The store does not answer.", { "retry-after": "1" });
    }
    if (!answer.ok) return refuse(502, "The store does not accept the CDN's API key.");

    const headers = {
      ...CORS,
      "content-type": TYPES[key.split(".").pop()],
      "cache-control": playlist ? "public, max-age=0, s-maxage=1" : "public, max-age=3600, immutable",
    };
    const length = answer.headers.get("content-length");
    if (length) headers["content-length"] = length;
    return new Response(request.method === "HEAD" ? null : answer.body, { headers });
  },
};
