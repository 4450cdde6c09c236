// Finds and makes elements. Names of classes and files are set as text, never parsed as HTML.

export const find = (selector) => document.querySelector(selector);

/** Make an element; `children` are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Make an error message, which a screen reader speaks at once. */
export function problem(text) {
  const paragraph = make("p", { className: "problem" }, text);
  paragraph.setAttribute("role", "alert");
  return paragraph;
}

/** Let a screen reader say something. */
export function speak(text) {
  find("#spoken").textContent = text;
}

/** Scroll to the card of an answer: on a phone, where there is one column, it is below the fold. */
export function bringIntoView(part) {
  const element = part.closest(".card");
  if (element.getBoundingClientRect().top < innerHeight / 2) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

/** Download a Blob as a file. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
