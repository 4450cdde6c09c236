// The page: takes photos from everywhere and shows the answers.
import * as answer from "./answer.js";
import { example } from "./api.js";
import * as camera from "./camera.js";
import { bringIntoView, find, problem } from "./elements.js";
import * as model from "./model.js";
import * as several from "./several.js";

const NOTHING_YET = "What the model sees in your photo appears here.";
const CHOOSE_ONE = "Choose one of the photos to see its bars and heatmap.";
const NO_FILE = "This is a link, not a file. Save the picture first, then drop or choose the file.";
const input = find("#files");
const preview = find("#preview");

function takeAll(files) {
  if (files.length === 0) return;
  several.clear();
  if (files.length === 1) return take(files[0]);
  several.show(files, take);
  forget();
}

function take(photo) {
  forget();
  preview.src = URL.createObjectURL(photo);
  preview.hidden = false;
  find("#invitation").hidden = true;
  find("#remove").hidden = false;
  answer.show(photo);
}

/** Reset the panel on the left, and the answer. */
function forget() {
  closeCamera();
  several.mark(null);
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  for (const part of [preview, find("#remove"), find("#no-preview")]) part.hidden = true;
  find("#invitation").hidden = false;
  answer.clear(several.isOpen() ? CHOOSE_ONE : NOTHING_YET);
}

/** Show an error message in the place of the answer. */
function say(text) {
  forget();
  find("#answer").replaceChildren(problem(text));
  bringIntoView(find("#answer"));
}

preview.onerror = () => {
  preview.hidden = true;
  find("#no-preview").hidden = false;
};

// Files from the dialog. The value is cleared, so that the same file can be chosen again.
input.onchange = () => {
  takeAll([...input.files]);
  input.value = "";
};
find("#choose").onclick = () => input.click();
find("#invitation").onclick = () => input.click();
find("#remove").onclick = () => {
  forget();
  find("#choose").focus();
};
find("#close-several").onclick = () => {
  several.clear();
  forget();
  find("#choose").focus();
};

for (const button of document.querySelectorAll("#examples button")) {
  button.onclick = () => answer.orShowProblem(async () => takeAll([await example(button.dataset.file)]));
}

// Paste and drop work anywhere on the page.
document.onpaste = (event) => takeAll([...event.clipboardData.files]);
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
};
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const { files, types } = event.dataTransfer;
  if (files.length === 0 && types.includes("text/uri-list")) return say(NO_FILE);
  takeAll([...files]);
};

find("#camera").hidden = !camera.isThere();
find("#camera").onclick = async () => {
  forget();
  show({ "#invitation": false, "#sources": false, "#shutter": true });
  find("#take").disabled = true;
  find("#close-camera").focus();
  try {
    if (!(await camera.open())) return;
  } catch (error) {
    say(`The camera cannot be used: ${error.message}.`);
    return;
  }
  find("#take").disabled = false;
  find("#take").focus();
};
find("#take").onclick = async () => takeAll([await camera.take()]);
find("#close-camera").onclick = () => {
  forget();
  find("#camera").focus();
};

function closeCamera() {
  camera.close();
  show({ "#sources": true, "#shutter": false });
}

function show(parts) {
  for (const [selector, shown] of Object.entries(parts)) find(selector).hidden = !shown;
}

forget();
model.load();
