// The files of a fruit: pictures that are added, shown, replaced and deleted, and a sound or film that is played.

import { Problem, ask, make, tell } from "./api.js";

const dialog = document.getElementById("files");
const pictures = document.getElementById("pictures");
const clip = document.getElementById("clip");
const status = dialog.querySelector(".status");

let fruit = null; // the address of the one that is shown

/** Send a file as it is; throw what the service answers as a Problem. */
async function send(method, path, file, headers = {}) {
  const type = file.type || "application/octet-stream";
  const answer = await fetch(path, { method, body: file, headers: { "Content-Type": type, ...headers } });
  if (answer.ok) return;
  throw new Problem(answer.status, await answer.json().catch(() => null));
}

/** Do some work with the files, show what is there afterwards, and say what went wrong. */
async function change(work, done) {
  try {
    await work();
    tell(status, done);
  } catch (problem) {
    tell(status, problem.status === 412 ? "Somebody else has just replaced it. Please look again." : problem.message, true);
  }
  await render();
}

// The address of a file stays the same when its bytes change; its entity tag makes the browser load them again.
const source = (file) => `${file._href}#${encodeURIComponent(file.digest)}`;

function picture(name, file) {
  const replacing = make("input", { type: "file", accept: "image/*", "aria-label": `Replace ${name}` });
  replacing.addEventListener("change", () => {
    const [chosen] = replacing.files;
    if (chosen) change(() => send("PUT", file._href, chosen, { "If-Match": file._etag }), `${name} was replaced.`);
  });
  const remove = () => change(() => ask("DELETE", file._href, { ifMatch: file._etag }), `${name} was deleted.`);
  return make(
    "li",
    {},
    make("img", { src: source(file), alt: name, height: 120 }),
    make("span", {}, `${name}, ${Math.ceil(file.length / 1000)} kB`),
    replacing,
    make("button", { type: "button", class: "quiet", "aria-label": `Delete ${name}`, onclick: remove }, "Delete"),
  );
}

async function render() {
  const { body } = await ask("GET", fruit);
  pictures.replaceChildren(...Object.entries(body.photos ?? {}).map(([name, file]) => picture(name, file)));
  clip.replaceChildren();
  if (body.clip) {
    const kind = body.clip.content_type.startsWith("audio/") ? "audio" : "video";
    clip.append(make(kind, { controls: true, preload: "metadata", src: source(body.clip), "aria-label": "Sound or film" }));
  }
}

/** Show the files of a fruit. */
export async function openFiles(shown, name) {
  fruit = shown._href;
  document.getElementById("files-title").textContent = `Files of ${name}`;
  tell(status, "");
  await render();
  dialog.showModal();
}

export function start() {
  const [adding, playing] = [document.getElementById("new-picture"), document.getElementById("new-clip")];
  adding.addEventListener("change", async () => {
    const form = new FormData();
    for (const file of adding.files) form.append("photos", file);
    adding.value = "";
    await change(async () => {
      const answer = await fetch(`${fruit}/photos`, { method: "POST", body: form });
      if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
    }, "The picture was added.");
  });
  playing.addEventListener("change", () => {
    const [file] = playing.files;
    if (file) change(() => send("PUT", `${fruit}/clip`, file), "It was stored.");
    playing.value = "";
  });
  dialog.addEventListener("close", () => clip.replaceChildren()); // which stops it
}
