// What a single file says of itself. ONNX Runtime for JavaScript gives no access to metadata, so it is read here.

const EXPORT = "sise-rt export model.sise --single-file --with-preprocessing --required-inputs";
const FORMAT = "1";
const GRAPH = 7; // fields of ONNX's ModelProto
const METADATA = 14;
const text = new TextDecoder();

/** The fields of a protobuf message: pairs of number and content, bytes where it has a length, else null. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("ends within a number");
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    let content = null;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      content = bytes.subarray(at, at + length);
      at += length;
    } else throw new RangeError(`has no fields of kind ${kind}`);
    if (at > bytes.length) throw new RangeError("ends within a field");
    yield [Math.floor(tag / 8), content];
  }
}

/** The metadata of an ONNX file's bytes, key to text. Throws an Error where they are none. */
export function metadata(bytes, name) {
  const found = {};
  let graph = false;
  try {
    for (const [field, content] of fieldsOf(bytes)) {
      graph ||= field === GRAPH;
      if (field !== METADATA) continue;
      const pair = new Map(fieldsOf(content));
      found[text.decode(pair.get(1))] = text.decode(pair.get(2) ?? new Uint8Array());
    }
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    graph = false;
  }
  if (!graph) throw new Error(`${name} is no ONNX file, or is not whole.`);
  return found;
}

const numbers = (value, count) =>
  Array.isArray(value) && value.length === count && value.every((number) => Number.isFinite(number) && number > 0);

/** What a value of the metadata has to be, by its key. */
const SHAPES = {
  labels: (value) => value === null || (Array.isArray(value) && value.every((label) => typeof label === "string")),
  preprocessing: (value) => numbers(value?.input_size, 3) && numbers([value.crop_pct], 1) && typeof value.crop_mode === "string",
  "sise_rt.warnings": (value) => Array.isArray(value) && value.every((warning) => typeof warning === "string"),
};

/** A value that the metadata have as JSON. Throws an Error where it is not what it has to be. */
function valueOf(found, key, name) {
  try {
    const value = JSON.parse(found[key]);
    if (SHAPES[key](value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new Error(`${name} says nothing of use in its metadata ${key}. Export it again: ${EXPORT}`);
}

/** Labels, preprocessing, method, activation and warnings. Throws an Error where the page cannot use the file. */
export function factsOf(bytes, name) {
  const found = metadata(bytes, name);
  const format = found["sise_rt.format"];
  if (format === undefined) throw new Error(`${name} is a model that does not explain itself. Make one of it: ${EXPORT}`);
  if (format !== FORMAT) throw new Error(`${name} is of format ${format}, and this page knows ${FORMAT}.`);
  if (found["sise_rt.picture"] !== "true") {
    throw new Error(`${name} takes prepared numbers, and this page has pictures. Export it again: ${EXPORT}`);
  }
  return {
    name: found["sise_rt.name"],
    method: found["sise_rt.method"],
    activation: found["sise_rt.activation"],
    labels: valueOf(found, "labels", name) ?? [],
    preprocessing: valueOf(found, "preprocessing", name),
    warnings: valueOf(found, "sise_rt.warnings", name),
  };
}

/** Where the model's input lies in a picture: {left, top, width, height} in its pixels, to a pixel. */
export function seenBy(preprocessing, width, height) {
  const { input_size: [, rows, columns], crop_pct: share, crop_mode: mode, crop_assumed: assumed } = preprocessing;
  const stays = assumed && height === rows && width === columns;
  const factor = stays ? 1 : share;
  const [across, down] =
    mode === "squash" || stays
      ? [width / columns, height / rows]
      : Array(2).fill(Math.min(width / columns, height / rows));
  const seen = { width: Math.min(width, factor * columns * across), height: Math.min(height, factor * rows * down) };
  return { left: (width - seen.width) / 2, top: (height - seen.height) / 2, ...seen };
}
