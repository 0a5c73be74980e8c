// Calls back whenever a collection changes: the service tells so as it happens, in a stream of events.

const AGAIN_MS = 2000;
const TOGETHER_MS = 200; // changes that come within this time are one

/**
 * Call `changed` after changes of the collection at `path`, and when the connection comes back or goes.
 * The promise is kept once changes are told, or cannot be: what is loaded after that misses none.
 */
export function follow(path, changed) {
  let timer = 0;
  const soon = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      if (document.visibilityState === "visible") changed();
    }, TOGETHER_MS);
  };
  for (const event of ["offline", "online"]) window.addEventListener(event, soon);
  document.addEventListener("visibilitychange", soon);
  return new Promise((resolve) => {
    let begun = false;
    const begin = () => {
      // The browser connects again by itself, and says which event was the last; only a refusal ends that.
      const events = new EventSource(`${path}/_changes`);
      for (const kind of ["change", "delete", "gone", "reset"]) events.addEventListener(kind, soon);
      for (const kind of ["open", "error"]) {
        events.addEventListener(kind, () => {
          if (begun) soon();
          begun = true;
          resolve();
        });
      }
      events.addEventListener("error", () => {
        if (events.readyState === EventSource.CLOSED) window.setTimeout(begin, AGAIN_MS);
      });
    };
    begin();
  });
}
