// The heatmap over the photo. CSS opacity blends as the server does: (1 - overlay) photo + overlay colors.
import { download, find, make } from "./elements.js";

const slider = find("#overlay");
let saved = "heatmap.png";

slider.oninput = () => {
  document.documentElement.style.setProperty("--overlay", slider.value / 100);
  find("#overlay-value").value = `${slider.value}%`;
};

find("#save-heatmap").onclick = async () => {
  const [photo, colors] = find("#heatmap").querySelectorAll("img");
  const canvas = make("canvas", { width: photo.naturalWidth, height: photo.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0);
  context.globalAlpha = slider.value / 100;
  context.drawImage(colors, 0, 0);
  canvas.toBlob((blob) => download(blob, saved), "image/png");
};

export function clear() {
  find("#why").hidden = find("#heatmap-tools").hidden = true;
  find("#why").removeAttribute("aria-busy");
  find("#heatmap").replaceChildren();
}

/** Show that a picture is on its way. The last class's picture stays until it is there. */
export function wait(text) {
  find("#why").hidden = false;
  find("#why").setAttribute("aria-busy", "true");
  if (find("#heatmap").hasChildNodes()) return;
  const said = make("figcaption", {}, make("span", { className: "hint" }, `Looking for the evidence for ${text} …`));
  find("#heatmap").append(make("figure", {}, make("div", { className: "layers" }), said));
}

/** Show two PNGs in base64, of equal size: the part of the photo that the model saw, and the colors of a class. */
export function show(photo, colors, text, fileName) {
  saved = `${fileName.replace(/\.[^.]*$/, "")}-heatmap.png`;
  const picture = (png, alt, className = "") => make("img", { src: `data:image/png;base64,${png}`, alt, className });
  const layers = make(
    "div",
    { className: "layers" },
    picture(photo, "The part of the photo that the model saw"),
    picture(colors, "Heatmap over the photo", "colors"),
  );
  const said = make(
    "figcaption",
    {},
    make("span", {}, "The bright areas are the evidence for ", make("strong", {}, text), "."),
    make("span", { className: "hint" }, "Choose another bar to see the evidence for that class."),
  );
  find("#heatmap").replaceChildren(make("figure", {}, layers, said));
  find("#why").hidden = find("#heatmap-tools").hidden = false;
  find("#why").removeAttribute("aria-busy");
}
