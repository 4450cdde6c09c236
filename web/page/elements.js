// Elements are found and made here. Text is always text: what a model or a file is called is never read as HTML.

export const find = (selector) => document.querySelector(selector);

/** Make an element; `children` are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** An error in the server's own words, as a screen reader speaks it at once. */
export function problem(text) {
  const paragraph = make("p", { className: "problem" }, text);
  paragraph.setAttribute("role", "alert");
  return paragraph;
}

/** Say something to those who do not see what changed. */
export function speak(text) {
  find("#spoken").textContent = text;
}

/** Where the columns stand below each other, what was answered is below the fold. */
export function bringIntoView(element) {
  if (element.getBoundingClientRect().top < innerHeight / 2) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

/** Let the browser keep a Blob as a file. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
