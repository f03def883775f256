// The page: one model, one picture, and what the one says of the other.

import { Engine, Stopped } from "./engine.js";
import { factsOf, seenBy } from "./facts.js";
import { drawMap, drawPicture, pixelsOf } from "./drawing.js";

const BESIDE = "explain.onnx";
const BEST = -1;
const SHOWN = 5; // classes
const TURN = 8; // masks that the graph scores at once
const WHY = [
  null,
  "Nothing speaks for this class: no part of the network's last layers raises its score.",
  "Only what is the same everywhere in the picture speaks for this class, which gives no map.",
  "The model's numbers are not finite for this picture, so there is no map.",
  "The class, or the number of masks, is not one that this model has.",
];

const byId = (id) => document.getElementById(id);
const show = (id, shown = true) => (byId(id).hidden = !shown);
const engine = new Engine();
const state = { model: null, picture: null, target: BEST, question: null, choice: null, threads: 1 };

const named = (index) => {
  const label = state.model.facts.labels[index];
  return label === undefined || label === String(index) ? `class ${index}` : `${label} (${index})`;
};
const inSeconds = (seconds) =>
  seconds < 0.1 ? "less than 0.1 s" : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;

function say(text, kind = "") {
  byId("notice").textContent = text;
  byId("notice").dataset.kind = kind;
}

function phase(name) {
  byId("main").dataset.phase = name;
  show("work", name === "loading" || name === "running");
  show("redo", name !== "running" && state.picture !== null);
}

// -------------------- the model

async function takeModel(bytes, name) {
  engine.stop();
  forget();
  phase("reading");
  state.model = null;
  byId("model").textContent = "";
  try {
    state.model = { bytes, name, facts: factsOf(bytes, name) };
  } catch (error) {
    failed(error.message);
    return;
  }
  byId("model").textContent = `${state.model.facts.name}, from ${name}`;
  show("masks-field", state.model.facts.method === "sise");
  if (state.picture) await explain(BEST);
  else {
    say("");
    phase("ready");
  }
}

async function takeBeside() {
  const choice = (state.choice = {});
  let bytes = null;
  try {
    const answer = await fetch(BESIDE, { cache: "no-cache" });
    if (answer.ok) bytes = new Uint8Array(await answer.arrayBuffer());
  } catch {
    bytes = null; // the server is gone, or went meanwhile
  }
  if (choice !== state.choice) return; // somebody chose a model meanwhile
  if (bytes) {
    await takeModel(bytes, BESIDE);
    return;
  }
  phase("ready");
  say(`No ${BESIDE} came from beside this page. Choose another model, or put one there: sise-rt export model.sise ` +
    "--single-file --with-preprocessing --required-inputs");
}

async function loaded() {
  if (engine.loaded) return;
  const { inputs, threads } = await engine.load(state.model.bytes);
  if (!inputs.includes("target")) {
    engine.stop();
    throw new Error("JavaScript cannot choose its class and masks; export it again with --required-inputs");
  }
  state.threads = threads;
}

// -------------------- the picture

async function takePicture(file) {
  engine.stopIfBusy();
  forget();
  phase("reading");
  state.picture = null;
  const question = (state.question = {});
  try {
    const picture = await pixelsOf(file);
    if (question !== state.question) return; // another one was taken meanwhile
    state.picture = picture;
  } catch (error) {
    if (question === state.question) failed(`${file.name || "What was pasted"} cannot be read as a picture by this browser: ${error.message}`);
    return;
  }
  const { canvas, width, height } = state.picture;
  drawPicture(byId("picture"), canvas);
  show("drop", false);
  show("shown");
  show("another");
  if (!state.model) {
    phase("ready");
    say("The picture is here; a model is missing. Choose one.");
    return;
  }
  place(seenBy(state.model.facts.preprocessing, width, height));
  await explain(BEST);
}

/** Put the map, and what shades the rest, where the model looked. */
function place({ left, top, width, height }) {
  const { picture } = state;
  for (const id of ["map", "seen"]) {
    Object.assign(byId(id).style, {
      left: `${(100 * left) / picture.width}%`,
      top: `${(100 * top) / picture.height}%`,
      width: `${(100 * width) / picture.width}%`,
      height: `${(100 * height) / picture.height}%`,
    });
  }
}

// -------------------- the explanation

function forget() {
  for (const id of ["map", "slide", "scale", "answer", "meaning", "cost", "heed", "classes"]) show(id, false);
  say("");
}

function failed(text) {
  phase("failed");
  say(text, "failed");
}

/** Tell how long it takes, as nothing of a running session can be seen; a function that ends it. */
function watch(doing, about) {
  const begin = performance.now();
  const bar = byId("progress");
  const look = () => {
    const seconds = (performance.now() - begin) / 1000;
    byId("step").textContent = `${doing}: ${seconds.toFixed(0)} s` + (about ? `, of about ${inSeconds(about)}` : "");
    if (about && seconds < about) bar.value = seconds / about;
    else bar.removeAttribute("value");
  };
  look();
  const timer = setInterval(look, 250);
  return () => clearInterval(timer);
}

/** Wait for an answer to the question that was asked last; to an older one it throws `Stopped`. */
async function watched(question, doing, about, work) {
  if (question !== state.question) throw new Stopped();
  const end = watch(doing, about);
  try {
    const answer = await work();
    if (question !== state.question) throw new Stopped();
    return answer;
  } finally {
    end();
  }
}

/** Explain a class: a first look by one turn of masks, which tells class and pace, then all that are wanted. */
async function explain(target) {
  engine.stopIfBusy();
  forget();
  state.target = target;
  const question = (state.question = {});
  const masks = Number(byId("masks").value);
  const { picture, model } = state;
  place(seenBy(model.facts.preprocessing, picture.width, picture.height));
  try {
    phase("loading");
    await watched(question, "The model is loaded", null, loaded);
    phase("running");
    const looks = model.facts.method === "sise" ? `A first look by ${TURN} masks` : "The model looks";
    let found = await watched(question, looks, null, () => engine.explain(picture, target, TURN));
    tell(found);
    const wanted = Math.min(masks, found.kept);
    if (found.status === 0 && wanted > found.scored) {
      const about = found.seconds * Math.ceil(wanted / TURN);
      found = await watched(question, `${wanted} masks are scored`, about, () => engine.explain(picture, target, masks));
      tell(found);
    }
    phase(found.status === 0 ? "done" : "failed");
  } catch (error) {
    if (error instanceof Stopped || question !== state.question) return;
    engine.stop(); // what failed is not asked again
    failed(`The model cannot be run here: ${error.message}`);
  }
}

function stop() {
  engine.stop();
  state.question = null;
  phase("ready");
  say(byId("map").hidden ? "Stopped." : "Stopped: the map is of the first look.");
}

// -------------------- what is told

function tell(found) {
  const { facts } = state.model;
  const best = found.logits.indexOf(Math.max(...found.logits));
  if (found.status !== 0) say(WHY[found.status] ?? `There is no map: status ${found.status}.`, "failed");
  if (found.target < 0) return;
  const decision = found.target === best;
  const value = facts.activation === "none" ? `an output of ${found.confidence.toPrecision(4)}`
    : `a confidence of ${found.confidence.toFixed(3)}`;
  byId("over").textContent = decision ? "Decision" : "Explained";
  byId("target").textContent = named(found.target);
  byId("decision").textContent = decision ? `This is the model's decision, with ${value}.`
    : `The model gives it ${value}. Its decision is ${named(best)}.`;
  byId("drawn").textContent = decision ? "decision" : "score for this class";
  tellClasses(found);
  show("answer");
  if (found.status !== 0) return;
  drawMap(byId("map"), found);
  byId("map").setAttribute("aria-label", `What speaks for ${named(found.target)}, over the picture`);
  fade();
  for (const id of ["map", "slide", "scale", "meaning", "cost"]) show(id);
  const threads = state.threads === 1 ? "one thread" : `${state.threads} threads`;
  byId("cost").textContent = (facts.method === "sise" ? `${found.scored} of ${found.kept} masks scored, ` : "") +
    `${inSeconds(found.seconds)} on ${threads}.`;
  const notes = [...state.picture.notes, ...facts.warnings];
  byId("heed").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  show("heed", notes.length > 0);
}

function tellClasses({ logits, target }) {
  const { activation } = state.model.facts;
  const highest = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0);
  const value = {
    softmax: (logit) => (Math.exp(logit - highest) / total).toFixed(3),
    sigmoid: (logit) => (1 / (1 + Math.exp(-logit))).toFixed(3),
  }[activation] ?? ((logit) => logit.toPrecision(4));
  const order = Array.from(logits.keys()).sort((one, other) => logits[other] - logits[one]).slice(0, SHOWN);
  byId("best").replaceChildren(...order.map((index) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const number = Object.assign(document.createElement("span"), { className: "number", textContent: value(logits[index]) });
    button.append(Object.assign(document.createElement("span"), { textContent: named(index) }), number);
    if (index === target) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => again(index));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  show("classes");
}

function fade() {
  const share = byId("opacity").value;
  byId("map").style.opacity = share / 100;
  byId("opacity").setAttribute("aria-valuetext", `${share} % map`);
}

function again(target) {
  if (state.model && state.picture) explain(target).then(() => byId("target").focus());
}

// -------------------- what the person does

async function picked(files) {
  const [file] = files;
  if (!file) return;
  if (!file.name?.endsWith(".onnx")) {
    await takePicture(file);
    return;
  }
  const choice = (state.choice = {});
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (choice === state.choice) await takeModel(bytes, file.name);
}

for (const [button, input] of [["choose", "file"], ["another", "file"], ["choose-model", "model-file"]]) {
  byId(button).addEventListener("click", () => byId(input).click());
}
for (const id of ["file", "model-file"]) {
  byId(id).addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = "";
    picked(files);
  });
}
byId("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  again(state.target);
});
byId("opacity").addEventListener("input", fade);
byId("stop").addEventListener("click", stop);
addEventListener("paste", ({ clipboardData }) => picked(clipboardData.files));
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") picked(event.dataTransfer.files);
  });
}

say("");
await takeBeside();
