// The model's card: which weights, how accurate, which engine.
import { Refusal, model } from "./api.js";
import { find, make } from "./elements.js";

const CANDIDATES = 5;
const ENGINES = { openvino: "OpenVINO", torch: "PyTorch" };
let card = null;

/** Load the card and show it. If that fails, the answer to the next photo says why, and loads it again. */
export async function load() {
  try {
    card = await model();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    card = null;
  }
  find("#model").hidden = card === null;
  if (card) find("#model dl").replaceChildren(...rows(card).map(([name, ...value]) => row(name, ...value)));
}

/** Load the card again before the next photo. */
export function forget() {
  card = null;
}

/** Return how many candidates to ask for; a model may have fewer classes. */
export async function candidates() {
  if (!card) await load();
  return Math.min(CANDIDATES, card?.classes ?? CANDIDATES);
}

/** Return the name of the model that answers. Without a card the gateway does not tell it. */
export const name = () => card?.name ?? "The model";

/** Say whether a photo may show several of the model's classes, or none. */
export const isMultiLabel = () => card?.task === "multi-label";

/** Say whether the model can show where it saw a class: it cannot if its head has hidden layers. */
export const givesHeatmaps = () => card?.heatmaps !== false;

export const asksForKey = () => card?.api_key === true;

const row = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));

function* rows({ name, version, architecture, classes, weights, engine }) {
  yield ["Name", `${name} ${version}`];
  if (architecture) yield ["Architecture", architecture];
  if (classes) yield ["Classes", String(classes)];
  if (weights) {
    yield ["Weights", weights.source];
    yield ["Accuracy", accuracy(weights.accuracy)];
    yield ["License", weights.license];
    yield ["SHA-256 of the weights", make("code", { title: weights.sha256 }, `${weights.sha256.slice(0, 16)}…`)];
  }
  if (engine) yield ["Engine", engineText(engine)];
}

function accuracy(measured) {
  if (!measured) return "not stated";
  const share = (value) => `${(100 * value).toFixed(1)}%`;
  return `${share(measured.top1)} top-1, ${share(measured.top5)} top-5 on ${measured.evaluated_on}`;
}

const engineText = ({ engine, precision, device }) =>
  [ENGINES[engine] ?? engine, precision, device?.toUpperCase()].filter(Boolean).join(", ");
