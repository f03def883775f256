// The confidence while the map's highest pixels come and go, drawn as SVG.

import { confidence, element } from "./elements.js";

const WIDTH = 420, HEIGHT = 220, LEFT = 30, RIGHT = 68, TOP = 10, BOTTOM = 34, NAMES_APART = 14; // units of the drawing
const KINDS = [
  ["insertion", "from the blurred picture to the sharp one", "the higher the better"],
  ["deletion", "from the picture to an empty one", "the lower the better"],
];

const x = (share) => LEFT + share * (WIDTH - LEFT - RIGHT);
const y = (value) => TOP + (1 - value) * (HEIGHT - TOP - BOTTOM);

// A figure of the curves {insertion: {auc, share, confidence}, deletion: ...}, with its text alternative.
export function drawn(curves) {
  const told = KINDS.map(([kind, start, better]) =>
    `${kind}: ${start}, area under the curve ${curves[kind].auc.toFixed(3)}, ${better}.`);
  const spoken = KINDS.map(([kind]) => spokenCurve(kind, curves[kind])).join(" ");
  const svg = svgElement("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": spoken });
  svg.append(...axes(), ...KINDS.flatMap(([kind]) => line(kind, curves)));
  return [
    element("h2", {}, "Confidence while the brightest pixels appear, or vanish"),
    svg,
    element("figcaption", { class: "faint small" }, ...told.map((line) => element("p", {}, capital(line)))),
  ];
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function spokenCurve(kind, { share, confidence: values }) {
  const at = [0, 0.1, 0.25, 0.5, 1].map((part) => {
    const place = share.findIndex((value) => value >= part - 1e-9);
    return `${Math.round(100 * part)} %: ${confidence(values[place])}`;
  });
  return `${kind}, confidence at shares of the pixels: ${at.join(", ")}.`;
}

function axes() {
  const parts = [];
  for (const value of [0, 0.5, 1]) {
    parts.push(
      svgElement("line", { class: "grid", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
      text(x(0) - 6, y(value) + 4, String(value), "end"),
      text(x(value), HEIGHT - BOTTOM + 17, `${100 * value} %`, ["start", "middle", "end"][2 * value]),
    );
  }
  parts.push(text(x(0.5), HEIGHT - 3, "of the pixels, brightest first", "middle"));
  return parts;
}

function line(kind, curves) {
  const { share, confidence: values } = curves[kind];
  const points = share.map((part, i) => `${x(part).toFixed(1)},${y(values[i]).toFixed(1)}`).join(" ");
  return [
    svgElement("polyline", { class: kind, points }),
    text(x(1) + 8, labelHeight(kind, curves), kind, "start", kind),
  ];
}

// Where a curve's name stands: at its end, and out of the other one's way.
function labelHeight(kind, curves) {
  const ends = Object.fromEntries(KINDS.map(([name]) => [name, y(curves[name].confidence.at(-1))]));
  const [upper, lower] = ends.insertion <= ends.deletion ? ["insertion", "deletion"] : ["deletion", "insertion"];
  const height = kind === upper ? Math.min(ends[upper], ends[lower] - NAMES_APART) : ends[lower];
  return Math.max(height, kind === lower ? TOP + NAMES_APART : TOP) + 4;
}

function text(left, top, content, anchor, kind = "") {
  const made = svgElement("text", { x: left, y: top, "text-anchor": anchor, class: kind });
  made.textContent = content;
  return made;
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
