// Repeats a request until its result is final.

const MAX_INTERVAL_MS = 30_000;

/**
 * Calls `request` until it returns false. Waits `interval` milliseconds between calls, twice as long after each
 * consecutive failure (reported to `onError`), at least as long as a 429 asks for. Pauses while the page is hidden.
 * Returns a function that stops the polling.
 */
export function poll(request, { interval, onError = () => {} }) {
  const stopped = new AbortController();
  let timer = 0;
  let failures = 0;
  let running = false;

  async function run() {
    if (running || stopped.signal.aborted || document.hidden) return;
    running = true;
    let wait = interval;
    try {
      if (await request(stopped.signal) === false) stop();
      failures = 0;
    } catch (error) {
      if (stopped.signal.aborted) return;
      failures += 1;
      wait = Math.min(interval * 2 ** failures, MAX_INTERVAL_MS);
      if (error.retryAfter) wait = Math.max(wait, error.retryAfter * 1000);
      onError(error, wait);
    } finally {
      running = false;
    }
    if (!stopped.signal.aborted) timer = setTimeout(run, wait);
  }

  function resume() {
    clearTimeout(timer);
    if (!document.hidden) run();
  }

  function stop() {
    stopped.abort();
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', resume);
  }

  document.addEventListener('visibilitychange', resume);
  run();
  return stop;
}
