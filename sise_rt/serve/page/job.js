// One explanation, from the picture to its end, over full queues and lost connections.

import { Refused, Unreachable, call, events, json } from "./api.js";

const LONGEST_WAIT = 15; // seconds between two tries to reach a server that does not answer
const ENDS = new Set(["done", "failed", "stopped"]);

// A picture and what is asked of it: yields {name, data}: the server's events, and those of the way there:
// `sending`, `waiting` {reason, text, seconds}, `accepted` {path}. Ends after one of `done`, `failed`, `stopped`.
//
// `pause(seconds)` resolves when it is time to try again, earlier where the person says so.
export async function* explained(picture, query, signal, pause) {
  const path = yield* admitted(picture, query, signal, pause);
  let last = null;
  let tries = 0;
  for (;;) {
    try {
      for await (const event of events(`${path}/events`, last, signal)) {
        tries = 0;
        last = event.id ?? last;
        yield event;
        if (ENDS.has(event.name)) return;
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 404) {
        yield { name: "failed", data: { error: "The server has forgotten this picture, as after a restart." } };
        return;
      }
      if (!passing(error)) throw error;
    }
    yield* resting({ reason: "gone" }, backoff(tries++), pause);
  }
}

async function* admitted(picture, query, signal, pause) {
  for (let tries = 0; ; tries++) {
    yield { name: "sending", data: {} };
    const body = new FormData();
    body.append("image", picture, picture.name);
    try {
      const { id } = await json(`jobs?${new URLSearchParams(query)}`, { method: "POST", body, signal });
      const path = `jobs/${encodeURIComponent(id)}`;
      yield { name: "accepted", data: { path } };
      return path;
    } catch (error) {
      if (!passing(error)) throw error;
      yield* resting(cause(error), error.wait ?? backoff(tries), pause);
    }
  }
}

async function* resting(why, seconds, pause) {
  for (let left = seconds; left > 0; left--) {
    yield { name: "waiting", data: { ...why, seconds: left } };
    if (await pause(1)) return;
  }
}

function cause(error) {
  if (!(error instanceof Refused)) return { reason: "gone" };
  return error.status === 429 ? { reason: "full" } : { reason: "refused", text: error.message };
}

// Whether the same request may do better later.
function passing(error) {
  return error instanceof Unreachable || (error instanceof Refused && [429, 502, 503, 504].includes(error.status));
}

function backoff(tries) {
  return Math.min(2 ** tries, LONGEST_WAIT);
}

// Stops a job: what was found so far comes as its last event, unless the server is to forget it. That it has
// ended by itself does not matter.
export async function stop(path, { forget = false } = {}) {
  try {
    await call(forget ? `${path}?forget=1` : path, { method: "DELETE", keepalive: true });
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
  }
}
