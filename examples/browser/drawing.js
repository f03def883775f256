// Pictures become pixels, and maps become colours.

const MOST = 4e6; // pixels that are handed to the model
// Inferno, which rises evenly in lightness: the colours of the scale in style.css.
const RAMP = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const LEAST = 0.4; // opacity of what mattered least

/** A file's picture: {canvas, pixels, width, height, notes}, pixels uint8 RGB in rows. */
export async function pixelsOf(file) {
  const notes = [];
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const shrunk = Math.min(1, Math.sqrt(MOST / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(shrunk * side)));
  if (shrunk < 1) notes.push(`The picture has ${bitmap.width} × ${bitmap.height} pixels, and was reduced to ${width} × ${height}.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  if (context.getImageData(0, 0, width, height).data.some((value, at) => at % 4 === 3 && value < 255)) {
    notes.push("What is transparent in the picture is taken as white.");
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
  }
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    pixels[to] = data[from];
    pixels[to + 1] = data[from + 1];
    pixels[to + 2] = data[from + 2];
  }
  return { canvas, pixels, width, height, notes };
}

/** Show a picture on the page's canvas; small ones are enlarged. */
export function drawPicture(shown, canvas) {
  const { width, height } = canvas;
  const factor = Math.max(1, Math.floor(640 / Math.max(width, height)));
  Object.assign(shown, { width: factor * width, height: factor * height });
  shown.getContext("2d").drawImage(canvas, 0, 0, factor * width, factor * height);
}

/** Colour a map of values in [0, 1]; where it is low, the picture shines through. */
export function drawMap(shown, { map, rows, columns }) {
  Object.assign(shown, { width: columns, height: rows });
  const context = shown.getContext("2d");
  const image = context.createImageData(columns, rows);
  map.forEach((value, at) => {
    const place = value * (RAMP.length - 1);
    const below = Math.min(Math.floor(place), RAMP.length - 2);
    RAMP[below].forEach((from, channel) => {
      image.data[4 * at + channel] = from + (place - below) * (RAMP[below + 1][channel] - from);
    });
    image.data[4 * at + 3] = 255 * (LEAST + (1 - LEAST) * value);
  });
  context.putImageData(image, 0, 0);
}
