// Merges two people's changes to one fruit: keeps what each changed, and asks the reader where they differ.

import { ask, make, tell } from "./api.js";

const PROPERTIES = [["name", "Name"], ["color", "Color"], ["weight", "Weight"]];

const dialog = document.getElementById("merge");
const form = document.getElementById("merge-form");

const text = (value) => (value === undefined || value === null || value === "" ? "–" : String(value));
const same = (one, other) => text(one) === text(other);

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

/** Offer the merge until it is saved or cancelled; return whether it was saved. */
export async function merge(before, yours) {
  let latest = await ask("GET", before._href);
  render(before, yours, latest.body);
  tell(form.querySelector(".status"), "");
  form.addEventListener("change", mark);
  return new Promise((resolve) => {
    const save = async (event) => {
      event.preventDefault();
      try {
        await ask("PUT", before._href, { body: merged(yours, latest.body), ifMatch: latest.etag });
        finish(true);
      } catch (problem) {
        tell(form.querySelector(".status"), problem.message, true);
        if (problem.status === 412) {
          latest = await ask("GET", before._href);
          render(before, yours, latest.body);
        }
      }
    };
    const given = () => finish(false);
    const finish = (saved) => {
      form.removeEventListener("submit", save);
      dialog.removeEventListener("close", given);
      if (dialog.open) dialog.close();
      resolve(saved);
    };
    form.addEventListener("submit", save);
    dialog.addEventListener("close", given);
    dialog.showModal();
  });
}
