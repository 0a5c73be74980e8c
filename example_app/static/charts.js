// Three small charts of the metrics. Each bar has its value beside it, and a text below each chart sums it up.

import { ask, make, tell } from "./api.js";

const SCOPES = { I: "individual", M: "macrolanguages", S: "special" };
const status = document.getElementById("metrics-status");
const history = [];

const number = (value) => value.toLocaleString();

function size(bytes) {
  if (bytes < 999_500) return `${number(Math.ceil(bytes / 1000))} KB`;
  return `${(bytes / 1e6).toLocaleString([], { minimumFractionDigits: 1, maximumFractionDigits: 1 })} MB`;
}

function drawHistory() {
  const svg = document.getElementById("documents-chart");
  const counts = history.map((each) => each.count);
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  const left = 10 + 7 * number(high).length; // beside the longest number
  const x = (index) => left + (index * (318 - left)) / Math.max(1, history.length - 1);
  // A count that has never changed is a line in the middle.
  const y = (value) => (high === low ? 58 : 104 - ((value - low) * 92) / (high - low));
  const path = counts.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const labels = high === low ? [high] : [high, low];
  svg.replaceChildren(
    make("line", { class: "axis", x1: left, y1: 108, x2: 318, y2: 108 }),
    ...labels.map((value) => make("text", { x: 0, y: y(value) + 4 }, number(value))),
    make("text", { x: left, y: 126 }, history[0].time),
    make("text", { x: 318, y: 126, "text-anchor": "end" }, "now"),
    make("path", { class: "line", d: history.length > 1 ? path : `${path}H318` }),
  );
  document.getElementById("documents-text").textContent = `${number(counts.at(-1))} documents now.`;
}

/** Draw a line for each thing: its name, which may be broken at underscores, its value, and a bar for each part. */
function drawBars(id, things, words) {
  const greatest = Math.max(1, ...things.flatMap(({ parts }) => Object.values(parts)));
  const items = things.map(({ name, value, parts }) => {
    const height = 10 / Object.keys(parts).length;
    const svg = make("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    Object.entries(parts).forEach(([kind, part], index) => {
      const width = Math.max(0.5, (100 * part) / greatest).toFixed(2);
      svg.append(make("rect", { class: `bar ${kind}`, x: 0, y: index * height, width, height: height - 0.5 }));
    });
    return make("li", {}, make("span", { class: "name" }, name.replaceAll("_", "_\u200b")), svg, make("span", { class: "value" }, value));
  });
  document.getElementById(`${id}-chart`).replaceChildren(...items);
  document.getElementById(`${id}-text`).textContent = words;
}

async function drawScopes() {
  const { body } = await ask("GET", "v1.0/languages/by_scope");
  const things = body.items.map(({ key, value }) => ({ name: SCOPES[key] ?? key, value: number(value), parts: { used: value } }));
  const words = things.map(({ name, value }) => `${value} ${name}`).join(", ");
  drawBars("scopes", things, words ? `${words}.` : "There are no languages yet.");
}

async function drawDatabase() {
  const { body } = await ask("GET", "v1.0/_metrics");
  const found = body.database;
  const time = new Date().toLocaleTimeString([], { timeStyle: "short" });
  history.push({ count: found.docCount, time });
  if (history.length > 60) history.shift();
  drawHistory();
  const all = [["documents", found], ...Object.entries(found.views)].map(([name, { dataSize, diskSize }]) => {
    const parts = { used: dataSize ?? 0, whole: diskSize ?? 0 };
    return { name, value: `${size(parts.used)} of ${size(parts.whole)}`, parts };
  });
  all.sort((one, other) => other.parts.whole - one.parts.whole);
  const words = `${size(found.diskSize ?? 0)} of documents, of which compaction would free ${found.fragmentation ?? 0} %`;
  drawBars("sizes", all, `${words}, and ${all.length - 1} indexes.`);
}

export async function draw() {
  try {
    await Promise.all([drawDatabase(), drawScopes()]);
    tell(status, "");
  } catch (problem) {
    if (problem.status !== 0) tell(status, problem.message, true); // of an outage there is a notice
  }
}
