// Buttons, keys and menus, and what they show.

const KEYS = {
  " ": "pause",
  k: "pause",
  m: "mute",
  f: "fullscreen",
  l: "live",
  ArrowLeft: "back",
  ArrowRight: "forth",
  ArrowUp: "better",
  ArrowDown: "plainer",
};
const SKIP_SECONDS = 5;
/** In full screen the bar goes when the pointer rests this long, milliseconds. */
const IDLE_MS = 2_500;

export class Controls {
  #playback;
  #video;
  #part;
  #idle = null;
  #rungs = "";

  /**
   * @param {import("./playback.js").Playback} playback
   * @param {(id: string) => HTMLElement} part
   */
  constructor(playback, part) {
    this.#playback = playback;
    this.#part = part;
    this.#video = part("video");
    this.#buttons();
    document.addEventListener("keydown", (event) => this.#onKey(event));
    this.#video.addEventListener("volumechange", () => this.show());
    for (const name of ["play", "pause"]) this.#video.addEventListener(name, () => this.show());
    part("stage").addEventListener("pointermove", () => this.#wake());
  }

  /** Brings every control in line with what plays. */
  show() {
    const video = this.#video;
    const stage = this.#part("stage");
    stage.dataset.paused = String(video.paused);
    stage.dataset.muted = String(video.muted || video.volume === 0);
    this.#part("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
    this.#part("mute").setAttribute("aria-label", video.muted ? "Unmute" : "Mute");
    this.#part("volume").value = video.muted ? 0 : video.volume;
    this.#part("unmute").hidden = !(video.muted && this.#playback.state === "playing");
    const live = this.#playback.following && ["playing", "stalled"].includes(this.#playback.state);
    this.#part("live").dataset.live = String(live);
    this.#part("live").disabled = ["loading", "waiting", "failed"].includes(this.#playback.state);
    this.#part("live-label").textContent = live ? "Live" : "Go live";
    this.#showRungs();
  }

  #buttons() {
    const on = (id, act) => this.#part(id).addEventListener("click", () => this.#act(act));
    on("play", "pause");
    on("mute", "mute");
    on("unmute", "mute");
    on("live", "live");
    on("fullscreen", "fullscreen");
    this.#video.addEventListener("dblclick", () => this.#act("fullscreen"));
    this.#part("volume").addEventListener("input", (event) => {
      this.#video.volume = Number(event.target.value);
      this.#video.muted = this.#video.volume === 0;
    });
    this.#part("quality").addEventListener("change", (event) => {
      this.#playback.chooseRung(Number(event.target.value));
    });
  }

  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const tag = event.target.tagName;
    // The control that has the focus keeps its own keys.
    if (tag === "SELECT" || tag === "INPUT" || (tag === "BUTTON" && event.key === " ")) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act === undefined || (event.repeat && act !== "back" && act !== "forth")) return;
    event.preventDefault();
    this.#act(act);
    this.#wake();
  }

  #act(act) {
    if (act === "pause") this.#playback.togglePause();
    else if (act === "mute") this.#toggleMute();
    else if (act === "live") this.#playback.goLive();
    else if (act === "fullscreen") this.#toggleFullscreen();
    else if (act === "back") this.#playback.skip(-SKIP_SECONDS);
    else if (act === "forth") this.#playback.skip(SKIP_SECONDS);
    else if (act === "better") this.#stepRung(-1);
    else if (act === "plainer") this.#stepRung(1);
    this.show();
  }

  #toggleMute() {
    this.#video.muted = !this.#video.muted;
    if (!this.#video.muted && this.#video.volume === 0) this.#video.volume = 1;
  }

  #toggleFullscreen() {
    const stage = this.#part("stage");
    if (document.fullscreenElement) document.exitFullscreen();
    // iPhones know full screen for the video element only.
    else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen?.();
  }

  /** Up and down through "Auto" and the rungs, in the menu's order. */
  #stepRung(step) {
    const menu = this.#part("quality");
    const at = menu.selectedIndex + step;
    if (at < 0 || at >= menu.options.length) return;
    menu.selectedIndex = at;
    this.#playback.chooseRung(Number(menu.value));
  }

  #showRungs() {
    const menu = this.#part("quality");
    const rungs = this.#playback.rungs();
    const { rung } = this.#playback.figures();
    const auto = rung === null ? "Auto" : `Auto (${rung})`;
    const wanted = JSON.stringify(rungs);
    if (wanted !== this.#rungs) {
      this.#rungs = wanted;
      menu.replaceChildren(new Option(auto, "-1"), ...rungs.map(({ index, label }) => new Option(label, index)));
    }
    const chosen = this.#playback.chosenRung;
    const label = chosen === -1 ? auto : "Auto";
    if (menu.options[0].textContent !== label) menu.options[0].textContent = label;
    if (menu.value !== String(chosen)) menu.value = String(chosen);
    menu.disabled = rungs.length < 2;
  }

  #wake() {
    const stage = this.#part("stage");
    stage.classList.remove("idle");
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => stage.classList.add("idle"), IDLE_MS);
  }
}
