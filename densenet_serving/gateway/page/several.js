// Several photos: a label for each as the answers arrive, and a CSV file of them all.
import { Refusal, predict } from "./api.js";
import { toCsv } from "./csv.js";
import { bringIntoView, download, find, make, speak } from "./elements.js";
import { caption } from "./words.js";

const AT_ONCE = 4;
const THUMBNAIL_SIDE = 240;
let change = new AbortController();
let rows = [];

find("#csv").onclick = () => download(new Blob([toCsv(rows)], { type: "text/csv" }), "photos.csv");

export function clear() {
  change.abort();
  find("#several").hidden = true;
  find("#gallery").replaceChildren();
  find("#problems").replaceChildren();
}

export const isOpen = () => !find("#several").hidden;

/** Mark one tile as chosen, or none. */
export function mark(chosen) {
  for (const tile of find("#gallery").children) tile.ariaPressed = tile === chosen;
}

/** Ask about every file. `open` is called with the file that the person chooses. */
export async function show(files, open) {
  clear();
  change = new AbortController();
  const { signal } = change;
  rows = files.map((file) => ({ file: file.name }));
  find("#several").hidden = false;
  find("#csv").disabled = true;
  count(0);
  const tiles = files.map((file) => tile(file, open));
  find("#gallery").append(...tiles);
  bringIntoView(find("#several"));
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < files.length) {
      const i = next++;
      await label(files[i], tiles[i], rows[i], signal);
      signal.throwIfAborted();
      count(++done);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, files.length) }, work));
    find("#csv").disabled = false;
    speak(`All ${files.length} photos are answered.`);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

async function label(file, tile, row, signal) {
  try {
    const [{ answer }] = await Promise.all([predict(file, 1, signal), draw(file, tile.querySelector("canvas"))]);
    Object.assign(row, answer);
    tile.querySelector(".caption").textContent = caption(answer);
    tile.disabled = false;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    signal.throwIfAborted();
    row.error = error.message;
    tile.remove();
    find("#problems").append(make("p", { className: "problem" }, `${file.name}: ${error.message}`));
  }
}

function count(done) {
  const all = rows.length;
  find("#several-title").textContent = done < all ? `${done} of ${all} photos` : `${all} photos`;
  Object.assign(find("#progress"), { value: done, max: all, hidden: done === all });
}

function tile(file, open) {
  const button = make(
    "button",
    { disabled: true, title: file.name },
    make("canvas", { width: THUMBNAIL_SIDE, height: THUMBNAIL_SIDE, ariaHidden: "true" }),
    make("span", { className: "caption" }, "…"),
  );
  button.onclick = () => {
    open(file);
    mark(button);
  };
  return button;
}

/** Draw the middle square of a photo, small. */
async function draw(file, canvas) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return; // the model reads more formats than a browser: the tile stays plain
  }
  const side = Math.min(picture.width, picture.height);
  const [x, y] = [(picture.width - side) / 2, (picture.height - side) / 2];
  canvas.getContext("2d").drawImage(picture, x, y, side, side, 0, 0, canvas.width, canvas.height);
  picture.close();
}
