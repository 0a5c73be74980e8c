// The table of languages: filtered, sorted, and loaded as you scroll.

import { ask, make, tell } from "./api.js";

const PATH = "v1.0/languages";
const form = document.getElementById("language-query");
const rows = document.getElementById("language-rows");
const status = document.getElementById("languages-status");
const more = document.getElementById("more-languages");

const ORDERS = {
  "": "by code",
  "-alpha_3": "by code, descending",
  scope: "by scope",
  "-scope": "by scope, descending",
  language_type: "by type",
  "-language_type": "by type, descending",
};

let next = null;
let total = 0;
const EVERY_MS = 2000;
const LOADING = "Loading the languages…";
let round = 0; // late answers to earlier requests are ignored

const word = (select, value) => [...form.elements[select].options].find((each) => each.value === value)?.text ?? value;

/** The sort orders that an index supports; the service would refuse the others. */
function orders(scope, type) {
  if (scope && !type) return ["", "language_type", "-language_type"];
  return scope || type ? [""] : Object.keys(ORDERS);
}

function offerOrders() {
  const { scope, language_type: type, sort } = form.elements;
  const wanted = sort.value;
  const offered = orders(scope.value, type.value);
  sort.replaceChildren(...offered.map((each) => make("option", { value: each }, ORDERS[each])));
  sort.value = offered.includes(wanted) ? wanted : "";
}

function address() {
  const query = new URLSearchParams({ limit: "50", count: "true" });
  for (const name of ["scope", "language_type", "sort"]) {
    if (form.elements[name].value) query.set(name, form.elements[name].value);
  }
  return `${PATH}?${query}`;
}

function row(language) {
  return make(
    "tr",
    {},
    make("td", {}, make("code", {}, language.alpha_3)),
    make("td", { lang: "" }, language.name),
    make("td", {}, word("scope", language.scope)),
    make("td", {}, word("language_type", language.language_type)),
  );
}

async function load(path, mine) {
  more.disabled = true;
  try {
    const { body } = await ask("GET", path);
    if (mine !== round) return;
    rows.append(...body.items.map(row));
    next = body.next ?? null;
    total = body.total ?? total;
    tell(status, found());
  } catch (problem) {
    if (mine === round) tell(status, problem.status === 0 ? LOADING : problem.message, problem.status !== 0);
    again(() => load(path, mine), mine);
  }
  more.disabled = false;
  more.hidden = next === null;
}

const filtered = () => form.elements.scope.value !== "" || form.elements.language_type.value !== "";

function found() {
  if (total > 0) return `${rows.childElementCount.toLocaleString()} of ${total.toLocaleString()} languages.`;
  return filtered() ? "No language matches this filter." : "There are no languages yet.";
}

/** Do something later, unless another query has begun by then. */
function again(work, mine) {
  window.setTimeout(() => mine === round && work(), EVERY_MS);
}

async function restart() {
  offerOrders();
  round += 1;
  rows.replaceChildren();
  next = null;
  document.getElementById("language-scroll").scrollTop = 0;
  await load(address(), round);
}

async function proceed() {
  if (next === null || more.disabled) return;
  await load(next, round);
}

/** Look again where there was nothing yet; what somebody reads is not taken from under their eyes. */
export function changed() {
  if (total === 0 && !filtered()) restart();
}

export function start() {
  form.addEventListener("change", () => {
    tell(status, LOADING);
    restart();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", proceed);
  const watcher = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && proceed(), {
    root: document.getElementById("language-scroll"),
    rootMargin: "200px",
  });
  watcher.observe(more);
  return restart();
}
