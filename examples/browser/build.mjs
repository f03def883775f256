// Copies ONNX Runtime beside the page, into ort/: what the browser needs of the package, and no more.

import { copyFileSync, mkdirSync } from "node:fs";

const FROM = new URL("./node_modules/onnxruntime-web/", import.meta.url);
const TO = new URL("./ort/", import.meta.url);

mkdirSync(TO, { recursive: true });
for (const file of ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(new URL(`dist/${file}`, FROM), new URL(file, TO));
}
