// The table of recent batches: newest first, in pages, updated while jobs run.

import { batchPath, get, request } from './api.js';
import { button, byId, el, fill, row, setText, withBusy } from './dom.js';
import { emit } from './event-bus.js';
import { fileName, instant, number } from './format.js';
import { poll } from './poll.js';
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

/** The cursors of the pages up to the current one; the first page has none. */
let cursors = [null];
let next = null;
let rows = new Map();
let stop = () => {};

export function start() {
  fill(node.tHead.rows[0], COLUMNS.map(({ label, kind }) => el('th', {
    role: 'columnheader', scope: 'col', class: kind === 'num' ? 'num' : null,
  }, label === 'Actions' ? el('span', { class: 'unseen' }, label) : label)));
  byId('batches-status').addEventListener('change', () => openPage([null]));
  byId('batches-form').addEventListener('submit', event => event.preventDefault());
  older.addEventListener('click', () => next && openPage([...cursors, next]));
  newer.addEventListener('click', () => cursors.length > 1 && openPage(cursors.slice(0, -1)));
  reload();
}

async function openPage(pages) {
  cursors = pages;
  await reload();
}

/** Reads the current page, and polls it while one of its batches has an active job. */
export function reload() {
  stop();
  let hasProblem = false;
  return new Promise(resolve => {
    stop = poll(async signal => {
      const page = await get('batches', { limit: PAGE, status: byId('batches-status').value, cursor: cursors.at(-1) }, { signal });
      if (signal.aborted) return false;
      if (hasProblem) clearProblem(problem);
      hasProblem = false;
      show(page);
      resolve();
      return page.data.some(batch => isActive(batch.status));
    }, {
      interval: 2000,
      onError: (error, wait) => {
        hasProblem = true;
        showProblem(problem, error, { advised: `Next attempt in ${Math.ceil(wait / 1000)} s.` });
        resolve();
      },
    });
  });
}

/** Updates the row of a batch. */
export function update(batch) {
  rows.get(batch.batch_id)?.update(batch);
}

function show({ data, next_cursor: cursor }) {
  next = cursor ?? null;
  const current = new Map();
  for (const batch of data) {
    const line = rows.get(batch.batch_id) ?? batchRow();
    line.update(batch);
    current.set(batch.batch_id, line);
  }
  rows = current;
  const trs = [...current.values()].map(line => line.tr);
  // Unchanged rows stay in the document, since replacing them would lose the focus.
  if (trs.length !== body.rows.length || trs.some((tr, i) => body.rows[i] !== tr)) fill(body, trs);
  node.hidden = data.length === 0;
  showEmpty(data.length === 0);
  byId('batches').querySelector('.pager').hidden = next === null && cursors.length === 1;
  enable(older, next !== null);
  enable(newer, cursors.length > 1);
}

function enable(control, on) {
  if (!on && control === document.activeElement) byId('batches-title').focus({ preventScroll: true });
  control.disabled = !on;
}

function showEmpty(empty) {
  const place = byId('batches-empty');
  place.hidden = !empty;
  if (!empty) return;
  const status = byId('batches-status').value;
  setText(place, status
    ? `No batch is ${status}. Choose another status to see other batches.`
    : 'No batches yet. Upload a CSV file; it will be listed here.');
}

function batchRow() {
  let batch = null;
  let lastStatus = null;
  const name = el('a', { class: 'open' });
  const source = el('span', { class: 'muted small block' });
  const badge = el('span', { class: 'badge' });
  const when = el('span');
  const process = button('Process', event => withBusy(event.currentTarget, () => startProcess(batch)), { class: 'process' });
  const undoButton = button('Undo', event => undo(batch, problem, event.currentTarget), { class: 'undo quiet' });
  const figures = ['received_count', 'inserted_count', 'failed_count', 'counted'].map(of => [of, el('span')]);
  const tr = row(COLUMNS, [[name, source], badge, when, ...figures.map(([, span]) => span), [process, undoButton]]);

  function update(changes) {
    batch = { ...batch, ...changes };
    tr.dataset.batch = batch.batch_id;
    tr.dataset.status = batch.status;
    name.href = `#batch/${encodeURIComponent(batch.batch_id)}`;
    setText(name, fileName(batch));
    setText(source, batch.source ? `source ${batch.source}` : '');
    showBadge(badge, batch.status);
    if (!when.firstChild && batch.created_at) fill(when, instant(batch.created_at));
    for (const [of, span] of figures) setText(span, number(of === 'counted' ? batch.published?.counted : batch[of]));
    process.setAttribute('aria-label', `Process ${fileName(batch)}`);
    undoButton.setAttribute('aria-label', `Undo ${fileName(batch)}`);
    for (const [control, visible] of [[process, mayProcess(batch.status)], [undoButton, mayUndo(batch.status)]]) {
      if (!visible && control === document.activeElement) name.focus({ preventScroll: true });
      control.hidden = !visible;
    }
    // A short job may never be seen as active, so the comparison is with the last status of any kind.
    const finished = lastStatus !== null && lastStatus !== batch.status && !isActive(batch.status);
    lastStatus = batch.status;
    if (finished) emit('metrics-changed');
  }
  return { tr, update };
}

async function startProcess(batch) {
  clearProblem(problem);
  try {
    await request('POST', batchPath(batch.batch_id, '/process'));
    emit('batches-changed', batch.batch_id);
  } catch (error) {
    showProblem(problem, error);
  }
}
