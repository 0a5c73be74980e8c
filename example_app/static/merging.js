// Merges two people's changes to one fruit: keeps what each changed, and asks the reader where they differ.

import { ask, make, tell } from "./api.js";
import { busy } from "./forms.js";

const PROPERTIES = [["name", "Name"], ["color", "Color"], ["weight", "Weight"]];

const dialog = document.getElementById("merge");
const form = document.getElementById("merge-form");

const text = (value) => (value === undefined || value === null || value === "" ? "–" : String(value));
/** What stands in the way of a write to a fruit that somebody has deleted. */
export const GONE = Symbol("deleted");

const same = (one, other) => text(one) === text(other);

/** Write to a fruit; return null if that was done, else the fruit as it is now, or GONE. */
export async function attempt(href, write) {
  try {
    await write();
    return null;
  } catch (problem) {
    if (problem.status !== 404 && problem.status !== 412) throw problem;
  }
  try {
    return await ask("GET", href);
  } catch (problem) {
    if (problem.status === 404) return GONE;
    throw problem;
  }
}

/** Choose the side that a property is taken from: the one that changed it, or "yours" if both did. */
function proposed(before, yours, theirs, name) {
  return same(yours[name], before[name]) ? "theirs" : "yours";
}

function render(before, yours, theirs) {
  const body = form.querySelector("tbody");
  body.replaceChildren();
  for (const [name, label] of PROPERTIES) {
    const choice = proposed(before, yours, theirs, name);
    const side = (which, value) => {
      const radio = make("input", { type: "radio", name, value: which, checked: choice === which });
      return make("td", {}, make("label", {}, radio, ` ${text(value)}`));
    };
    body.append(
      make(
        "tr",
        { role: "radiogroup", "aria-label": label },
        make("th", { scope: "row" }, label),
        make("td", {}, text(before[name])),
        side("yours", yours[name]),
        side("theirs", theirs[name]),
      ),
    );
  }
  mark();
}

function mark() {
  for (const radio of form.querySelectorAll("input[type=radio]")) radio.closest("td").classList.toggle("chosen", radio.checked);
}

function merged(yours, theirs) {
  const chosen = new FormData(form);
  const found = {};
  for (const [name] of PROPERTIES) {
    const value = (chosen.get(name) === "yours" ? yours : theirs)[name];
    if (value !== undefined && value !== null && value !== "") found[name] = value;
  }
  return found;
}

/**
 * Offer the merge until it is saved or cancelled, or the fruit is deleted.
 *
 * Returns whether it was saved, and what the reader chose.
 */
export async function merge(before, yours, latest) {
  const state = form.querySelector(".status");
  render(before, yours, latest.body);
  tell(state, "");
  form.addEventListener("change", mark);
  return new Promise((resolve) => {
    const save = async (event) => {
      event.preventDefault();
      const wanted = merged(yours, latest.body);
      const write = () => ask("PUT", before._href, { body: wanted, ifMatch: latest.etag });
      try {
        const other = await busy(form, () => attempt(before._href, write));
        if (other === null || other === GONE) return finish(other ?? true, wanted);
        latest = other;
        render(before, yours, latest.body);
        tell(state, "It was changed once more. These are the latest values.", true);
      } catch (problem) {
        tell(state, problem.message, true);
      }
    };
    const given = () => finish(false);
    const finish = (saved, wanted = null) => {
      form.removeEventListener("submit", save);
      dialog.removeEventListener("close", given);
      if (dialog.open) dialog.close();
      resolve({ saved, wanted });
    };
    form.addEventListener("submit", save);
    dialog.addEventListener("close", given);
    dialog.showModal();
  });
}
