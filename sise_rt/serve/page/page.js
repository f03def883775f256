// The page: a picture comes in, is explained, and what the server tells is shown as it comes.

import { Refused, Unreachable, blob, json, useToken } from "./api.js";
import { byId, counted, element, named, show } from "./elements.js";
import { explained, stop } from "./job.js";
import * as view from "./view.js";

const page = {
  models: [], // as the server lists them
  picture: null, // File
  run: null, // the explanation on its way or shown, see explain()
  wake: null, // ends the pause before another try
  tokenSent: false,
};

// -------------------- what is said

function say(text) {
  byId("said").textContent = text;
}

function phase(name) {
  byId("main").dataset.phase = name;
  const stopped = document.activeElement === byId("stop");
  show("work", ["sending", "queued", "running"].includes(name));
  const busy = !byId("work").hidden || name === "waiting";
  show("redo", page.picture !== null && !busy);
  if (!busy && stopped) byId("target").focus({ preventScroll: true });
  if (!busy) document.title = "What did the model look at?";
}

function failed(text) {
  phase("failed");
  view.showNotice(text, "failed");
  say(text);
  if (page.picture !== null && byId("picture").naturalWidth === 0) { // there is nothing to look at
    page.picture = null;
    showPlace(false);
    show("redo", false);
  }
}

// Shows the picture's place, or the place to drop one.
function showPlace(shown) {
  show("drop", !shown);
  show("shown", shown);
  show("another", shown);
}

// Resolves after some seconds, or at once, with true, where the person does not want to wait.
function pause(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 1000 * seconds);
    page.wake = () => {
      clearTimeout(timer);
      resolve(true);
    };
  });
}

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

const model = () => page.models.find(({ name }) => name === byId("model").value);
const method = () => model().methods.find(({ name }) => name === byId("method").value);
const hasPresets = () => method().options.some(({ name }) => name === "budget");
const hasCheck = () => model().activation !== "none";

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

// -------------------- the token

const isTokenNeeded = (error) => error instanceof Refused && [401, 403].includes(error.status);

function askToken(then) {
  const dialog = byId("ask");
  byId("ask-title").textContent = page.tokenSent ? "That token was not right" : "This server asks for a token";
  dialog.addEventListener("close", () => {
    useToken(byId("token").value);
    byId("token").value = "";
    page.tokenSent = true;
    then();
  }, { once: true });
  dialog.showModal();
}

// -------------------- the picture

function take(picture) {
  if (!picture) return;
  page.picture = picture;
  const image = byId("picture");
  image.hidden = true; // until it turns out that the browser can show it
  view.setSource(image, URL.createObjectURL(picture));
  image.alt = `The picture ${picture.name}`;
  showPlace(true);
  show("answer", false);
  show("classes", false);
  abandon();
  explain(null);
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

// -------------------- the explanation

function query(target) {
  const asked = { model: model().name, method: byId("method").value };
  if (target !== null) asked.target = target;
  if (hasPresets()) asked.preset = byId("preset").value;
  if (hasCheck()) asked.check = byId("check").checked ? 1 : 0;
  return asked;
}

// Explains a class, by its index; null is the model's decision.

async function explain(target) {
  const asked = query(target);
  const seen = page.run?.asked.model === asked.model ? page.run.best : [];
  abandon();
  const run = {
    asked, // the query
    target,
    best: seen, // classes, as the server tells them
    activation: model().activation,
    controller: new AbortController(),
    path: null, // of the job
    ended: false,
    waits: null, // what for, where it was told
    quarter: 0, // that was told
  };
  page.run = run;
  view.clearResults();
  const known = seen.find(({ index }) => index === target);
  if (known) showClass(known, run);
  try {
    for await (const { name, data } of explained(page.picture, asked, run.controller.signal, pause)) {
      if (run.controller.signal.aborted) return;
      await SHOWN[name]?.(data, run);
    }
  } catch (error) {
    if (run.controller.signal.aborted) return;
    if (isTokenNeeded(error)) return askToken(() => explain(target));
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    failed(error.message);
  }
}

// Lets go of what is on its way, and tells the server so.
function abandon() {
  const { run } = page;
  if (run === null) return;
  run.controller.abort();
  if (run.path !== null && !run.ended) stop(run.path, { forget: true });
  page.run = null;
  page.wake?.();
}

const WAITING = {
  full: "The queue is full.",
  gone: "The server does not answer.",
};

const SHOWN = {
  sending() {
    phase("sending");
    show("notice", false);
    view.showStep("Sending the picture");
    say("Sending the picture");
    const focused = document.activeElement;
    if (focused === document.body || !focused.checkVisibility()) byId("stop").focus();
  },

  waiting({ reason, seconds }, run) {
    if (run.waits !== reason) say(`${WAITING[reason]} The page tries again by itself.`);
    run.waits = reason;
    phase("waiting");
    const text = `${WAITING[reason]} The page tries again in ${counted(seconds, "second")}.`;
    view.showNotice(text, reason, "Try now", true);
  },

  accepted({ path }, run) {
    run.path = path;
    run.waits = null;
  },

  queued({ position }) {
    phase("queued");
    const text = position > 1 ? `In line: ${counted(position - 1, "picture")} before this one` : "In line: next";
    show("notice", false);
    view.showStep(text);
    say(text);
  },

  prediction({ best }, run) {
    phase("running");
    show("notice", false);
    run.best = best;
    const target = best.find(({ index }) => index === run.target) ?? (run.target === null ? best[0] : null);
    if (target) showClass(target, run);
    view.showStep("Finding what to hide");
    if (target) say(named(target));
  },

  progress(data, run) {
    phase("running");
    show("notice", false);
    const checks = data.scored >= data.total && run.asked.check;
    const text = checks ? "Asking the model about the map" : view.progressText(data);
    view.showStep(text, data.scored, data.total);
    const percent = Math.floor((100 * data.scored) / Math.max(data.total, 1));
    document.title = `${percent} % explained`;
    const quarter = Math.floor(percent / 25);
    if (quarter > run.quarter) say(`${25 * quarter} % done`);
    run.quarter = quarter;
  },

  map({ png }) {
    view.showRunningMap(png);
  },

  async done({ record }, run) {
    await showResult(record, run);
    phase("done");
    say(`Done: what speaks for ${named(record.target)} is shown.`);
  },

  async stopped({ record }, run) {
    run.ended = true;
    if (record) await showResult(record, run);
    phase("stopped");
    const found = record
      ? `Stopped: the map is partial, by ${counted(record.masks, "mask")} that were scored until then.`
      : "Stopped before anything was found.";
    view.showNotice(found, "stopped");
    say(found);
  },

  failed({ error }, run) {
    run.ended = true;
    failed(error);
  },
};

function showClass(target, run) {
  const seen = `What ${run.asked.model} looked at in ${page.picture.name}`;
  view.showAnswer(target, run.best, run.activation, seen);
  view.showClasses(run.best, target, run.activation, explain);
}

async function showResult(record, run) {
  run.ended = true;
  const { signal } = run.controller;
  const target = { ...record.target, confidence: record.confidence };
  if (run.best.length === 0) run.best = record.best;
  showClass(target, run);
  await view.showMap(`${run.path}/painted.png`, `What speaks for ${named(target)}, over the picture`, signal);
  show("meaning");
  view.showWarnings(record.warnings.filter(({ code }) => code !== "stopped"));
  view.showFiles(files(record, run), save);
  const picture = byId("picture");
  if (picture.naturalWidth === 0) { // the browser cannot show it, the server can
    await view.showImage(picture, `${run.path}/picture.png`, picture.alt, signal);
  }
  if (record.blocks.length > 0) await view.showBlocks(record.blocks, run.path, signal);
  if (record.check) {
    const { curves } = await json(`${run.path}/check.json`, { signal });
    view.showCheck(record.check.region, curves);
  }
}

function files(record, run) {
  const stem = page.picture.name.replace(/\.[^.]*$/, "") || "picture";
  const begun = `${stem}.${record.target.index}${record.partial ? ".partial" : ""}`;
  return [
    ["Picture (PNG)", `${run.path}/overlay.png`, `${begun}.png`],
    ["Report page", `${run.path}/report.html`, `${begun}.html`],
    ["Record (JSON)", `${run.path}/record.json`, `${begun}.json`],
    ["Map (npy)", `${run.path}/map.npy`, `${begun}.npy`],
  ];
}

// A plain link sends no token: with one, the file is fetched first.
async function save(event, path, name) {
  if (!page.tokenSent) return;
  event.preventDefault();
  const address = URL.createObjectURL(await blob(path));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

async function stopRun() {
  const { run } = page;
  const waits = byId("main").dataset.phase === "waiting";
  if (run.path !== null && !waits) return stop(run.path);
  run.controller.abort();
  page.wake?.();
  await SHOWN.stopped({ record: null }, run);
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
byId("model").addEventListener("change", showModel);
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
