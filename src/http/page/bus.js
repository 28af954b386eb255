// Lets the parts of the page hear of each other's changes, and repeats questions while they matter.

const bus = new EventTarget();

export const on = (name, handler) => bus.addEventListener(name, event => handler(event.detail));
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));

const SLOWEST_MS = 30_000;

/**
 * Calls `step` again and again until it answers false. Waits `every` between calls, twice as long after each failure
 * in a row (told to `failed`), as long as a 429 asks for, and not at all while the page is hidden.
 * Answers a function that stops it.
 */
export function repeat(step, { every, failed = () => {} }) {
  const stopped = new AbortController();
  let timer = 0;
  let faults = 0;
  let running = false;

  async function turn() {
    if (running || stopped.signal.aborted || document.hidden) return;
    running = true;
    let wait = every;
    try {
      if (await step(stopped.signal) === false) stop();
      faults = 0;
    } catch (fault) {
      if (stopped.signal.aborted) return;
      faults += 1;
      wait = Math.min(every * 2 ** faults, SLOWEST_MS);
      if (fault.retryAfter) wait = Math.max(wait, fault.retryAfter * 1000);
      failed(fault, wait);
    } finally {
      running = false;
    }
    if (!stopped.signal.aborted) timer = setTimeout(turn, wait);
  }

  function resume() {
    clearTimeout(timer);
    if (!document.hidden) turn();
  }

  function stop() {
    stopped.abort();
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', resume);
  }

  document.addEventListener('visibilitychange', resume);
  turn();
  return stop;
}
