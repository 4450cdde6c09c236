// The gateway's API, the one that /docs describes and every other client uses.
import { keyFor } from "./key.js";

const UNREACHABLE = "The gateway does not answer: is it still running, and is there a connection to it?";
const UNREADABLE = "The gateway answered with something else than JSON: something stands in between.";

/** What the gateway, or the way to it, says no with. The message is for the person. */
export class Refusal extends Error {}

/**
 * Name what is on a photo, with so many candidates. Resolves to { answer, took }, `took` in milliseconds.
 * Throws Refusal, or an AbortError once `signal` is aborted.
 */
export async function predict(photo, topK, signal) {
  const started = performance.now();
  const answer = await post(`predict?top_k=${topK}`, form(photo), signal);
  return { answer, took: performance.now() - started };
}

/** Picture what speaks for a class: `overlay` is 0 for the photo alone and 1 for the colors alone. */
export function explain(photo, classId, overlay, signal) {
  const body = form(photo);
  body.append("class_id", classId);
  body.append("overlay", overlay);
  return post("explain", body, signal);
}

/** The card of the model that answers. */
export const model = async () => json(await ask("model", {}));

/** One of the examples, as a File. */
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
