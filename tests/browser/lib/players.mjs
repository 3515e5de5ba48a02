// The pages on which a stream is played: our own, and a bare one each for hls.js, Video.js and Shaka.
//
// A bare page has one <video> and sets `window.bare = { date(), error }`: the date of what is on screen, and the fatal
// error that ended playback.

import { packageFile } from "./chromium.mjs";
import { serve } from "./server.mjs";

const PLAYERS = {
  hls: {
    files: { "hls.js": "hls.js/dist/hls.min.js" },
    script: `
      const hls = new Hls({ maxLiveSyncPlaybackRate: options.rate });
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (error.fatal) bare.error = error.details;
        bare.errors.push(error.details + (error.fatal ? " (fatal)" : ""));
      });
      bare.date = () => hls.playingDate;
      hls.loadSource(options.url);
      hls.attachMedia(video);
      video.play();`,
  },
  videojs: {
    files: { "videojs.js": "video.js/dist/video.min.js" },
    // Low latency off: VHS freezes on preload hints.
    script: `
      const player = videojs(video, { muted: true, autoplay: true, html5: { vhs: { llhls: false, overrideNative: true } } });
      player.on("error", () => { bare.error = player.error().message; bare.errors.push(bare.error); });
      bare.date = () => {
        const segments = player.tech({ IWillNotUseThisInPlugins: true })?.vhs?.playlists?.media()?.segments ?? [];
        const at = video.currentTime;
        const playing = segments.find((segment) => segment.dateTimeObject && segment.start <= at && at < segment.end);
        return playing ? new Date(playing.dateTimeObject.getTime() + (at - playing.start) * 1000) : null;
      };
      player.src({ src: options.url, type: "application/x-mpegURL" });`,
  },
  shaka: {
    files: { "shaka.js": "shaka-player/dist/shaka-player.compiled.js" },
    script: `
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      const failed = (error) => { bare.error = "shaka " + error.code; bare.errors.push(bare.error); };
      player.addEventListener("error", (event) => {
        if (event.detail.severity === shaka.util.Error.Severity.CRITICAL) failed(event.detail);
        else bare.errors.push("shaka " + event.detail.code + " (recoverable)");
      });
      bare.date = () => player.getPlayheadTimeAsDate();
      player.attach(video).then(() => player.load(options.url)).then(() => video.play()).catch(failed);`,
  },
};

/** Names that `open` knows. */
export const NAMES = ["page", ...Object.keys(PLAYERS)];

/**
 * Where a browser goes to play `url`, and what closes it again.
 * @param {string} name of NAMES; for `page` the URL is the player page itself
 * @param {number} rate the fastest that hls.js may play to catch up
 */
export async function open(name, url, rate) {
  if (name === "page") return { address: url, close: async () => {} };
  const { files, script } = PLAYERS[name];
  const options = JSON.stringify({ url, rate }).replaceAll("<", "\\u003c");
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <style>body{margin:0}video{width:1280px;height:720px}</style>
    <video id="video" muted playsinline></video>
    ${Object.keys(files).map((file) => `<script src="/${file}"></script>`).join("")}
    <script>
      const options = ${options};
      const video = document.getElementById("video");
      const bare = (window.bare = { date: () => null, error: null, errors: [] });
      ${script}
    </script>`;
  const server = await serve((path) => {
    if (path === "/") return { body: html, type: "text/html; charset=utf-8" };
    const file = files[path.slice(1)];
    return file === undefined ? null : { file: packageFile(file) };
  });
  return { address: `${server.origin}/`, close: server.close };
}
