// The model, in a thread of its own: it keeps the page alive, and ends where the page ends it.

let ort = null;
let session = null;

/** A scalar as the graph takes it. */
const integer = (value) => new ort.Tensor("int64", [BigInt(value)], []);

async function load({ model }) {
  try {
    ort = await import("./ort/ort.wasm.min.mjs");
  } catch {
    throw new Error("ONNX Runtime is not beside this page: npm install --ignore-scripts && npm run build");
  }
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  return { inputs: [...session.inputNames], threads: ort.env.wasm.numThreads };
}

async function explain({ pixels, width, height, target, masks }) {
  const given = {
    image: new ort.Tensor("uint8", pixels, [height, width, 3]),
    target: integer(target),
    mu: new ort.Tensor("float32", [0], []),
    max_masks: integer(masks),
  };
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, given[name]]));
  const begin = performance.now();
  const found = await session.run(feeds);
  const seconds = (performance.now() - begin) / 1000;
  const [rows, columns] = found.explanation.dims;
  return {
    map: found.explanation.data,
    rows,
    columns,
    target: Number(found.class.data[0]),
    confidence: found.confidence.data[0],
    logits: found.logits.data,
    status: Number(found.status.data[0]),
    kept: found.kept ? Array.from(found.kept.data, Number).reduce((sum, count) => sum + count, 0) : 0,
    scored: found.masks_scored ? Number(found.masks_scored.data[0]) : 0,
    seconds,
  };
}

const work = { load, explain };

self.addEventListener("message", async ({ data: { kind, ...asked } }) => {
  try {
    self.postMessage({ answer: await work[kind](asked) });
  } catch (error) {
    self.postMessage({ failed: error instanceof Error ? error.message : String(error) });
  }
});
