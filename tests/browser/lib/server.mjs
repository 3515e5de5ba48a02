// A small HTTP server on a free loopback port: files, and handlers for what is no file.

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".m3u8": "application/vnd.apple.mpegurl",
  ".ts": "video/mp2t",
  ".m4s": "video/iso.segment",
  ".mp4": "video/mp4",
};

/**
 * @param {(path: string, request: import("node:http").IncomingMessage) =>
 *     {file: string} | {body: string, type: string, status?: number} | null} route
 * @returns {Promise<{origin: string, close: () => Promise<void>}>}
 */
export async function serve(route) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const headers = { "access-control-allow-origin": "*", "cache-control": "no-store" };
    const found = route(path, request);
    if (found?.body !== undefined) {
      response.writeHead(found.status ?? 200, { ...headers, "content-type": found.type });
      response.end(found.body);
      return;
    }
    const size = found === null ? null : sizeOf(found.file);
    if (size === null) {
      response.writeHead(404, headers);
      response.end();
      return;
    }
    const type = TYPES[extname(found.file)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "content-type": type, "content-length": size });
    createReadStream(found.file, { end: Math.max(0, size - 1) }).on("error", () => response.destroy()).pipe(response);
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections?.();
      }),
  };
}

/** The files below `folder`, at `prefix`. */
export function below(prefix, folder, path) {
  return path.startsWith(prefix) ? { file: join(folder, path.slice(prefix.length)) } : null;
}

function sizeOf(file) {
  try {
    const stat = statSync(file);
    return stat.isFile() ? stat.size : null;
  } catch {
    return null;
  }
}
