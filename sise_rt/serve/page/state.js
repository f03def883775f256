// What the page knows, and what it says of it: its phase, and its sentences for everyone.

import { byId, show } from "./elements.js";
import { showNotice } from "./view.js";

export const page = {
  models: [], // as the server lists them
  picture: null, // File
  run: null, // the explanation on its way or shown, see explain()
  wake: null, // ends the pause before another try
};

export function say(text) {
  byId("said").textContent = text;
}

export function phase(name) {
  byId("main").dataset.phase = name;
  const stopped = document.activeElement === byId("stop");
  show("work", ["sending", "queued", "running"].includes(name));
  const busy = !byId("work").hidden || name === "waiting";
  show("redo", page.picture !== null && !busy);
  if (!busy && stopped) byId("target").focus({ preventScroll: true });
  if (!busy) document.title = "What did the model look at?";
}

// Tells what is wrong; `field` is what of the request it is about, where the server says so. A picture that is
// refused, or that cannot be seen, makes room for another one.
export function failed(text, field = null) {
  phase("failed");
  showNotice(text, "failed");
  say(text);
  if (page.picture === null || (field !== "image" && byId("picture").naturalWidth > 0)) return;
  page.picture = null;
  showPlace(false);
  for (const id of ["redo", "answer", "classes"]) show(id, false);
  const focused = document.activeElement;
  if (focused === document.body || !focused.checkVisibility()) byId("choose").focus({ preventScroll: true });
}

// Shows the picture's place, or the place to drop one.
export function showPlace(shown) {
  show("drop", !shown);
  show("shown", shown);
  show("another", shown);
}

// Resolves after some seconds, or at once, with true, where the person does not want to wait.
export function pause(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 1000 * seconds);
    page.wake = () => {
      clearTimeout(timer);
      resolve(true);
    };
  });
}

// The model and the method that are chosen, and what they have.
export const model = () => page.models.find(({ name }) => name === byId("model").value);
export const method = () => model().methods.find(({ name }) => name === byId("method").value);
export const hasPresets = () => method().options.some(({ name }) => name === "budget");
export const hasCheck = () => model().activation !== "none";
