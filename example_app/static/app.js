// Starts the three parts of the page independently, so that a failure in one does not affect the others.

import { start as startCharts } from "./charts.js";
import { start as startFruits } from "./fruits.js";
import { start as startLanguages } from "./languages.js";

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
await Promise.allSettled([startFruits(), startLanguages(), startCharts()]);
document.body.dataset.ready = "true";
