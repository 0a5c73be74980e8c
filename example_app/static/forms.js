// Reads and fills a form for a fruit, and shows the service's errors beside its inputs.

// What the service says of these is meant for programs.
const WORDS = {
  minLength: "This must not be empty.",
  required: "This must not be empty.",
  type: "This must be a whole number.",
};

/** Read the fruit from a form; empty inputs are left out. */
export function read(form) {
  const fruit = {};
  for (const input of form.querySelectorAll("input[name]")) {
    const text = input.value.trim();
    if (text === "" && !input.required) continue;
    // Text that is not a number is sent as it is: the service says what is wrong with it.
    fruit[input.name] = input.name === "weight" && /^-?\d+$/.test(text) ? Number(text) : text;
  }
  return fruit;
}

export function fill(form, fruit) {
  for (const input of form.querySelectorAll("input[name]")) input.value = fruit[input.name] ?? "";
  clear(form);
}

export function clear(form) {
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
  for (const error of form.querySelectorAll(".error")) error.remove();
}

/** Put each error beside the input that its pointer names; return the other errors as text. */
export function show(form, problem) {
  clear(form);
  const rest = [];
  let first = null;
  for (const { pointer, keyword, detail } of problem.errors) {
    const input = [...form.querySelectorAll("input[name]")].find((each) => `/${each.name}` === pointer);
    if (!input) {
      rest.push(`${pointer} ${detail}`);
      continue;
    }
    const error = document.createElement("span");
    error.className = "error";
    error.id = `${form.id}-${input.name}-error`;
    error.textContent = WORDS[keyword] ?? detail.replace(/^Must /, "This must ");
    input.after(error);
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", error.id);
    first ??= input;
  }
  first?.focus();
  return problem.errors.length ? rest.join(" ") : problem.message;
}

/** Do some work while the form's button cannot be pressed again; return what the work returns. */
export async function busy(form, work) {
  const button = form.querySelector("button[type=submit]");
  const focused = button === document.activeElement;
  button.disabled = true;
  try {
    return await work();
  } finally {
    button.disabled = false;
    if (focused) button.focus();
  }
}
