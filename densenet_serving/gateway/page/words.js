// Turns the gateway's answers into words.

/** Turn Egyptian_cat into Egyptian cat. */
export const readable = (name) => name.replaceAll("_", " ");

/** Write a probability as a whole percentage, never as 0% or 100% unless it is exactly that. */
export function percent(probability) {
  if (probability > 0 && probability < 0.005) return "<1%";
  if (probability < 1 && probability >= 0.995) return ">99%";
  return `${Math.round(100 * probability)}%`;
}

/** Label each prediction. Classes that share a name, as the two cranes do, are labeled with their id too. */
export function labels(predictions) {
  const uses = new Map();
  for (const { class_name: name } of predictions) uses.set(name, (uses.get(name) ?? 0) + 1);
  return predictions.map(({ class_id: id, class_name: name }) => readable(name) + (uses.get(name) > 1 ? ` (${id})` : ""));
}

export const NOT_SURE = "Not sure";
export const NONE = "None of its classes";

/** Say what is in the photo, in one line. If one class was asked for, only a multi-label model lists predictions. */
export function caption(answer) {
  const { predictions } = answer;
  if (predictions?.length === 0) return NONE;
  const found = predictions ?? (answer.recognized ? [answer] : []);
  return found.map((one) => `${readable(one.class_name)}, ${percent(one.probability)}`).join("; ") || NOT_SURE;
}

/** Write a duration given in milliseconds. */
export const duration = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);
