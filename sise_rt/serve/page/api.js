// The server as the page sees it: requests, its refusals, and the events of a job.
//
// Addresses are relative, so that the page works below any path. The token is held here, in memory, and
// nowhere else: events are read with fetch, because an EventSource sends no header.

let token = null;

export function useToken(value) {
  token = value;
}

// The server answered, and said no.
export class Refused extends Error {
  constructor(status, text, field, wait) {
    super(text);
    Object.assign(this, { status, field, wait }); // wait: seconds until it may be asked again, or null
  }
}

// The server did not answer.
export class Unreachable extends Error {}

export async function call(path, { headers = {}, ...options } = {}) {
  const sent = token === null ? headers : { ...headers, Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, { ...options, headers: sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The server does not answer.");
  }
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const text = typeof said.error === "string" ? said.error : `The server answered with status ${response.status}.`;
  const wait = response.headers.get("Retry-After");
  return new Refused(response.status, text, said.field ?? null, wait === null ? null : Number(wait) || 1);
}

export async function json(path, options) {
  const response = await call(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("What answers is not the server of this page.");
  }
}

export async function blob(path, options) {
  return (await call(path, options)).blob();
}

// The events of a job from the one after `last`: {id, name, data}, until the server ends the stream.
export async function* events(path, last, signal) {
  const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
  const response = await call(path, { headers, signal, cache: "no-store" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable("The connection to the server broke.");
    }
    if (chunk.done) return;
    const parts = (rest + chunk.value.replaceAll("\r", "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const event = parsed(part);
      if (event !== null) yield event;
    }
  }
}

function parsed(text) {
  const fields = { id: null, event: "message", data: "" };
  for (const line of text.split("\n")) {
    const [name, value] = line.split(/: ?(.*)/s);
    if (name === "data") fields.data += value;
    else if (name in fields) fields[name] = value;
  }
  return fields.data ? { id: fields.id, name: fields.event, data: JSON.parse(fields.data) } : null;
}
