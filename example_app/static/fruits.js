// The table of fruits: it shows changes as they happen, and loses no update.

import { ask, make, tell } from "./api.js";
import { openFiles, start as startFiles } from "./files.js";
import { busy, clear, fill, read, show } from "./forms.js";
import { GONE, attempt, merge } from "./merging.js";

const PATH = "v1.0/fruits";

const rows = document.getElementById("fruit-rows");
const count = document.getElementById("fruits-count");
const status = document.getElementById("fruits-status");
const edit = document.getElementById("edit");
const editForm = document.getElementById("edit-form");
const confirm = document.getElementById("confirm");

const shown = new Map(); // the entity tag and the row, by address
let pageTag = null;
let failed = false; // the status line tells of a failed refresh
let editing = null; // the fruit as it was when the form was opened

const named = (fruit) => fruit.name || `a ${fruit.color} fruit`;

function cells(fruit) {
  // A color is any text; what the browser does not know as one has an empty swatch.
  const paint = CSS.supports("color", fruit.color) ? fruit.color : "none";
  const swatch = make("svg", { class: "swatch", viewBox: "0 0 16 16", "aria-hidden": "true" });
  swatch.append(make("rect", { x: 1, y: 1, width: 14, height: 14, rx: 3, fill: paint }));
  const changed = new Date(fruit.updated_on).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return [
    make("td", {}, fruit.name || "–"),
    make("td", {}, swatch, fruit.color),
    make("td", { class: "number" }, fruit.weight === undefined || fruit.weight === null ? "–" : `${fruit.weight} g`),
    make("td", {}, make("time", { datetime: fruit.updated_on }, changed)),
    make(
      "td",
      { class: "actions" },
      make("button", { type: "button", class: "quiet", "aria-label": `Change ${named(fruit)}`, onclick: () => open(fruit) }, "Change"),
      make("button", { type: "button", class: "quiet", "aria-label": `Files of ${named(fruit)}`, onclick: () => openFiles(fruit, named(fruit)) }, "Files"),
      make("button", { type: "button", class: "quiet", "aria-label": `Delete ${named(fruit)}`, onclick: () => remove(fruit) }, "Delete"),
    ),
  ];
}

function render(items) {
  const wanted = new Set(items.map((fruit) => fruit._href));
  for (const [href, known] of shown) {
    if (!wanted.has(href)) {
      known.row.remove();
      shown.delete(href);
    }
  }
  let before = rows.firstElementChild;
  for (const fruit of items) {
    let known = shown.get(fruit._href);
    if (!known) {
      known = { etag: null, row: make("tr", { "data-href": fruit._href }) };
      shown.set(fruit._href, known);
    }
    if (known.etag !== fruit._etag) {
      const focused = known.row.contains(document.activeElement)
        ? [...known.row.querySelectorAll("button")].indexOf(document.activeElement)
        : -1;
      known.row.replaceChildren(...cells(fruit));
      if (focused >= 0) known.row.querySelectorAll("button")[focused].focus();
      known.row.classList.toggle("fresh", pageTag !== null);
      known.etag = fruit._etag;
    }
    if (known.row === before) before = before.nextElementSibling;
    else rows.insertBefore(known.row, before);
  }
}

export async function refresh() {
  try {
    const answer = await ask("GET", `${PATH}?sort=-created_on&limit=50`, { ifNoneMatch: pageTag });
    if (answer.status === 200) {
      render(answer.body.items);
      pageTag = answer.etag;
      const { length } = answer.body.items;
      tell(count, length === 0 ? "There are no fruits yet." : `${length}${answer.body.next ? " or more" : ""} ${length === 1 ? "fruit" : "fruits"}.`);
    }
    if (failed) tell(status, "");
    failed = false;
  } catch (problem) {
    failed = problem.status !== 0; // of an outage there is a notice of its own
    if (failed) tell(status, problem.message, true);
  }
}

function open(fruit) {
  editing = fruit;
  fill(editForm, fruit);
  tell(editForm.querySelector(".status"), "");
  edit.showModal();
}

async function save(event) {
  event.preventDefault();
  clear(editForm);
  const before = editing;
  const wanted = read(editForm);
  try {
    const write = () => ask("PUT", before._href, { body: wanted, ifMatch: before._etag });
    const other = await busy(editForm, () => attempt(before._href, write));
    edit.close();
    tell(status, other === null ? `${named(wanted)} was saved.` : await settle(before, wanted, other));
  } catch (problem) {
    const place = edit.open ? editForm.querySelector(".status") : status;
    tell(place, edit.open ? show(editForm, problem) : problem.message, true);
    return;
  }
  await refresh();
}

/** Settle an edit that came after somebody else's change or deletion; return what became of it. */
async function settle(before, yours, other) {
  let wanted = yours;
  if (other !== GONE) {
    const merging = await merge(before, yours, other);
    if (merging.saved !== GONE) return merging.saved ? "The merge was saved." : "The other change was kept.";
    wanted = merging.wanted;
  }
  const again = await confirmed({
    title: "Somebody deleted this fruit",
    text: `Your change to ${named(before)} could not be saved, because the fruit is gone. It can be created again, with your change.`,
    yes: "Create it again",
    no: "Discard my change",
  });
  if (!again) return "Your change was discarded.";
  await ask("POST", PATH, { body: wanted });
  return `${named(wanted)} was created again.`;
}

/** Ask the reader a question; return whether the answer is yes. */
async function confirmed({ title, text, yes, no, danger = false }) {
  const [refuse, agree] = confirm.querySelectorAll("button");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  refuse.textContent = no;
  agree.textContent = yes;
  agree.classList.toggle("danger", danger);
  confirm.returnValue = "no";
  confirm.showModal();
  await new Promise((resolve) => confirm.addEventListener("close", resolve, { once: true }));
  return confirm.returnValue === "yes";
}

async function remove(fruit) {
  const name = named(fruit);
  if (!(await confirmed({ title: "Delete this fruit?", text: name, yes: "Delete", no: "Cancel", danger: true }))) return;
  try {
    const other = await attempt(fruit._href, () => ask("DELETE", fruit._href, { ifMatch: fruit._etag }));
    if (other === null) tell(status, `${name} was deleted.`);
    else if (other === GONE) tell(status, `${name} had been deleted already.`);
    else tell(status, `${name} was changed in the meantime, so it was not deleted.`, true);
  } catch (problem) {
    tell(status, problem.message, true);
  }
  await refresh();
}

async function create(event) {
  event.preventDefault();
  const form = event.currentTarget;
  clear(form);
  try {
    const made = await busy(form, () => ask("POST", PATH, { body: read(form) }));
    form.reset();
    tell(status, `${named(made.body)} was added.`);
    form.querySelector("input").focus();
  } catch (problem) {
    tell(status, show(form, problem) || "The fruit was not added.", true);
  }
  await refresh();
}

export function start() {
  document.getElementById("new-fruit").addEventListener("submit", create);
  editForm.addEventListener("submit", save);
  startFiles();
  return refresh();
}
