"use strict";
// What the first page asks for, by the token that it shares with this one, it is given as texts and pictures.
addEventListener("message", ({ source, data }) => {
  const { token } = document.querySelector("main").dataset;
  if (!token || data?.token !== token || !Array.isArray(data.numbers)) return;
  const cards = data.numbers.flatMap((number) => {
    const card = document.getElementById(`i${Number(number) + 1}`);
    if (!card) return [];
    const images = [...card.querySelectorAll("img")].map(({ src, alt, className: style, width, height }) =>
      ({ src, alt, style, width, height }));
    const lines = [...card.querySelectorAll("p")].map((line) => [line.className, line.textContent]);
    return [{ number, images, lines, file: card.querySelector("a")?.getAttribute("href") ?? "" }];
  });
  source.postMessage({ token, cards }, "*");
});
