// The page: takes photos from everywhere and shows the answers.
import * as answer from "./answer.js";
import { example } from "./api.js";
import * as camera from "./camera.js";
import { find, problem } from "./elements.js";
import * as model from "./model.js";
import * as several from "./several.js";

const input = find("#files");
const preview = find("#preview");

function takeAll(files) {
  if (files.length === 0) return;
  several.clear();
  if (files.length === 1) return take(files[0]);
  forget("Choose one of the photos to see its bars and heatmap.");
  several.show(files, take);
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
function forget(hint) {
  closeCamera();
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  for (const part of [preview, find("#remove"), find("#no-preview")]) part.hidden = true;
  find("#invitation").hidden = false;
  answer.clear(hint);
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
  takeAll([...event.dataTransfer.files]);
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
    forget();
    find("#answer").replaceChildren(problem(`The camera cannot be used: ${error.message}.`));
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

answer.clear();
model.load();
