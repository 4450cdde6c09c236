// The answer to one photo: what is in it, how sure the model is, the heatmap, and the same for a program.
import { Refusal, explain, predict } from "./api.js";
import { fill } from "./code.js";
import { bringIntoView, find, make, problem, speak } from "./elements.js";
import * as heatmap from "./heatmap.js";
import * as model from "./model.js";
import { NONE, NOT_SURE, duration, labels, percent } from "./words.js";

const CLOSEST = "Nothing that the model knows fits this photo well. These come closest; a closer or sharper view may help.";

// A new question aborts the requests of the last one.
let photoChange = new AbortController();
let classChange = new AbortController();

/** Empty the panel, but for a hint. */
export function clear(text) {
  photoChange.abort();
  classChange.abort();
  find("#answer").replaceChildren(make("p", { className: "hint" }, text));
  find("#answer").removeAttribute("aria-busy");
  for (const part of ["#bars", "#why", "#code"]) find(part).hidden = true;
  find("#bars").replaceChildren();
  heatmap.clear();
}

/** Ask about a File and show the answer. */
export async function show(photo) {
  clear("Looking at it …");
  find("#answer").setAttribute("aria-busy", "true");
  photoChange = new AbortController();
  const { signal } = photoChange;
  await orShowProblem(async () => {
    const topK = await model.candidates();
    const { answer, took } = await predict(photo, topK, signal);
    signal.throwIfAborted();
    paint(photo, answer, took);
    fill(photo, answer, topK);
    bringIntoView(find("#answer"));
    if (answer.predictions?.length) await choose(photo, answer.predictions[0], labels(answer.predictions)[0]);
  });
  if (!signal.aborted) find("#answer").removeAttribute("aria-busy");
}

function paint(photo, answer, took) {
  const predictions = answer.predictions ?? (answer.recognized ? [answer] : []);
  const texts = labels(predictions);
  const several = model.isMultiLabel();
  const unsure = several ? NONE : NOT_SURE;
  const title = answer.recognized ? (several ? texts.join(", ") : texts[0]) : unsure;
  const said = answer.recognized && !several ? [make("p", { className: "sure" }, percent(answer.probability))] : [];
  find("#answer").replaceChildren(
    make("div", { className: "row spread" }, make("h2", {}, title), ...said),
    ...(answer.recognized || several ? [] : [make("p", {}, CLOSEST)]),
    make("p", { className: "took" }, `${model.name()} answered in ${duration(took)}`),
  );
  find("#bars").replaceChildren(...predictions.map((prediction, i) => bar(photo, prediction, texts[i])));
  find("#bars").hidden = predictions.length === 0;
}

function bar(photo, prediction, text) {
  const share = make("span", { className: "share" });
  share.style.setProperty("--share", `${100 * prediction.probability}%`);
  const button = make(
    "button",
    { title: `Show the evidence for ${text}` },
    make("span", { className: "name" }, text),
    make("span", { className: "percent" }, percent(prediction.probability)),
    make("span", { className: "track" }, share),
  );
  button.dataset.id = prediction.class_id;
  button.onclick = () => orShowProblem(() => choose(photo, prediction, text));
  return button;
}

/** Show the heatmap of one class. The page blends photo and colors itself, so the slider needs no request. */
async function choose(photo, prediction, text) {
  classChange.abort();
  classChange = new AbortController();
  const { signal } = classChange;
  for (const button of find("#bars").children) button.ariaPressed = button.dataset.id === prediction.class_id;
  heatmap.wait(text);
  const layers = await Promise.all([0, 1].map((overlay) => explain(photo, prediction.class_id, overlay, signal)));
  signal.throwIfAborted();
  if (layers.some((layer) => layer.overlay === undefined)) return heatmap.clear(); // the archive is too old to explain
  heatmap.show(...layers.map((layer) => layer.overlay), text, photo.name);
  speak(`The heatmap shows the evidence for ${text}.`);
}

/** Do some work and show its refusal, if it is refused. Aborted requests are not shown. */
export async function orShowProblem(work) {
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refusal)) throw error;
    model.forget(); // another model may answer next
    heatmap.clear();
    find("#answer .hint")?.remove();
    find("#answer .problem")?.remove();
    find("#answer").append(problem(error.message));
    bringIntoView(find("#answer"));
  }
}
