// The API key. The page asks for it if the browser's own prompt did not give it, and keeps it in memory only.
import { find } from "./elements.js";

let key = "";
let asked = null;

/** Return the key to send, which may be "". After a 401 to the key `used`, ask the person for another one. */
export async function keyFor(refused, used) {
  if (!refused || used !== key) return key;
  const { message } = await refused.json();
  asked ??= ask(message).finally(() => (asked = null));
  return asked;
}

export const hasKey = () => key !== "";

function ask(message) {
  const panel = find("#key");
  const input = find("#key-value");
  find("#key-problem").textContent = message;
  panel.hidden = false;
  input.value = "";
  input.focus();
  return new Promise((resolve) => {
    panel.onsubmit = (event) => {
      event.preventDefault();
      key = input.value.trim();
      panel.hidden = true;
      resolve(key);
    };
  });
}
