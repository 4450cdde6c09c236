// Runs once when the page opens: what Gradio leaves out for the keyboard, the clipboard and screen readers.
() => {
  const EXAMPLES = ["A cup of coffee", "A cat", "A photographer", "A blurred clock"];
  const find = (selector) => document.querySelector(selector);

  // Gradio's examples are buttons without a name, and in its gallery all are called Thumbnail.
  const name = (button, text) => {
    if (button.title !== text) Object.assign(button, { title: text, ariaLabel: text });
  };
  const nameAll = () => {
    document.querySelectorAll("#examples .gallery-item").forEach((button, i) => name(button, EXAMPLES[i]));
    document.querySelectorAll("#gallery .thumbnail-item").forEach((button) => name(button, button.innerText));
  };
  new MutationObserver(nameAll).observe(document.body, { childList: true, subtree: true });
  nameAll();

  for (const id of ["answer", "problems", "heatmap"]) find(`#${id}`)?.setAttribute("aria-live", "polite");

  // Ctrl+V anywhere, and files dropped anywhere, go to the input of the tab in sight.
  const take = (event, files) => {
    if (event.defaultPrevented || !files.length) return;
    event.preventDefault();
    const input = find(find("#photo")?.offsetParent ? "#photo input[type=file]" : "#photos input[type=file]");
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", (event) => take(event, event.clipboardData.files));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => take(event, event.dataTransfer.files));

  // Where the columns stand below each other, the answer is below the fold.
  window.showAnswer = () => {
    const answer = find("#answer");
    if (answer.getBoundingClientRect().top > innerHeight / 2) answer.scrollIntoView({ behavior: "smooth" });
  };
}
