// The gateway's public API, which /docs describes.
import { keyFor } from "./key.js";

const UNREACHABLE = "The gateway does not answer: check that it runs and that you can reach it.";
const UNREADABLE = "The answer is not JSON: a proxy in front of the gateway may have sent it.";
const OTHER_ANSWER = "This page cannot draw the answer of this model's handler, which is:";

/** Thrown if the gateway refuses or cannot be reached. The message is for the person at the page. */
export class Refusal extends Error {}

/**
 * Classify a photo and list `topK` candidates. Resolves to { answer }.
 * Throws Refusal, or an AbortError once `signal` is aborted.
 */
export const predict = async (photo, topK, signal) => ({ answer: await upload(`predict?top_k=${topK}`, photo, signal) });

/**
 * Classify a photo, and find where each candidate is on it. Throws as `predict`.
 * Resolves to { answer, seen, maps }: `seen` is the part of the photo that the model saw, a PNG in base64, and `maps`
 * has by class id rows of values from 0 to 1. An older archive gives the answer alone.
 */
export async function explain(photo, topK, signal) {
  const { overlay, maps, ...answer } = await upload(`explain?top_k=${topK}&overlay=0`, photo, signal);
  if (overlay && !maps) return predict(photo, topK, signal); // an older archive lists no classes beside its overlay
  if (!answer.recognized) answer.class_id = answer.class_name = null; // an explanation always names a class
  return { answer, seen: overlay, maps };
}

/** Ask for the card of the model that answers. */
export const model = async () => json(await ask("model", {}));

/** Load one of the examples as a File. */
export async function example(name) {
  const response = await ask(`page/examples/${name}`, {});
  return new File([await response.blob()], name, { type: "image/jpeg" });
}

async function upload(path, photo, signal) {
  const body = new FormData();
  body.append("file", photo, photo.name);
  const answer = await json(await ask(path, { method: "POST", body, signal }), signal);
  if (answer?.recognized === undefined) throw new Refusal(`${OTHER_ANSWER} ${JSON.stringify(answer)}`);
  return answer;
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
