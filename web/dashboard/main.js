// The dashboard: the list, kept current by the server's events, and the form that starts a livestream.

import { events, list, start, stop, token, Unauthorized } from "./api.js";
import { card, element, waitingCard } from "./view.js";

/** Several events at once are one new list, milliseconds. */
const GATHER_MS = 120;
/** Without events the list is asked for, milliseconds. */
const POLL_MS = 5_000;

const part = (id) => document.getElementById(id);
const form = part("start");
let listening = null;
let refreshing = null;

part("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(part("token").value.trim());
  part("token").value = "";
  enter();
});
form.addEventListener("submit", submit);
form.elements.push.addEventListener("change", () => {
  form.elements.rtmpUrl.disabled = form.elements.push.checked;
});
setInterval(() => part("content").hidden || refresh(), POLL_MS);
enter();

async function enter() {
  if (await refresh()) listen();
}

/** Shows the list as it is now; false when the server wants a token. */
async function refresh() {
  try {
    const { livestreams, waiting } = await list();
    show(livestreams, waiting);
    return true;
  } catch (error) {
    if (error instanceof Unauthorized) {
      askForToken();
      return false;
    }
    part("content").hidden = false;
    part("problem").textContent = error.code === undefined ? `The server does not answer: ${error.message}` : error.message;
    return true;
  }
}

function show(livestreams, waiting) {
  part("sign-in").hidden = true;
  part("content").hidden = false;
  part("problem").textContent = "";
  part("empty").hidden = livestreams.length > 0;
  replace(part("livestreams"), livestreams.map((livestream) => card(livestream, askToStop)));
  part("waiting-section").hidden = waiting.length === 0;
  replace(part("waiting"), waiting.map((publisher) => waitingCard(publisher, useWaiting)));
}

/** Only what changed is replaced: a button keeps its focus, a screen reader its place. */
function replace(parent, wanted) {
  wanted.forEach((made, at) => {
    const old = parent.children[at];
    if (old === undefined) parent.append(made);
    else if (!old.isEqualNode(made)) old.replaceWith(made);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

function askForToken() {
  listening?.abort();
  listening = null;
  const first = token.get() === null;
  token.clear();
  part("content").hidden = true;
  part("sign-in").hidden = false;
  part("sign-in-error").textContent = first ? "" : "The server does not accept this token.";
  part("link").textContent = "signed out";
  part("link").dataset.state = "out";
  part("token").focus();
}

async function listen() {
  listening?.abort();
  const mine = new AbortController();
  listening = mine;
  let pause = 500;
  while (!mine.signal.aborted) {
    try {
      await events(() => {
        pause = 500;
        linked(true);
        gather();
      }, gather, mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Unauthorized) return askForToken();
    }
    linked(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 10_000);
  }
}

function linked(up) {
  part("link").dataset.state = up ? "live" : "connecting";
  part("link").textContent = up ? "up to date" : "connecting";
}

function gather() {
  clearTimeout(refreshing);
  refreshing = setTimeout(refresh, GATHER_MS);
}

async function askToStop(name, button) {
  if (!confirm(`Stop “${name}”? Its viewers see the end of the livestream.`)) return;
  button.disabled = true;
  try {
    await stop(name);
  } catch (error) {
    part("problem").textContent = error.message;
    button.disabled = false;
  }
  gather();
}

function useWaiting(url) {
  form.elements.push.checked = false;
  form.elements.rtmpUrl.disabled = false;
  form.elements.rtmpUrl.value = url;
  form.elements.streamName.focus();
}

async function submit(event) {
  event.preventDefault();
  const { streamName, rtmpUrl, push, lowLatency, format } = form.elements;
  const request = { streamName: streamName.value.trim() };
  if (push.checked) request.ingest = "push";
  else request.rtmpUrl = rtmpUrl.value.trim();
  if (!lowLatency.checked) request.lowLatency = false;
  if (format.value !== "") request.format = format.value;
  const result = part("start-result");
  result.className = "";
  result.textContent = "Starting …";
  try {
    const answer = await start(request);
    result.replaceChildren(...started(answer));
    form.reset();
    rtmpUrl.disabled = false;
  } catch (error) {
    if (error instanceof Unauthorized) return askForToken();
    result.className = "error";
    result.textContent = error.message;
  }
  gather();
}

function started(answer) {
  const name = answer.name ?? String(answer.stream ?? "").replace(/_playlist\.m3u8$/, "");
  const watch = element("a", { href: `watch/${encodeURIComponent(name)}` }, `watch/${name}`);
  if (answer.publishUrl === undefined) return ["Started: ", watch];
  const key = answer.streamKey === undefined ? [] : [" with the key ", element("code", {}, answer.streamKey)];
  return ["Publish to ", element("code", {}, answer.publishUrl), ...key, ", then open ", watch];
}
