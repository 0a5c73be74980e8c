// Calls the API: JSON in and out, entity tags, problem details.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `The service answered ${status}.`);
    this.status = status;
    this.errors = body?.errors ?? [];
  }
}

const outage = document.getElementById("outage");

/** Call the service; throw answers with a status of 400 or more as a Problem. */
export async function ask(method, path, { body, ifMatch, ifNoneMatch } = {}) {
  const headers = { Accept: "application/json, application/problem+json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (ifMatch) headers["If-Match"] = ifMatch;
  if (ifNoneMatch) headers["If-None-Match"] = ifNoneMatch;
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", // this page keeps the entity tags itself
    });
  } catch {
    outage.hidden = false;
    throw new Problem(0, { detail: "The service did not answer. Please look at the table before you try again." });
  }
  outage.hidden = true;
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(answer.status, null);
  }
  if (answer.status >= 400) throw new Problem(answer.status, value);
  return { status: answer.status, etag: answer.headers.get("ETag"), body: value };
}

/** Show a message in a status line. */
export function tell(element, text, wrong = false) {
  element.textContent = text;
  element.classList.toggle("wrong", wrong);
}

/** Create an element with attributes, properties and children; text is never parsed as HTML. */
export function make(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "text", "path", "line", "g", "title"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
