// Elements, and numbers in words. All text becomes text, never markup.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function show(id, shown = true) {
  byId(id).hidden = !shown;
}

export function named({ index, label }) {
  return label === String(index) ? `class ${index}` : `${label} (${index})`;
}

// A probability in three digits, in words where these would be 0.000 or 1.000.
export function confidence(value) {
  if (value < 0.001) return "below 0.001";
  if (value > 0.999) return "above 0.999";
  return value.toFixed(3);
}

// A confidence, or the output of a model that has none.
export function trust(value, activation) {
  return activation === "none" ? String(Number(value.toPrecision(4))).replace("-", "\u2212") : confidence(value);
}

export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return counted(Math.round(seconds), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return `${(seconds / 3600).toFixed(1)} hours`;
}

export function counted(number, one, more = `${one}s`) {
  return `${number} ${number === 1 ? one : more}`;
}

export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "less than 0.1 %";
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}
