// Explain a picture with onnxruntime-node and a single file, without Python.
//
//   sise-rt export model.sise --single-file --with-preprocessing --required-inputs -o explain.onnx
//   npm install --ignore-scripts && node explain.js explain.onnx picture.ppm [target] [max_masks]
//
// Writes explanation.pgm, the map over the model's input. The picture is a binary PPM (P6), which needs no
// library; a service hands over the pixels that its own decoder gives.

const fs = require("node:fs");
const ort = require("onnxruntime-node");

const WHY = [
  "",
  "nothing speaks for the class",
  "only flat maps speak for the class",
  "a number is not finite",
  "target, mu or max_masks is out of its range",
];

/** The pixels of a binary PPM of 8 bits: {width, height, data}, RGB in rows. */
function readPpm(file) {
  const bytes = fs.readFileSync(file);
  const header = /^P6\s+(?:#.*\s+)*(\d+)\s+(\d+)\s+255\s/.exec(bytes.toString("latin1", 0, 512));
  if (header === null) throw new Error(`${file} is no binary PPM of 8 bits`);
  const [width, height] = [Number(header[1]), Number(header[2])];
  const data = new Uint8Array(bytes.subarray(header[0].length));
  if (data.length !== width * height * 3) throw new Error(`${file} is not whole`);
  return { width, height, data };
}

/** A scalar as the graph takes it. */
const integer = (value) => new ort.Tensor("int64", [BigInt(value)], []);

async function main(model, picture, target = -1, maxMasks = 2 ** 31) {
  if (picture === undefined) throw new Error("usage: node explain.js explain.onnx picture.ppm [target] [max_masks]");
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  if (!session.inputNames.includes("max_masks")) {
    throw new Error(`${model} was exported without --required-inputs: its settings could not be given here`);
  }
  const { width, height, data } = readPpm(picture);
  const found = await session.run({
    image: new ort.Tensor("uint8", data, [height, width, 3]),
    target: integer(target),
    mu: new ort.Tensor("float32", [0], []),
    max_masks: integer(maxMasks),
  });
  const status = Number(found.status.data[0]);
  if (status !== 0) throw new Error(`no explanation: ${WHY[status]}`);
  const [rows, columns] = found.explanation.dims;
  const grey = Buffer.from(found.explanation.data.map((value) => Math.round(255 * value)));
  fs.writeFileSync("explanation.pgm", Buffer.concat([Buffer.from(`P5\n${columns} ${rows}\n255\n`), grey]));
  const confidence = found.confidence.data[0].toFixed(3);
  console.log(`class ${found.class.data[0]}, confidence ${confidence}, ${found.masks_scored.data[0]} masks`);
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
