// The page: models are listed, a picture comes in, and is explained.

import { Refused, Unreachable, blob, json } from "./api.js";
import { byId, counted, element, show } from "./elements.js";
import { abandon, explain, stopRun } from "./explaining.js";
import { failed, hasCheck, hasPresets, method, model, page, phase, showPlace } from "./state.js";
import { askToken, isTokenNeeded } from "./token.js";
import * as view from "./view.js";

// -------------------- the models

async function start() {
  try {
    page.models = await json("models");
  } catch (error) {
    if (isTokenNeeded(error)) return askToken(start);
    if (!(error instanceof Unreachable || error instanceof Refused)) throw error;
    view.showNotice(error.message, "failed", "Try again");
    page.wake = start;
    return;
  }
  show("notice", false);
  const names = page.models.map(({ name }) => element("option", { value: name }, name));
  byId("model").replaceChildren(...names);
  show("model-field", names.length > 1);
  showModel();
  show("example", page.models.some(({ example }) => example));
}

function showModel() {
  const { name, classes, methods } = model();
  const more = element("span", { class: "large" }, `, ${counted(classes, "class", "classes")}`);
  byId("served").replaceChildren(name, more);
  const chosen = byId("method").value;
  byId("method").replaceChildren(...methods.map((known) => element("option", { value: known.name }, known.name)));
  if (methods.some((known) => known.name === chosen)) byId("method").value = chosen;
  showMethod();
}

function showMethod() {
  byId("method-help").textContent = method().help;
  show("preset-field", hasPresets());
  show("check-field", hasCheck());
}

// -------------------- the picture

function take(picture) {
  if (page.models.length === 0) return; // the server has not answered yet, which is told
  page.picture = picture;
  const image = byId("picture");
  image.hidden = true; // until it turns out that the browser can show it
  view.setSource(image, URL.createObjectURL(picture));
  image.alt = `The picture ${picture.name}`;
  showPlace(true);
  forgetAnswer();
  explain(null);
}

// What was said of another picture, or by another model, goes.
function forgetAnswer() {
  abandon();
  view.clearResults();
  for (const id of ["answer", "classes", "notice"]) show(id, false);
}

async function takeExample() {
  const { example } = page.models.find((served) => served.example);
  try {
    take(new File([await blob(example)], "example.png", { type: "image/png" }));
  } catch (error) {
    if (!(error instanceof Unreachable || error instanceof Refused)) throw error;
    failed(error.message);
  }
}

// -------------------- what the person does

function picked(files) {
  const [file] = files;
  if (file) take(file);
  else failed("That was no file.");
}

byId("choose").addEventListener("click", () => byId("file").click());
byId("another").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) picked(event.target.files);
  event.target.value = "";
});
byId("example").addEventListener("click", takeExample);
byId("picture").addEventListener("load", () => { byId("picture").hidden = false; });
byId("stop").addEventListener("click", stopRun);
byId("give-up").addEventListener("click", stopRun);
byId("retry").addEventListener("click", () => page.wake?.());
byId("opacity").addEventListener("input", view.slide);
byId("model").addEventListener("change", () => {
  showModel();
  forgetAnswer();
  phase(page.picture ? "ready" : "empty");
});
byId("method").addEventListener("change", showMethod);
byId("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  if (page.picture) explain(page.run?.asked.model === model().name ? page.run.target : null);
});
byId("ask").addEventListener("cancel", (event) => event.preventDefault());
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) picked(event.clipboardData.files);
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", name === "dragenter" || name === "dragover");
    if (name === "drop") picked(event.dataTransfer.files);
  });
}

start();
