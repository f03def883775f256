// What the page shows of an explanation: classes, progress, warnings, the check, and files to save.

import { blob } from "./api.js";
import { drawn } from "./curve.js";
import { byId, confidence, counted, duration, element, named, percent, show, trust } from "./elements.js";

const RESULTS = ["slide", "scale", "meaning", "heed", "blocks", "checked", "saved"];
const MAP_COVER = 0.75, GREYED = 0.7, DIMMED = 0.15; // how the running map and the picture below it look

// -------------------- picture and map

// Shows an image of the server.
export async function showImage(image, path, alt, signal) {
  setSource(image, URL.createObjectURL(await blob(path, { signal })));
  image.alt = alt;
  image.hidden = false;
}

export function setSource(image, source) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = source;
}

export function showRunningMap(png) {
  const map = byId("map");
  setSource(map, `data:image/png;base64,${png}`);
  map.alt = "The map so far, over the picture";
  map.dataset.kind = "running";
  map.hidden = false;
  showMapControls();
}

export async function showMap(path, alt, signal) {
  await showImage(byId("map"), path, alt, signal);
  byId("map").dataset.kind = "done";
  showMapControls();
}

function showMapControls() {
  slide();
  show("slide");
  show("scale");
}

// The map as much over the picture as the slider says.
export function slide() {
  const share = byId("opacity").value / 100;
  const map = byId("map");
  const running = map.dataset.kind === "running" && !map.hidden;
  map.style.opacity = running ? MAP_COVER * share : share;
  byId("picture").style.filter = running ? `grayscale(${GREYED * share}) brightness(${1 - DIMMED * share})` : "";
  byId("opacity").setAttribute("aria-valuetext", `${Math.round(100 * share)} % map`);
}

// -------------------- on the way

// The results of an earlier explanation go; the picture stays, and what the model says of it.
export function clearResults() {
  for (const id of RESULTS) show(id, false);
  byId("map").hidden = true;
  slide();
}

export function showStep(text, scored = null, total = null) {
  show("work");
  byId("step").textContent = text;
  const bar = byId("progress");
  if (total) {
    bar.max = total;
    bar.value = scored;
  } else {
    bar.removeAttribute("value");
  }
}

export function progressText({ scored, total, seconds_left: left }) {
  const counts = `${scored} of ${counted(total, "pass", "passes")}`;
  return left === null || left === undefined ? counts : `${counts}, ${duration(left)} left`;
}

// A notice, with a button where something can be tried again, and another where that can be given up.
export function showNotice(text, kind, retry = null, stoppable = false) {
  byId("notice-text").textContent = text;
  byId("notice").dataset.kind = kind;
  byId("retry").textContent = retry;
  show("tries", retry !== null);
  show("give-up", stoppable);
  show("notice");
}

// -------------------- what the model says

// The classes as buttons, the explained one marked; `choose(index)` explains another.
export function showClasses(best, target, activation, choose) {
  const rows = best.some(({ index }) => index === target.index) ? best : [...best, target];
  const focused = byId("best").contains(document.activeElement);
  byId("best").replaceChildren(...rows.map((row) => classRow(row, row.index === target.index, activation, choose)));
  if (focused) byId("best").querySelector("[aria-current]").focus({ preventScroll: true });
  show("classes");
  show("classes-help", rows.length > 1);
}

function classRow(row, explained, activation, choose) {
  const value = trust(row.confidence, activation);
  const button = element(
    "button",
    { type: "button", "aria-current": explained ? "true" : null },
    element("span", { class: "label" }, named(row)),
    activation === "none" ? null : bar(row.confidence),
    element("span", { class: "number" }, value),
  );
  button.addEventListener("click", () => choose(row.index));
  return element("li", {}, button);
}

function bar(value) {
  const meter = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
  meter.firstChild.style.width = `${100 * Math.min(Math.max(value, 0), 1)}%`;
  return meter;
}

export function showAnswer(target, best, activation, seen) {
  const value = trust(target.confidence, activation);
  byId("over").textContent = seen;
  byId("target").textContent = named(target);
  byId("decision").textContent = decision(target, best[0], activation, value);
  show("answer");
}

function decision(target, first, activation, value) {
  if (activation === "none") return `The model's output is ${value}.`;
  if (activation === "sigmoid") return `The model's confidence that it is there is ${value}.`;
  if (target.index === first.index) return `This is the model's decision, with a confidence of ${value}.`;
  const other = `${named(first)}, with ${confidence(first.confidence)}`;
  return `The model's confidence in it is ${value}. Its decision is ${other}.`;
}

// -------------------- the end

export function showWarnings(warnings) {
  byId("warnings").replaceChildren(...warnings.map(({ message }) => element("li", {}, sentence(message))));
  show("heed", warnings.length > 0);
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}

// The map of each block over the picture; `path` is that of the job.
export async function showBlocks(blocks, path, signal) {
  const tiles = blocks.map((block, i) => tile(block, `${path}/blocks/${i + 1}.png`, signal));
  byId("tiles").replaceChildren(...await Promise.all(tiles));
  show("blocks");
}

async function tile({ name, kept, maps, used }, path, signal) {
  const image = element("img");
  if (used) await showImage(image, path, `The map of ${name} over the picture`, signal);
  const counts = element("span", { class: "faint" }, `${kept} of ${maps} maps kept`);
  return element(
    "figure", {},
    used ? image : element("div", { class: "none" }, "no usable map"),
    element("figcaption", { class: "small" }, name, counts),
  );
}

// What the model said of the map: the `region` of a record's check, and the curves where all was asked.
export function showCheck(region, curves) {
  const rows = [
    ["whole picture", region.whole],
    ["region hidden", region.hidden],
    ...(region.random ? [["as much hidden elsewhere", region.random.mean]] : []),
    ["region alone", region.alone],
  ];
  byId("region").replaceChildren(...rows.map(([name, value]) => element(
    "tr", {},
    element("th", { scope: "row" }, name),
    element("td", { class: "meter" }, bar(value)),
    element("td", { class: "number" }, confidence(value)),
  )));
  byId("bearing").textContent = bearing(region);
  byId("curves").replaceChildren(...(curves.insertion ? drawn(curves) : []));
  show("checked");
}

// The server's judgement in words: `bears` of the record's region.
function bearing({ area, bears, whole, hidden, least }) {
  const size = `The white line goes around ${percent(area)} of what the model saw.`;
  if (bears === null) return size;
  if (bears) return `${size} The confidence rests on it: hiding it takes more than hiding as much elsewhere.`;
  if (whole - hidden < least * whole) {
    return `${size} Hiding it takes hardly any confidence, as what is left suffices: do not take the map for the ` +
      "only reason.";
  }
  return `${size} Hiding it takes hardly more than hiding as much elsewhere: do not take the map for the reason.`;
}

// Links to the files of a job; `save(event, path, name)` where a plain link would not do.
export function showFiles(files, save) {
  byId("files").replaceChildren(...files.map(([title, path, name]) => {
    const link = element("a", { class: "button", href: path, download: name }, title);
    link.addEventListener("click", (event) => save(event, path, name));
    return link;
  }));
  show("saved");
}
