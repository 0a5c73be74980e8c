// Three small charts of the metrics; a text below each gives its numbers.

import { ask, make, tell } from "./api.js";

const EVERY_MS = 5000;
const SCOPES = { I: "individual", M: "macrolanguages", S: "special" };
const status = document.getElementById("metrics-status");
const history = [];

function kilobytes(bytes) {
  return `${Math.round((bytes ?? 0) / 1024)} KB`;
}

function drawHistory() {
  const svg = document.getElementById("documents-chart");
  const low = Math.min(...history);
  const high = Math.max(...history, low + 1);
  const x = (index) => 34 + (index * 280) / Math.max(1, history.length - 1);
  const y = (value) => 104 - ((value - low) * 92) / (high - low);
  const path = history.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  svg.replaceChildren(
    make("line", { class: "axis", x1: 34, y1: 104, x2: 314, y2: 104 }),
    make("text", { x: 0, y: 16 }, String(high)),
    make("text", { x: 0, y: 104 }, String(low)),
    make("path", { class: "line", d: history.length > 1 ? path : `${path}h280` }),
  );
  document.getElementById("documents-text").textContent = `${history.at(-1)} documents now.`;
}

/** Draw bars, each with a name; each shows a part of a whole, if it has one. */
function drawBars(id, bars, words) {
  const svg = document.getElementById(`${id}-chart`);
  const greatest = Math.max(1, ...bars.map((bar) => bar.whole ?? bar.part));
  const step = Math.min(36, Number(svg.getAttribute("viewBox").split(" ")[3]) / Math.max(1, bars.length));
  svg.replaceChildren(
    ...bars.flatMap(({ name, part, whole }, index) => {
      const top = index * step;
      const width = (value) => Math.max(1, (value / greatest) * 318).toFixed(1);
      const height = Math.max(3, step - 18).toFixed(1);
      const box = { x: 1, y: (top + 14).toFixed(1), height };
      return [
        make("text", { x: 1, y: (top + 10).toFixed(1) }, name),
        make("rect", { class: "whole", ...box, width: width(whole ?? part) }),
        make("rect", { class: "bar", ...box, width: width(part) }),
      ];
    }),
  );
  document.getElementById(`${id}-text`).textContent = words;
}

async function drawScopes() {
  const { body } = await ask("GET", "/v1.0/languages/by_scope");
  const bars = body.items.map((each) => ({ name: SCOPES[each.key] ?? String(each.key), part: each.value }));
  drawBars("scopes", bars, `${bars.map((bar) => `${bar.part} ${bar.name}`).join(", ")}.`);
}

async function drawDatabase() {
  const { body } = await ask("GET", "/v1.0/_metrics");
  const found = body.database;
  history.push(found.docCount);
  if (history.length > 60) history.shift();
  drawHistory();
  const bars = [{ name: "documents", part: found.dataSize ?? 0, whole: found.diskSize ?? 0 }];
  for (const [name, view] of Object.entries(found.views)) {
    bars.push({ name, part: view.dataSize ?? 0, whole: view.diskSize ?? 0 });
  }
  bars.sort((one, other) => other.whole - one.whole);
  const words = `${kilobytes(found.diskSize)} of documents, ${found.fragmentation ?? 0} % of it reclaimable by compaction;`;
  drawBars("sizes", bars.slice(0, 7), `${words} ${Object.keys(found.views).length} indexes.`);
}

export async function start() {
  try {
    await Promise.all([drawDatabase(), drawScopes()]);
    tell(status, "");
  } catch (problem) {
    tell(status, problem.message, true);
  }
  window.setTimeout(() => (document.visibilityState === "visible" ? start() : document.addEventListener("visibilitychange", start, { once: true })), EVERY_MS);
}
