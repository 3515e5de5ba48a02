// A CloudFront Function for the CDN before Momento: see ../CDN.md. Publish it once and associate it with the viewer
// request and with the viewer response of every behaviour.

var TYPES = {
  m3u8: "application/vnd.apple.mpegurl",
  ts: "video/mp2t",
  m4s: "video/mp4",
  mp4: "video/mp4",
  m4a: "audio/mp4",
  vtt: "text/vtt",
};

function handler(event) {
  return event.context.eventType === "viewer-response" ? typed(event) : mapped(event);
}

// /<stream>/playlist.m3u8 is <stream>_playlist.m3u8; /<stream>/<key> and /<key> are <key>. Media only.
function mapped(event) {
  var request = event.request;
  var entry = request.uri.match(/^\/([A-Za-z0-9-]+)\/playlist\.m3u8$/);
  var key = request.uri.match(/^\/(?:[A-Za-z0-9-]+\/)?([A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:m3u8|ts|m4s|mp4|m4a|vtt))$/);
  if (!entry && !key) {
    return { statusCode: 404, statusDescription: "Not Found", headers: { "cache-control": { value: "no-store" } } };
  }
  request.uri = entry ? "/" + entry[1] + "_playlist.m3u8" : "/" + key[1];
  // No query string: it would make cache entries of its own.
  request.querystring = {};
  return request;
}

// The store keeps bytes and nothing else: the type follows from the name, the lifetime too.
function typed(event) {
  var response = event.response;
  // 304, say. Not errors of the origin: CloudFront runs no function on those.
  if (response.statusCode !== 200 && response.statusCode !== 206) return response;
  var extension = event.request.uri.split(".").pop();
  var type = TYPES[extension];
  if (type) response.headers["content-type"] = { value: type };
  response.headers["cache-control"] = {
    value: extension === "m3u8" ? "public, max-age=0, s-maxage=1" : "public, max-age=3600, immutable",
  };
  return response;
}
