// The token that a server may ask for: kept here and in memory, sent by `api.js`, written nowhere.

import { Refused, useToken } from "./api.js";
import { byId } from "./elements.js";

let sent = false;

export const hasToken = () => sent;
export const isTokenNeeded = (error) => error instanceof Refused && error.status === 401;

// Asks for a token, and does then what was refused without it.
export function askToken(then) {
  const dialog = byId("ask");
  byId("ask-title").textContent = sent ? "That token was not right" : "This server asks for a token";
  dialog.addEventListener("close", () => {
    useToken(byId("token").value);
    byId("token").value = "";
    sent = true;
    then();
  }, { once: true });
  dialog.showModal();
}
