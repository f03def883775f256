// An explanation from the first click to its end: asked for, shown as it comes, stopped.

import { Refused, Unreachable, blob, json } from "./api.js";
import { byId, counted, element, named, show } from "./elements.js";
import { explained, stop } from "./job.js";
import { failed, hasCheck, hasPresets, model, page, pause, phase, say } from "./state.js";
import { askToken, hasToken, isTokenNeeded } from "./token.js";
import * as view from "./view.js";

function query(target) {
  const asked = { model: model().name, method: byId("method").value };
  if (target !== null) asked.target = target;
  if (hasPresets() && byId("preset").value) asked.preset = byId("preset").value;
  if (hasCheck()) asked.check = byId("check").checked ? 1 : 0;
  return asked;
}

// Explains a class, by its index; null is the model's decision.
export async function explain(target) {
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
    failed(error.message, error.field);
  }
}

// Lets go of what is on its way, and tells the server so.
export function abandon() {
  const { run } = page;
  if (run === null) return;
  run.controller.abort();
  if (run.path !== null && !run.ended) stop(run.path, { forget: true });
  page.run = null;
  page.wake?.();
}

// -------------------- what is shown of each event

const WAITING = {
  full: () => "The queue is full.",
  gone: () => "The server does not answer.",
  refused: (text) => `The server refuses: ${text}.`,
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

  waiting({ reason, text, seconds }, run) {
    const why = WAITING[reason](text);
    if (run.waits !== reason) say(`${why} The page tries again by itself.`);
    run.waits = reason;
    phase("waiting");
    view.showNotice(`${why} The page tries again in ${counted(seconds, "second")}.`, reason, "Try now", true);
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
      ? `Stopped. The map is partial: it draws on ${counted(record.masks, "mask")} that were scored until then.`
      : "Stopped before there was a map. Some methods have none before their end.";
    view.showNotice(found, "stopped");
    say(found);
  },

  failed({ error, field }, run) {
    run.ended = true;
    failed(error, field);
  },
};

// -------------------- classes and results

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
  byId("drawn").textContent = run.activation === "none" ? "output" : "confidence in this class";
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
  if (!hasToken()) return;
  event.preventDefault();
  const address = URL.createObjectURL(await blob(path));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Ends it by what was found so far, or, before the server has taken it, by nothing.
export async function stopRun() {
  const { run } = page;
  const waits = byId("main").dataset.phase === "waiting";
  if (run.path !== null && !waits) return stop(run.path);
  run.controller.abort();
  page.wake?.();
  await SHOWN.stopped({ record: null }, run);
}
