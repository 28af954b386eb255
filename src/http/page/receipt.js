// The receipt of one batch: counts, rejected rows, live status, and the actions on it.

import { batchPath, downloadRejectedRows, get, request, urlOf } from './api.js';
import { button, byId, el, fill, focusOn, setText, withBusy, withCode } from './dom.js';
import { rejectionList } from './errors.js';
import { emit } from './event-bus.js';
import { fileName, instant, number, plural, words } from './format.js';
import { poll } from './poll.js';
import { clearProblem, showProblem } from './problem.js';
import { fileFacts, overlaps } from './receipt-parts.js';
import { isActive, mayProcess, mayUndo, showStatus } from './status.js';
import { undo } from './undo.js';

const card = byId('receipt');
const problem = byId('receipt-problem');
const title = byId('receipt-title');

/** The batch on display. */
let shown = null;
/** The id of the batch opened last. A late reply for another one is ignored. */
let opening = null;
let stopPolling = () => {};

export function start() {
  byId('process-button').addEventListener('click', event => process(event.currentTarget, false));
  byId('process-again').addEventListener('click', event => process(event.currentTarget, true));
  byId('undo-button').addEventListener('click', event => undo(shown, problem, event.currentTarget));
  byId('receipt-close').addEventListener('click', () => {
    close();
    history.replaceState(null, '', '#upload');
    byId('file').focus();
  });
}

/** Shows the reply to an upload. */
export function showReceipt(receipt) {
  show(receipt);
  history.replaceState(null, '', `#batch/${receipt.batch_id}`);
  focusOn(title);
  // The receipt of a duplicate has no job and days, so the batch is read.
  if (receipt.duplicate_of || isActive(receipt.status)) startPolling();
}

/** Opens a batch by its id. */
export async function openBatch(id) {
  stopPolling();
  opening = id;
  try {
    const batch = await get(batchPath(id));
    if (opening !== id) return;
    show(batch);
    focusOn(title);
    if (isActive(shown.status)) startPolling();
  } catch (error) {
    if (opening !== id) return;
    close();
    card.hidden = false;
    byId('receipt-badge').hidden = true;
    setText(title, 'Batch');
    document.body.classList.add('has-receipt');
    showProblem(problem, error);
    focusOn(title);
  }
}

export function close() {
  stopPolling();
  opening = null;
  shown = null;
  card.hidden = true;
  document.body.classList.remove('has-receipt');
  for (const part of ['notice', 'counts', 'problem', 'overlaps', 'errors', 'file']) fill(byId(`receipt-${part}`));
  for (const id of ['process-button', 'process-again', 'undo-button', 'batch-progress']) byId(id).hidden = true;
  setText(byId('batch-status'), '');
}

/** Reads a batch again if it is the one on display. */
export function refresh(batchId) {
  if (shown?.batch_id === batchId) startPolling();
}

function show(batch) {
  close();
  shown = batch;
  card.dataset.batch = batch.batch_id;
  card.dataset.file = batch.file?.name ?? '';
  setText(title, fileName(batch));
  byId('receipt-badge').hidden = false;
  card.hidden = false;
  document.body.classList.add('has-receipt');
  fill(byId('receipt-notice'), ...notice(batch));
  fill(byId('receipt-errors'), rejections(batch));
  fill(byId('receipt-file'), fileFacts(batch));
  update(batch);
}

function update(batch) {
  const before = shown.status;
  const overlapKey = JSON.stringify(batch.overlaps ?? []);
  shown = batch;
  showStatus(batch, {
    badge: byId('receipt-badge'), text: byId('batch-status'), progress: byId('batch-progress'),
  });
  fill(byId('receipt-counts'), counts(batch));
  const isDeleted = batch.status === 'deleted';
  byId('receipt-errors').hidden = isDeleted;
  setVisible(byId('process-button'), mayProcess(batch.status));
  setVisible(byId('process-again'), batch.status === 'completed');
  setVisible(byId('undo-button'), mayUndo(batch.status));
  const place = byId('receipt-overlaps');
  if (place.dataset.key !== overlapKey || place.childElementCount === 0) {
    place.dataset.key = overlapKey;
    fill(place, isDeleted ? null : overlaps(batch));
  }
  if (before !== batch.status) emit('batch-updated', batch);
}

/** Hides or shows a button. The focus of a hidden button moves to the title. */
function setVisible(control, visible) {
  if (!visible && control === document.activeElement) title.focus({ preventScroll: true });
  control.hidden = !visible;
}

/** Reads the batch every second while it has an active job. */
function startPolling() {
  stopPolling();
  const id = shown.batch_id;
  const { duplicate_of: duplicateOf } = shown;
  let hasProblem = false;
  stopPolling = poll(async signal => {
    try {
      const batch = await get(batchPath(id), {}, { signal });
      if (signal.aborted) return false;
      if (hasProblem) clearProblem(problem);
      hasProblem = false;
      update({ ...batch, duplicate_of: duplicateOf });
      return isActive(batch.status);
    } catch (error) {
      if (error.status === 404 || error.status === 410) {
        showProblem(problem, error);
        emit('batches-changed');
        return false;
      }
      throw error;
    }
  }, {
    interval: 1000,
    onError: (error, wait) => {
      hasProblem = true;
      showProblem(problem, error, { advised: `Next attempt in ${Math.ceil(wait / 1000)} s.` });
    },
  });
}

function process(control, force) {
  return withBusy(control, async () => {
    clearProblem(problem);
    const { batch_id: id } = shown;
    try {
      await request('POST', batchPath(id, '/process'), { query: force ? { force: true } : {} });
      emit('batches-changed', id);
    } catch (error) {
      showProblem(problem, error);
    }
  });
}

/** Lists the batches with the corrected rows of `parent`, and how many rows are still open. */
async function showCorrections({ batch_id: parent, failed_count: failed }, place) {
  try {
    const { data } = await get('batches', { parent, limit: 100 });
    const live = data.filter(child => !['deleting', 'deleted'].includes(child.status));
    if (live.length === 0) return;
    const open = Math.max(0, failed - live.reduce((sum, child) => sum + child.inserted_count, 0));
    place.dataset.open = open;
    fill(place, 'Corrected in ', live.flatMap((child, i) => [
      i ? ', ' : null,
      el('a', { href: `#batch/${encodeURIComponent(child.batch_id)}` }, fileName(child)), ` (${plural(child.inserted_count, 'row')})`,
    ]), `. ${open ? `${plural(open, 'row')} of ${number(failed)} still open` : 'No row is open'}.`);
  } catch (error) {
    showProblem(problem, error);
  }
}

/** Uploads the rejected rows with a fault in `column` again, with other options. */
async function retryRejected(parent, column, options) {
  clearProblem(problem);
  try {
    emit('correct-rows', { parent, file: await downloadRejectedRows(parent, { column }), options });
  } catch (error) {
    showProblem(problem, error);
  }
}

const timestampColumn = ({ columns = [] }) => columns.find(column => column.role === 'timestamp')?.name;

function counts(batch) {
  const { published } = batch;
  const items = [
    ['received', 'rows received', batch.received_count],
    ['inserted', 'stored', batch.inserted_count],
    ['failed', 'rejected', batch.failed_count],
    ['blank', 'blank', batch.blank_count],
  ];
  if (published) {
    items.push(['counted', 'counted', published.counted], ['duplicate', 'duplicates', published.duplicate],
      ['conflict', 'conflicts', published.conflict]);
  }
  return items.map(([name, label, value]) => el('div', {
    dataset: { count: name, value }, class: name === 'failed' && value > 0 ? 'bad' : null,
  }, el('dt', {}, label), el('dd', {}, number(value))));
}

function notice(batch) {
  const warnings = (batch.warnings ?? []).map(({ message, rows }) => el('div', { class: 'notice warn', dataset: { warning: 'true' } },
    el('p', {}, withCode(message), ` (${plural(rows, 'row')}).`)));
  return [duplicateNotice(batch), ...warnings];
}

function duplicateNotice(batch) {
  if (!batch.duplicate_of) return null;
  return el('div', { class: 'notice' }, el('p', {},
    el('strong', {}, 'This file is already stored. '),
    'Nothing was added. Below is its batch', batch.created_at ? [' of ', instant(batch.created_at)] : null, '.'),
  batch.note ? el('p', {}, withCode(batch.note)) : null);
}

function rejections(batch) {
  const { failed_count: failed } = batch;
  if (!failed) return null;
  const list = rejectionList(batch, `Rejected rows of ${fileName(batch)}`, error => showProblem(problem, error));
  const proposals = (batch.proposals ?? []).filter(({ scope }) => scope === 'rejected_rows');
  const retries = proposals.map(({ option, value, rows }) => button(
    `Upload these rows again with ${words(option).toLowerCase()} ${value} (${plural(rows, 'row')})`,
    event => withBusy(event.currentTarget, () => retryRejected(batch.batch_id, option === 'timestamp_format' ? timestampColumn(batch) : undefined, { [option]: value })),
    { class: 'retry-rejected' }));
  const corrections = el('p', { class: 'small' });
  showCorrections(batch, corrections);
  const corrected = button('Upload corrected rows…', () => emit('correct-rows', { parent: batch.batch_id }), { id: 'correct-button' });
  return el('section', { 'aria-label': 'Rejected rows' },
    el('div', { class: 'part-head' },
      el('h3', {}, plural(failed, 'row'), ' rejected'),
      el('p', { class: 'links' },
        el('a', { id: 'errors-csv', href: urlOf(batchPath(batch.batch_id, '/errors.csv')), download: '' }, 'Download as CSV'), ' ',
        el('a', { id: 'errors-link', href: urlOf(batchPath(batch.batch_id, '/errors')) }, 'as JSON'))),
    list.node, corrections, el('div', { class: 'actions' }, list.note, list.more, retries, corrected));
}
