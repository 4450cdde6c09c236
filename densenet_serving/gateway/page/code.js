// The answer as JSON, and the curl line that asks for it.
import { find, speak } from "./elements.js";
import { hasKey } from "./key.js";
import { asksForKey } from "./model.js";

export function fill(photo, answer, topK) {
  find("#json").textContent = JSON.stringify(answer, null, 2);
  find("#curl").textContent = curl(photo.name, new URL(`predict?top_k=${topK}`, document.baseURI).href);
  find("#code").hidden = false;
}

/** Write a line for a POSIX shell. curl wants a file name with a semicolon or a comma in double quotes. */
function curl(name, url) {
  const file = `file=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const key = hasKey() || asksForKey() ? ` -H "Authorization: Bearer $KEY"` : "";
  return `curl${key} -F ${quoted(file)} ${quoted(url)}`;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

for (const button of document.querySelectorAll(".copy")) {
  const label = button.textContent;
  button.onclick = async () => {
    await copy(find(`#${button.dataset.of}`));
    button.textContent = "Copied";
    speak("Copied.");
    setTimeout(() => (button.textContent = label), 2000);
  };
}

/** Copy an element's text. Over plain http from another machine only the old API is there. */
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
  getSelection().removeAllRanges();
}
