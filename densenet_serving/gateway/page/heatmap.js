// The heatmap over the photo. CSS opacity blends as the server does: (1 - overlay) photo + overlay colors.
import { download, find, make } from "./elements.js";

const slider = find("#overlay");
// Even steps of matplotlib's "inferno", as handler/explanations.py has them.
const COLORS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
let saved = "heatmap.png";

slider.oninput = () => {
  document.documentElement.style.setProperty("--overlay", slider.value / 100);
  find("#overlay-value").value = `${slider.value}%`;
};

find("#save-heatmap").onclick = async () => {
  const photo = find("#heatmap img");
  const canvas = make("canvas", { width: photo.naturalWidth, height: photo.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0);
  context.globalAlpha = slider.value / 100;
  context.drawImage(find("#heatmap .colors"), 0, 0);
  canvas.toBlob((blob) => download(blob, saved), "image/png");
};

export function clear() {
  find("#why").hidden = find("#heatmap-tools").hidden = true;
  find("#heatmap").replaceChildren();
}

/** Show a PNG in base64, the part of the photo that the model saw, under a map: rows of values from 0 to 1. */
export function show(photo, map, text, fileName) {
  saved = `${fileName.replace(/\.[^.]*$/, "")}-heatmap.png`;
  const picture = make("img", { src: `data:image/png;base64,${photo}`, alt: "The part of the photo that the model saw" });
  const colors = make("canvas", { className: "colors", role: "img", ariaLabel: "Heatmap over the photo" });
  picture.onload = () => paint(map, colors, picture.naturalWidth);
  const said = make(
    "figcaption",
    {},
    make("span", {}, "The bright areas are the evidence for ", make("strong", {}, text), "."),
    make("span", { className: "hint" }, "Choose another bar to see the evidence for that class."),
  );
  find("#heatmap").replaceChildren(make("figure", {}, make("div", { className: "layers" }, picture, colors), said));
  find("#why").hidden = find("#heatmap-tools").hidden = false;
}

/** Paint a map over a square, between the centers of its cells in proportion, as the server does. */
function paint(map, canvas, side) {
  Object.assign(canvas, { width: side, height: side });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(side, side);
  const wide = map.map((row) => stretch(row, side, mix));
  const square = stretch(wide, side, (a, b, share) => a.map((value, x) => mix(value, b[x], share)));
  square.flat().forEach((value, i) => pixels.data.set([...color(value), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}

/** Make a list longer; `between` is given two neighbors and the share of the second. */
function stretch(list, length, between) {
  return Array.from({ length }, (_, i) => {
    const place = ((i + 0.5) * list.length) / length - 0.5;
    const inside = Math.min(Math.max(place, 0), list.length - 1);
    const low = Math.floor(inside);
    return between(list[low], list[Math.ceil(inside)], inside - low);
  });
}

const mix = (a, b, share) => a + (b - a) * share;

function color(value) {
  const place = value * (COLORS.length - 1);
  const low = Math.floor(place);
  return COLORS[low].map((part, i) => mix(part, COLORS[Math.ceil(place)][i], place - low));
}
