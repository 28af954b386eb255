// Recent batches, newest first, a page at a time; rows on show keep up with what happens to them.

import { batchPath, get, request } from './api.js';
import { emit, repeat } from './bus.js';
import { busy, button, byId, el, fill, row, say } from './dom.js';
import { fileName, instant, number } from './format.js';
import { clearProblem, showProblem } from './problem.js';
import { isActive, mayProcess, mayUndo, showBadge } from './status.js';
import { undo } from './undo.js';

const PAGE = 10;
const COLUMNS = [
  { label: 'File', kind: 'head' }, { label: 'Status' }, { label: 'Uploaded' }, { label: 'Received', kind: 'num' },
  { label: 'Stored', kind: 'num' }, { label: 'Rejected', kind: 'num' }, { label: 'Counted', kind: 'num' }, { label: 'Actions', kind: 'row-actions' },
];

const node = byId('batches-table');
const body = node.tBodies[0];
const problem = byId('batches-problem');
const older = byId('batches-older');
const newer = byId('batches-newer');

/** Cursors of the pages up to the one on show; the first page has none. */
let cursors = [null];
let next = null;
let rows = new Map();
let stop = () => {};

export function start() {
  fill(node.tHead.rows[0], COLUMNS.map(({ label, kind }) => el('th', {
    role: 'columnheader', scope: 'col', class: kind === 'num' ? 'num' : null,
  }, label === 'Actions' ? el('span', { class: 'unseen' }, label) : label)));
  byId('batches-status').addEventListener('change', () => turnTo([null]));
  byId('batches-form').addEventListener('submit', event => event.preventDefault());
  older.addEventListener('click', () => next && turnTo([...cursors, next]));
  newer.addEventListener('click', () => cursors.length > 1 && turnTo(cursors.slice(0, -1)));
  reload();
}

async function turnTo(pages) {
  cursors = pages;
  await reload();
}

/** Reads the page on show, and again every two seconds while one of its batches is being worked on. */
export function reload() {
  stop();
  let troubled = false;
  return new Promise(resolve => {
    stop = repeat(async signal => {
      const page = await get('batches', { limit: PAGE, status: byId('batches-status').value, cursor: cursors.at(-1) }, { signal });
      if (signal.aborted) return false;
      if (troubled) clearProblem(problem);
      troubled = false;
      show(page);
      resolve();
      return page.data.some(batch => isActive(batch.status));
    }, {
      every: 2000,
      failed: (fault, wait) => {
        troubled = true;
        showProblem(problem, fault, { advised: `Asking again in ${Math.ceil(wait / 1000)} s.` });
        resolve();
      },
    });
  });
}

/** Takes news of one batch from elsewhere on the page. */
export function hear(batch) {
  rows.get(batch.batch_id)?.update(batch);
}

function show({ data, next_cursor: cursor }) {
  next = cursor ?? null;
  const kept = new Map();
  for (const batch of data) {
    const line = rows.get(batch.batch_id) ?? batchRow();
    line.update(batch);
    kept.set(batch.batch_id, line);
  }
  rows = kept;
  const wanted = [...kept.values()].map(line => line.tr);
  // Rows that stay are not touched, so that the focus stays too.
  if (wanted.length !== body.rows.length || wanted.some((tr, i) => body.rows[i] !== tr)) fill(body, wanted);
  node.hidden = data.length === 0;
  emptySentence(data.length === 0);
  byId('batches').querySelector('.pager').hidden = next === null && cursors.length === 1;
  enable(older, next !== null);
  enable(newer, cursors.length > 1);
}

function enable(control, on) {
  if (!on && control === document.activeElement) byId('batches-title').focus({ preventScroll: true });
  control.disabled = !on;
}

function emptySentence(empty) {
  const place = byId('batches-empty');
  place.hidden = !empty;
  if (!empty) return;
  const status = byId('batches-status').value;
  say(place, status
    ? `No batch is ${status}. Choose another status to see the others.`
    : 'No batches yet. Choose a CSV file above and upload it; it will be listed here.');
}

function batchRow() {
  let batch = null;
  let known = null;
  const name = el('a', { class: 'open' });
  const source = el('span', { class: 'muted small block' });
  const badge = el('span', { class: 'badge' });
  const when = el('span');
  const process = button('Process', event => busy(event.currentTarget, () => startProcess(batch)), { class: 'process' });
  const undoIt = button('Undo', event => undo(batch, problem, event.currentTarget), { class: 'undo quiet' });
  const figures = ['received_count', 'inserted_count', 'failed_count', 'counted'].map(of => [of, el('span')]);
  const tr = row(COLUMNS, [[name, source], badge, when, ...figures.map(([, span]) => span), [process, undoIt]]);

  function update(news) {
    batch = { ...batch, ...news };
    tr.dataset.batch = batch.batch_id;
    tr.dataset.status = batch.status;
    name.href = `#batch/${encodeURIComponent(batch.batch_id)}`;
    say(name, fileName(batch));
    say(source, batch.source ? `source ${batch.source}` : '');
    showBadge(badge, batch.status);
    if (!when.firstChild && batch.created_at) fill(when, instant(batch.created_at));
    for (const [of, span] of figures) say(span, number(of === 'counted' ? batch.published?.counted : batch[of]));
    process.setAttribute('aria-label', `Process ${fileName(batch)}`);
    undoIt.setAttribute('aria-label', `Undo ${fileName(batch)}`);
    for (const [control, visible] of [[process, mayProcess(batch.status)], [undoIt, mayUndo(batch.status)]]) {
      if (!visible && control === document.activeElement) name.focus({ preventScroll: true });
      control.hidden = !visible;
    }
    // A quick job is never seen at work: only its outcome tells of it.
    const settled = known !== null && known !== batch.status && !isActive(batch.status);
    known = batch.status;
    if (settled) emit('figures-changed');
  }
  return { tr, update };
}

async function startProcess(batch) {
  clearProblem(problem);
  try {
    await request('POST', batchPath(batch.batch_id, '/process'));
    emit('batches-changed', batch.batch_id);
  } catch (fault) {
    showProblem(problem, fault);
  }
}
