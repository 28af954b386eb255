// Dead letters, for whoever holds the administrator's token. The token lives in this tab only.

import { get, request } from './api.js';
import { emit } from './bus.js';
import { ask, busy, button, byId, el, fill, row, say } from './dom.js';
import { instant, number, plural, reason, words } from './format.js';
import { clearProblem, showProblem } from './problem.js';

const QUEUE = 'admin/queues/event-processing/dlq';
const KEPT_AS = 'tallymill.token';
const COLUMNS = [
  { label: 'Job', kind: 'head' }, { label: 'Batch' }, { label: 'Why it failed', kind: 'wide' }, { label: 'Tries', kind: 'num' },
  { label: 'Failed at' }, { label: 'Actions', kind: 'row-actions' },
];

const problem = byId('dlq-problem');
const status = byId('dlq-status');
const node = byId('dlq-table');
const body = node.tBodies[0];
const more = byId('dlq-more');

let token = recall();
let next = null;
/** Whether a token was typed here: a kept one that went stale must not pull the focus on loading. */
let asked = false;

export function start() {
  fill(node.tHead.rows[0], COLUMNS.map(({ label, kind }) => el('th', {
    role: 'columnheader', scope: 'col', class: kind === 'num' ? 'num' : null,
  }, label === 'Actions' ? el('span', { class: 'unseen' }, label) : label)));
  byId('token-form').addEventListener('submit', event => {
    event.preventDefault();
    const typed = byId('token').value.trim();
    if (typed === '') {
      say(status, 'Type the token first.');
      byId('token').focus();
      return;
    }
    busy(event.submitter ?? event.target, () => open(typed));
  });
  byId('token-forget').addEventListener('click', () => {
    forget();
    clearProblem(problem);
    say(status, 'The token is forgotten.');
    byId('token').focus();
  });
  byId('dlq-refresh').addEventListener('click', event => busy(event.currentTarget, () => act(reload, '')));
  byId('retry-all').addEventListener('click', event => busy(event.currentTarget, retryAll));
  more.addEventListener('click', () => busy(more, () => act(loadMore, '')));
  if (token) act(reload, '');
}

/** Reads the list again if it is on show and nobody is in the middle of it. */
export function refresh() {
  if (token && !byId('dlq-actions').hidden && !node.contains(document.activeElement)) act(reload);
}

async function open(typed) {
  token = typed;
  asked = true;
  if (await act(reload, '')) byId('dlq-title').focus({ preventScroll: true });
}

/** Does `work` with the token; a token that is refused is forgotten. Answers whether it went well. */
async function act(work, done) {
  clearProblem(problem);
  try {
    const said = await work();
    if (done !== undefined || said) say(status, said ?? done);
    return true;
  } catch (fault) {
    say(status, '');
    if (fault.status === 401 || fault.status === 403 || noAdministrator(fault)) forget();
    if (fault.status === 401 && asked) byId('token').focus();
    showProblem(problem, fault, adviceFor(fault));
    return false;
  }
}

/** A server without a token of its own, as against one whose store is away for a moment. */
const noAdministrator = fault => fault.status === 503 && !fault.problem?.retryable;

function adviceFor(fault) {
  if (fault.status === 401) return { advised: 'The token was refused. Type it again: it is the value of ADMIN_TOKEN the server was started with.' };
  if (noAdministrator(fault)) {
    return { advised: 'The server has no ADMIN_TOKEN. Set one in its environment or .env, start it again, and type the same token here.' };
  }
  return {};
}

async function reload() {
  show(await get(QUEUE, { limit: 50 }, { token }));
}

async function loadMore() {
  const page = await get(QUEUE, { limit: 50, cursor: next }, { token });
  next = page.next_cursor ?? null;
  body.append(...page.jobs.map(letterRow));
  more.hidden = next === null;
}

function show({ jobs, failed_count: count, next_cursor: cursor }) {
  keep();
  next = cursor ?? null;
  byId('token-form').hidden = true;
  byId('token').value = '';
  byId('dlq-actions').hidden = false;
  byId('retry-all').hidden = jobs.length === 0;
  const badge = byId('dlq-count');
  badge.hidden = jobs.length === 0;
  badge.className = 'badge is-failed';
  say(badge, number(count ?? jobs.length));
  byId('dlq-empty').hidden = jobs.length > 0;
  node.hidden = jobs.length === 0;
  more.hidden = next === null;
  fill(body, jobs.map(letterRow));
}

function letterRow(job) {
  const batch = job.data?.batchId;
  const name = `${words(job.kind)}${batch ? ` of batch ${batch}` : ''}`;
  return row(COLUMNS, [
    [words(job.kind), el('code', { class: 'muted small block' }, job.id)],
    batch ? el('a', { href: `#batch/${encodeURIComponent(batch)}` }, el('code', {}, batch)) : '–',
    [el('span', { class: 'wrong' }, reason(job.failedReason) || 'No reason was kept.'), job.history?.length ? past(job.history) : null].filter(Boolean),
    number(job.attempts), instant(job.timestamp),
    [
      button('Retry', event => busy(event.currentTarget, () => settle(job, 'retry')), { class: 'retry', 'aria-label': `Retry ${name}` }),
      button('Discard', event => busy(event.currentTarget, () => discard(job, name)), { class: 'discard quiet', 'aria-label': `Discard ${name}` }),
    ],
  ], { dataset: { job: job.id } });
}

function past(history) {
  return el('details', { class: 'cells' },
    el('summary', {}, plural(history.length, 'step')),
    el('ol', { class: 'plain' }, history.map(({ at, to, attempt, worker, reason: why }) => el('li', {},
      instant(at, { dateStyle: 'short', timeStyle: 'medium' }), ` ${to}`,
      attempt ? `, try ${attempt}` : '', worker ? ` by ${worker}` : '', why ? `: ${reason(why)}` : ''))));
}

async function discard(job, name) {
  const sure = await ask({
    title: 'Discard this job?',
    text: [`${name} will not be tried again by itself.`, 'The batch stays as it is and can be processed again or undone.'],
    yes: 'Discard the job',
    no: 'Keep it',
  });
  if (sure) await settle(job, 'discard');
}

function settle(job, what) {
  return act(async () => {
    await request('POST', `${QUEUE}/${encodeURIComponent(job.id)}/${what}`, { token });
    await reload();
    emit('batches-changed', job.data?.batchId);
    byId('dlq-title').focus({ preventScroll: true });
    return what === 'retry' ? 'The job is queued again.' : 'The job is discarded.';
  });
}

function retryAll() {
  return act(async () => {
    const { retried } = await request('POST', `${QUEUE}/retry`, { token });
    await reload();
    emit('batches-changed');
    return `${plural(retried ?? 0, 'job is', 'jobs are')} queued again.`;
  });
}

// Storage may be switched off; the token then lasts as long as the page.
function recall() {
  try {
    return sessionStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEPT_AS, token);
  } catch {
    // Kept in memory.
  }
}

function forget() {
  token = null;
  try {
    sessionStorage.removeItem(KEPT_AS);
  } catch {
    // It was only in memory.
  }
  for (const id of ['dlq-actions', 'dlq-count', 'dlq-empty', 'dlq-table', 'dlq-more']) byId(id).hidden = true;
  fill(body);
  byId('token-form').hidden = false;
  byId('token').value = '';
}
