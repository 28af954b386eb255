// The dead-letter queue. Needs the admin token, which is stored for this tab only.

import { get, request } from './api.js';
import { button, byId, confirmDialog, el, fill, row, setText, withBusy } from './dom.js';
import { emit } from './event-bus.js';
import { instant, number, plural, reason, words } from './format.js';
import { poll } from './poll.js';
import { clearProblem, showProblem } from './problem.js';

const QUEUE = 'admin/queues/event-processing/dlq';
const STORAGE_KEY = 'tallymill.token';
/** Time between two reads of the list, in which retried jobs may have failed again. */
const INTERVAL_MS = 3000;
const COLUMNS = [
  { label: 'Job', kind: 'head' }, { label: 'Batch' }, { label: 'Why it failed', kind: 'wide' }, { label: 'Attempts', kind: 'num' },
  { label: 'Failed at' }, { label: 'Actions', kind: 'row-actions' },
];

const problem = byId('dlq-problem');
const status = byId('dlq-status');
const node = byId('dlq-table');
const body = node.tBodies[0];
const more = byId('dlq-more');

let token = loadToken();
let next = null;
let stopPolling = () => {};
/** The first page as it was last shown, as text. */
let lastShown = '';
/** Whether the user typed a token. A stored token that is refused on load must not move the focus. */
let isTyped = false;

export function start() {
  fill(node.tHead.rows[0], COLUMNS.map(({ label, kind }) => el('th', {
    role: 'columnheader', scope: 'col', class: kind === 'num' ? 'num' : null,
  }, label === 'Actions' ? el('span', { class: 'unseen' }, label) : label)));
  byId('token-form').addEventListener('submit', event => {
    event.preventDefault();
    const typed = byId('token').value.trim();
    if (typed === '') {
      setText(status, 'Type the token first.');
      byId('token').focus();
      return;
    }
    withBusy(event.submitter ?? event.target, () => signIn(typed));
  });
  byId('token-forget').addEventListener('click', () => {
    forgetToken();
    clearProblem(problem);
    setText(status, 'The token is deleted from this tab.');
    byId('token').focus();
  });
  byId('dlq-refresh').addEventListener('click', event => withBusy(event.currentTarget, () => run(reload, '')));
  byId('retry-all').addEventListener('click', event => withBusy(event.currentTarget, retryAll));
  more.addEventListener('click', () => withBusy(more, () => run(loadMore, '')));
  if (token) run(reload, '');
}

/** Reads the list again, unless it is hidden. */
export function refresh() {
  if (token && !byId('dlq-actions').hidden) run(reload);
}

async function signIn(typed) {
  token = typed;
  isTyped = true;
  if (await run(reload, '')) byId('dlq-title').focus({ preventScroll: true });
}

/** Keeps count and list those of the server: a retried job may fail again at any time. */
function keepCurrent() {
  stopPolling();
  stopPolling = poll(async signal => {
    const page = await get(QUEUE, { limit: 50 }, { token, signal });
    if (signal.aborted) return false;
    show(page);
    return true;
  }, {
    interval: INTERVAL_MS,
    onError: (error, wait) => {
      if (error.status === 401 || error.status === 403 || isDisabled(error)) forgetToken();
      showProblem(problem, error, token ? { advised: `Next attempt in ${Math.ceil(wait / 1000)} s.` } : adviceFor(error));
    },
  });
}

/** Runs `work` and shows its status text or error. Forgets a refused token. Returns whether `work` succeeded. */
async function run(work, done) {
  clearProblem(problem);
  try {
    const message = await work();
    if (done !== undefined || message) setText(status, message ?? done);
    return true;
  } catch (error) {
    setText(status, '');
    if (error.status === 401 || error.status === 403 || isDisabled(error)) forgetToken();
    if (error.status === 401 && isTyped) byId('token').focus();
    showProblem(problem, error, adviceFor(error));
    return false;
  }
}

/** Whether the server has no admin token. Other 503 replies are retryable. */
const isDisabled = error => error.status === 503 && !error.problem?.retryable;

function adviceFor(error) {
  if (error.status === 401) return { advised: 'The token was refused. Type it again: it is the value of ADMIN_TOKEN with which the server was started.' };
  if (isDisabled(error)) {
    return { advised: 'The server has no ADMIN_TOKEN. Set one in its environment or .env, restart it, and type the same token here.' };
  }
  return {};
}

async function reload() {
  show(await get(QUEUE, { limit: 50 }, { token }));
  keepCurrent();
}

async function loadMore() {
  const page = await get(QUEUE, { limit: 50, cursor: next }, { token });
  next = page.next_cursor ?? null;
  body.append(...page.jobs.map(letterRow));
  more.hidden = next === null;
}

/** Shows the count, and the first page unless it is shown already: rows that stay keep focus and open details. */
function show({ jobs, failed_count: count, next_cursor: cursor }) {
  storeToken();
  byId('token-form').hidden = true;
  byId('token').value = '';
  byId('dlq-actions').hidden = false;
  byId('retry-all').hidden = jobs.length === 0;
  const badge = byId('dlq-count');
  badge.hidden = count === 0;
  badge.className = 'badge is-failed';
  setText(badge, number(count));
  byId('dlq-empty').hidden = jobs.length > 0;
  node.hidden = jobs.length === 0;
  const content = JSON.stringify(jobs);
  if (content === lastShown) return;
  lastShown = content;
  next = cursor ?? null;
  more.hidden = next === null;
  fill(body, jobs.map(letterRow));
}

function letterRow(job) {
  const batch = job.data?.batchId;
  const name = `${words(job.kind)}${batch ? ` of batch ${batch}` : ''}`;
  return row(COLUMNS, [
    [words(job.kind), el('code', { class: 'muted small block' }, job.id)],
    batch ? el('a', { href: `#batch/${encodeURIComponent(batch)}` }, el('code', {}, batch)) : '–',
    [el('span', { class: 'wrong' }, reason(job.failedReason) || 'No reason was recorded.'), job.history?.length ? historyDetails(job.history) : null].filter(Boolean),
    number(job.attempts), instant(job.timestamp),
    [
      button('Retry', event => withBusy(event.currentTarget, () => apply(job, 'retry')), { class: 'retry', 'aria-label': `Retry ${name}` }),
      button('Discard', event => withBusy(event.currentTarget, () => discard(job, name)), { class: 'discard quiet', 'aria-label': `Discard ${name}` }),
    ],
  ], { dataset: { job: job.id } });
}

function historyDetails(history) {
  return el('details', { class: 'cells' },
    el('summary', {}, plural(history.length, 'step')),
    el('ol', { class: 'plain' }, history.map(({ at, to, attempt, worker, reason: why }) => el('li', {},
      instant(at, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit', second: '2-digit' }), ` ${to}`,
      attempt ? `, attempt ${attempt}` : '', worker ? ` by ${worker}` : '', why ? `: ${reason(why)}` : ''))));
}

async function discard(job, name) {
  const confirmed = await confirmDialog({
    title: 'Discard this job?',
    text: [`${name} will not be retried automatically.`, 'The batch stays unchanged and can be processed again or undone.'],
    yes: 'Discard the job',
    no: 'Cancel',
  });
  if (confirmed) await apply(job, 'discard');
}

function apply(job, action) {
  return run(async () => {
    await request('POST', `${QUEUE}/${encodeURIComponent(job.id)}/${action}`, { token });
    await reload();
    emit('batches-changed', job.data?.batchId);
    byId('dlq-title').focus({ preventScroll: true });
    return action === 'retry' ? 'The job is queued again.' : 'The job is discarded.';
  });
}

function retryAll() {
  return run(async () => {
    const { job_id: job } = await request('POST', `${QUEUE}/retry`, { token });
    const end = await settled(job);
    await reload();
    emit('batches-changed');
    return end.state === 'completed'
      ? 'The jobs are queued again. Those that fail again return to this list.'
      : `The retries ended as ${words(end.state)}. ${reason(end.last_error)}`;
  });
}

/** Returns a job once it is neither queued nor running, and shows its progress until then. */
function settled(id) {
  return new Promise(resolve => {
    poll(async () => {
      const job = await get(`jobs/${encodeURIComponent(id)}`);
      const { done = 0, total = 0 } = job.progress ?? {};
      setText(status, total ? `Queueing jobs again: ${number(done)} of ${number(total)}.` : 'Queueing jobs again.');
      if (job.state === 'queued' || job.state === 'running') return true;
      resolve(job);
      return false;
    }, { interval: 500, onError: (error, wait) => setText(status, `No answer. Next attempt in ${Math.ceil(wait / 1000)} s.`) });
  });
}

// Session storage may be disabled. The token then lasts until the page is closed.
function loadToken() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

function storeToken() {
  try {
    sessionStorage.setItem(STORAGE_KEY, token);
  } catch {
    // The token stays in memory.
  }
}

function forgetToken() {
  token = null;
  lastShown = '';
  stopPolling();
  try {
    sessionStorage.removeItem(STORAGE_KEY);
  } catch {
    // The token was in memory only.
  }
  for (const id of ['dlq-actions', 'dlq-count', 'dlq-empty', 'dlq-table', 'dlq-more']) byId(id).hidden = true;
  fill(body);
  byId('token-form').hidden = false;
  byId('token').value = '';
}
