// The server's API, with the token when it asks for one.

const TOKEN = "tailwater-token";

/** The server wants a token, or another one. */
export class Unauthorized extends Error {}

/** The server refused, in its own words. */
export class Refusal extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

/** The livestreams and the publishers that wait for one. */
export async function list() {
  const answer = await json(await call("livestreams"));
  const livestreams = Array.isArray(answer) ? answer : (answer.livestreams ?? []);
  return { livestreams, waiting: Array.isArray(answer) ? [] : (answer.waiting ?? []) };
}

export async function start(request) {
  return json(await call("livestreams", { method: "POST", body: JSON.stringify(request), type: "application/json" }));
}

export async function stop(name) {
  await json(await call(`livestreams/${encodeURIComponent(name)}`, { method: "DELETE" }));
}

/**
 * Server-sent events until the connection ends: `EventSource` cannot send a token.
 * @param {() => void} onOpen
 * @param {(event: string) => void} onEvent called once for every event
 * @param {AbortSignal} signal
 */
export async function events(onOpen, onEvent, signal) {
  const response = await call("events", { accept: "text/event-stream", signal });
  if (!response.ok || response.body === null) throw new Refusal(`events: ${response.status}`);
  onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:"));
      // A block of comments only keeps the connection open and says nothing.
      if (data.length > 0) onEvent(data.map((line) => line.slice(5).trim()).join("\n"));
    }
  }
}

async function call(path, { method = "GET", body, type, accept = "application/json", signal } = {}) {
  const headers = { accept };
  if (token.get() !== null) headers.authorization = `Bearer ${token.get()}`;
  if (type !== undefined) headers["content-type"] = type;
  const response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  if (response.status === 401 || response.status === 403) throw new Unauthorized();
  return response;
}

async function json(response) {
  const text = await response.text();
  let answer = {};
  try {
    answer = text === "" ? {} : JSON.parse(text);
  } catch {
    answer = {};
  }
  if (!response.ok) {
    throw new Refusal(answer.error ?? `The server answered ${response.status}.`, answer.code);
  }
  return answer;
}
