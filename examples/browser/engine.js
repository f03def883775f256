// The worker, as the page sees it: one question at a time, and an end at any time.

export class Stopped extends Error {}

export class Engine {
  #worker = null;
  #waiting = null;

  /** Begin anew with a model's bytes; its inputs' names, and how many threads run it. */
  load(model) {
    this.stop();
    this.#worker = new Worker("worker.js", { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => this.#answered(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#answered({ failed: event.message || "worker.js cannot be loaded" });
    });
    return this.#ask({ kind: "load", model });
  }

  /** Explain `target` (-1: the best class) of a picture by at most so many masks. */
  explain(picture, target, masks) {
    const { pixels, width, height } = picture;
    return this.#ask({ kind: "explain", pixels, width, height, target, masks });
  }

  /** End the worker, as a run of ONNX Runtime cannot be stopped; what was asked of it throws `Stopped`. */
  stop() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#waiting?.reject(new Stopped());
    this.#waiting = null;
  }

  /** End a run that goes on; a model that waits stays loaded. */
  stopIfBusy() {
    if (this.#waiting) this.stop();
  }

  get loaded() {
    return this.#worker !== null;
  }

  #ask(question) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(question);
    });
  }

  #answered({ answer, failed }) {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (failed === undefined) waiting?.resolve(answer);
    else waiting?.reject(new Error(failed));
  }
}
