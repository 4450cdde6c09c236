// The gateway's public API, which /docs describes.
import { keyFor } from "./key.js";

const UNREACHABLE = "The gateway does not answer: check that it runs and that you can reach it.";
const UNREADABLE = "The answer is not JSON: a proxy in front of the gateway may have sent it.";
const OTHER_ANSWER = "This page cannot draw the answer of this model's handler, which is:";

/** Thrown if the gateway refuses or cannot be reached. The message is for the person at the page. */
export class Refusal extends Error {}

/**
 * Classify a photo and list `topK` candidates. Resolves to { answer, took }, `took` in milliseconds.
 * Throws Refusal, or an AbortError once `signal` is aborted.
 */
export async function predict(photo, topK, signal) {
  const started = performance.now();
  const answer = await post(`predict?top_k=${topK}`, form(photo), signal);
  if (answer?.recognized === undefined) throw new Refusal(`${OTHER_ANSWER} ${JSON.stringify(answer)}`);
  return { answer, took: performance.now() - started };
}

/** Ask for the heatmap of a class. `overlay` is 0 for the photo alone and 1 for the colors alone. */
export function explain(photo, classId, overlay, signal) {
  const body = form(photo);
  body.append("class_id", classId);
  body.append("overlay", overlay);
  return post("explain", body, signal);
}

/** Ask for the card of the model that answers. */
export const model = async () => json(await ask("model", {}));

/** Load one of the examples as a File. */
export async function example(name) {
  const response = await ask(`page/examples/${name}`, {});
  return new File([await response.blob()], name, { type: "image/jpeg" });
}

const post = async (path, body, signal) => json(await ask(path, { method: "POST", body, signal }), signal);

function form(photo) {
  const body = new FormData();
  body.append("file", photo, photo.name);
  return body;
}

async function ask(path, options) {
  let key;
  let response;
  do {
    key = await keyFor(response, key);
    response = await send(path, { ...options, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  } while (response.status === 401);
  if (response.ok) return response;
  const { message } = await json(response, options.signal);
  throw new Refusal(message ?? `${response.status} ${response.statusText}`);
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(UNREACHABLE, { cause: error });
  }
}

async function json(response, signal) {
  try {
    return await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    throw new Refusal(UNREADABLE, { cause: error });
  }
}
