// The answer to one photo: what is in it, how sure the model is, the heatmap, and the same for a program.
import { Refusal, explain, predict } from "./api.js";
import { fill } from "./code.js";
import { bringIntoView, find, make, problem, speak } from "./elements.js";
import * as heatmap from "./heatmap.js";
import * as model from "./model.js";
import { NONE, NOT_SURE, duration, labels, percent } from "./words.js";

const CLOSEST = "Nothing that the model knows fits this photo well. These come closest; a closer or sharper view may help.";

// A new photo aborts the request of the last one.
let change = new AbortController();

/** Empty the panel, but for a hint. */
export function clear(text) {
  change.abort();
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
  change = new AbortController();
  const { signal } = change;
  await orShowProblem(async () => {
    const topK = await model.candidates();
    const started = performance.now();
    const ask = model.givesHeatmaps() ? explain : predict;
    const { answer, seen, maps } = await ask(photo, topK, signal);
    signal.throwIfAborted();
    paint(answer, performance.now() - started, ({ class_id: id }, text) => {
      for (const button of find("#bars").children) button.ariaPressed = button.dataset.id === id;
      if (!maps) return; // the archive is too old to explain
      heatmap.show(seen, maps[id], text, photo.name);
      speak(`The heatmap shows the evidence for ${text}.`);
    });
    fill(photo, answer, topK);
    bringIntoView(find("#answer"));
    find("#bars button")?.click();
  });
  if (!signal.aborted) find("#answer").removeAttribute("aria-busy");
}

/** Show the answer; `choose` is called with the prediction whose bar is chosen, and its text. */
function paint(answer, took, choose) {
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
  find("#bars").replaceChildren(...predictions.map((prediction, i) => bar(prediction, texts[i], choose)));
  find("#bars").hidden = predictions.length === 0;
}

function bar(prediction, text, choose) {
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
  button.onclick = () => choose(prediction, text);
  return button;
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
