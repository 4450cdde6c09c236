// The API key, asked for where the gateway wants one and the browser's own prompt did not give it. It is kept in memory.
import { find } from "./elements.js";

let key = "";
let asked = null;

/** The key to send, which may be "". After a 401 to the key `used`, another one, once the person has given it. */
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
