// Calls back whenever a collection changes: the service tells so as it happens, in a stream of events.

const AGAIN_MS = 2000;
const TOGETHER_MS = 200; // changes that come within this time are one

/** Call `changed` after changes of the collection at `path`, and when the connection comes or goes. */
export function follow(path, changed) {
  let timer = 0;
  const soon = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      if (document.visibilityState === "visible") changed();
    }, TOGETHER_MS);
  };
  const begin = () => {
    // The browser connects again by itself, and says which event was the last; only a refusal ends that.
    const events = new EventSource(`${path}/_changes`);
    for (const kind of ["open", "change", "delete", "gone", "reset"]) events.addEventListener(kind, soon);
    events.addEventListener("error", () => {
      soon();
      if (events.readyState === EventSource.CLOSED) window.setTimeout(begin, AGAIN_MS);
    });
  };
  begin();
  for (const event of ["offline", "online"]) window.addEventListener(event, soon);
  document.addEventListener("visibilitychange", soon);
}
