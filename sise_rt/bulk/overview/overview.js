"use strict";
// The filter of all pages. The index has a row of small values for every line of the results; the cards
// themselves stand on the pages, which are asked for them in a hidden frame, as a page on a disk may not
// read another one.
(() => {
  const at = (id) => document.getElementById(id);
  const index = JSON.parse(at("index").textContent);
  const { id, status, target, predicted, confidence, border, warnings, truth } = index.columns;
  const form = at("filter"), found = at("found"), more = at("more"), page = at("page"), told = at("count");
  const STEP = 60; // cards that are added at a time
  const PATIENCE = { load: 15000, answer: 8000 }; // milliseconds that a page may take
  const pageOf = (number) => Math.floor(number / index.page) + 1;
  const fileOf = (number) => `overview/${String(pageOf(number)).padStart(4, "0")}.html`;

  // -------------------- which lines

  const chosen = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  const names = { status: index.statuses, target: index.classes, predicted: index.classes, warnings: index.codes };

  function test(asked) {
    const tests = [];
    const equal = (column, name) =>
      asked.has(name) && tests.push((number) => String(column[number]) === asked.get(name));
    equal(status, "status");
    equal(target, "target");
    equal(predicted, "predicted");
    equal(truth, "truth");
    for (const [name, column] of [["confidence", confidence], ["border", border]]) {
      if (!asked.has(`${name}-from`) && !asked.has(`${name}-to`)) continue;
      const from = Number(asked.get(`${name}-from`) ?? -Infinity), to = Number(asked.get(`${name}-to`) ?? Infinity);
      tests.push((number) => column[number] !== null && column[number] >= from && column[number] <= to);
    }
    const code = asked.get("warnings");
    if (code === "any") tests.push((number) => warnings[number].length > 0);
    else if (code === "none") tests.push((number) => warnings[number].length === 0);
    else if (code) tests.push((number) => warnings[number].includes(Number(code)));
    const words = (asked.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const named = index.classes.map((name) => name.toLowerCase());
    for (const word of words) {
      const classes = new Set(named.flatMap((name, number) => (name.includes(word) ? [number] : [])));
      tests.push((number) => id[number].toLowerCase().includes(word)
        || classes.has(target[number]) || classes.has(predicted[number]));
    }
    return (number) => tests.every((passes) => passes(number));
  }

  function sorted(numbers, by) {
    if (!by) return numbers;
    const down = by.startsWith("-"), column = { id, confidence, border }[by.replace("-", "")];
    if (!column) return numbers;
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
    // what has no value comes last, and of equals the first one first
    return numbers.sort((a, b) => (column[a] === null) - (column[b] === null) || order(column[a], column[b]) || a - b);
  }

  // -------------------- cards

  let matches = [], shown = 0;
  const waiting = new Map(); // by page the cards that are seen and not there yet
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target: card } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(card);
      const number = Number(card.dataset.number), of = pageOf(number);
      if (!waiting.has(of)) waiting.set(of, new Map());
      waiting.get(of).set(number, card);
    }
    next();
  }, { rootMargin: "300px" });

  function skeleton(number) {
    const card = document.createElement("li"), title = document.createElement("h3"), link = document.createElement("a");
    card.dataset.number = number;
    card.className = index.statuses[status[number]].replace(" ", "-");
    link.href = pageOf(number) === 1 ? `#i${number + 1}` : `${fileOf(number)}#i${number + 1}`;
    link.textContent = id[number];
    title.append(link);
    card.append(title);
    return card;
  }

  function addMore() {
    const cards = matches.slice(shown, shown + STEP).map((number) => {
      const own = pageOf(number) === 1 && at(`i${number + 1}`);
      if (!own) return skeleton(number);
      const copy = own.cloneNode(true);
      copy.removeAttribute("id");
      return copy;
    });
    found.append(...cards);
    for (const card of cards) if (card.dataset.number) seen.observe(card);
    shown += cards.length;
    more.hidden = shown >= matches.length;
  }

  let busy = null; // the page that is asked: its frame, its cards, and the clock of our patience

  function next() {
    if (busy || !waiting.size) return;
    const [[of, cards]] = waiting;
    waiting.delete(of);
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.src = fileOf([...cards.keys()][0]);
    frame.onload = () => {
      clearTimeout(busy.clock);
      busy.clock = setTimeout(() => done([]), PATIENCE.answer); // for what is no page of ours, as a file that is gone
      frame.contentWindow.postMessage({ token: index.token, numbers: [...cards.keys()] }, "*");
    };
    busy = { frame, cards, clock: setTimeout(() => done([]), PATIENCE.load) };
    document.body.append(frame);
  }

  function done(contents) {
    const { frame, cards, clock } = busy;
    clearTimeout(clock);
    frame.remove();
    for (const { number, images, lines, file } of contents) fill(cards.get(number), images, lines, file);
    for (const card of cards.values()) if (!card.dataset.filled) missing(card);
    busy = null;
    next();
  }

  function fill(card, images, lines, file) {
    if (!card) return;
    const pictures = document.createElement("div");
    pictures.className = "shown";
    for (const { src, alt, style, width, height } of images) {
      if (!src.startsWith("data:image/")) continue;
      const image = Object.assign(document.createElement("img"), { src, alt, className: style });
      Object.assign(image, { width, height });
      pictures.append(image);
    }
    card.prepend(pictures);
    if (file.startsWith("../")) card.querySelector("a").href = `./${file.slice(3)}`;
    for (const [style, text] of lines) {
      const line = document.createElement("p");
      line.className = style;
      line.textContent = text;
      (style === "none" ? pictures : card).append(line);
    }
    card.dataset.filled = "yes";
  }

  function missing(card) {
    const line = document.createElement("p");
    line.className = "problem";
    line.textContent = "The page did not give this card: follow the link.";
    card.append(line);
  }

  addEventListener("message", ({ source, data }) => {
    if (busy && source === busy.frame.contentWindow && data?.token === index.token) done(data.cards);
  });

  // -------------------- the form, and the address that keeps what is asked

  function show() {
    const asked = chosen(), filtered = asked.size > 0;
    page.hidden = filtered;
    found.hidden = !filtered;
    more.hidden = true;
    found.replaceChildren();
    seen.disconnect();
    waiting.clear();
    document.querySelectorAll("nav").forEach((links) => { links.hidden = filtered; });
    told.textContent = "";
    if (!filtered) return;
    const passes = test(asked);
    matches = sorted([...id.keys()].filter(passes), asked.get("sort"));
    shown = 0;
    told.textContent = `${matches.length.toLocaleString("en")} of ${id.length.toLocaleString("en")} cards`;
    addMore();
  }

  function read() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return; // a card's own
    clear();
    for (const [name, value] of new URLSearchParams(hash)) {
      const control = form.elements.namedItem(name);
      if (control?.matches("input, select")) choose(control, name, value);
    }
    show();
    if (hash) scrollTo();
  }

  // a value as the form has it, or in words, as `status=failed`; one that no line has finds none
  function choose(control, name, value) {
    control.value = value;
    if (control.tagName !== "SELECT" || control.value === value) return;
    control.value = String(names[name]?.indexOf(value) ?? -1);
    if (control.selectedIndex >= 0) return;
    const unknown = new Option(`${value}: 0 cards`, value);
    unknown.dataset.unknown = "";
    control.add(unknown);
    control.value = value;
  }

  // what a reset tells is for a person's click alone: the address stays what it is
  function clear() {
    for (const unknown of form.querySelectorAll("[data-unknown]")) unknown.remove();
    for (const control of form.elements) if (control.matches("input, select")) control.value = "";
  }

  const scrollTo = () => at("pictures").scrollIntoView();

  let pause = 0;
  form.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => {
      history.replaceState(null, "", `#${chosen()}`);
      show();
    }, 150);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    history.replaceState(null, "", "#");
    show();
  }));
  more.addEventListener("click", addMore);
  addEventListener("hashchange", read);
  form.hidden = false;
  read();
  // while it loads, browsers go to where they think that the address leads: to the top
  if (location.hash.includes("=")) {
    history.scrollRestoration = "manual";
    addEventListener("load", () => setTimeout(scrollTo, 50));
  }
})();
