// The gateway's answers in the words that a person meets.

/** Egyptian_cat as Egyptian cat. */
export const readable = (name) => name.replaceAll("_", " ");

/** A probability as a whole percentage that never claims certainty, nor that something is impossible. */
export function percent(probability) {
  if (probability > 0 && probability < 0.005) return "<1%";
  if (probability < 1 && probability >= 0.995) return ">99%";
  return `${Math.round(100 * probability)}%`;
}

/** A label for each prediction. Two classes may share a name, a crane is a bird and a machine: theirs get the id. */
export function labels(predictions) {
  const uses = new Map();
  for (const { class_name: name } of predictions) uses.set(name, (uses.get(name) ?? 0) + 1);
  return predictions.map(({ class_id: id, class_name: name }) => readable(name) + (uses.get(name) > 1 ? ` (${id})` : ""));
}

export const NOT_SURE = "Not sure";

/** What is in the photo, on one line. */
export const caption = (answer) =>
  answer.recognized ? `${readable(answer.class_name)}, ${percent(answer.probability)}` : NOT_SURE;

/** A span of milliseconds. */
export const duration = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);
