// Starts the three parts of the page independently, so that a failure in one does not affect the others.

import { draw } from "./charts.js";
import { refresh, start as startFruits } from "./fruits.js";
import { changed as languagesChanged, start as startLanguages } from "./languages.js";
import { follow } from "./live.js";

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
await Promise.all([
  follow("v1.0/fruits", () => {
    refresh();
    draw();
  }),
  follow("v1.0/languages", () => {
    languagesChanged();
    draw();
  }),
]);
await Promise.allSettled([startFruits(), startLanguages(), draw()]);
document.body.dataset.ready = "true";
