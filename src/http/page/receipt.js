// One batch: what the upload found, its live state while it is processed or undone, and what can be done with it.

import { address, batchPath, get, rejectedRows, request } from './api.js';
import { emit, repeat } from './bus.js';
import { busy, button, byId, coded, el, fill, goTo, say } from './dom.js';
import { errorsTable } from './errors.js';
import { fileName, instant, number, plural } from './format.js';
import { clearProblem, showProblem } from './problem.js';
import { fileFacts, overlaps } from './receipt-parts.js';
import { isActive, mayProcess, mayUndo, showLive } from './status.js';
import { undo } from './undo.js';

const card = byId('receipt');
const problem = byId('receipt-problem');
const title = byId('receipt-title');

let shown = null;
/** The batch last asked for: a slow reply must not cover what was opened since. */
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
  goTo(title);
  // The receipt of a file that was already here may be of a batch long processed.
  if (receipt.duplicate_of || isActive(receipt.status)) follow();
}

/** Opens a batch by its id. */
export async function openBatch(id) {
  stopPolling();
  opening = id;
  try {
    const batch = await get(batchPath(id));
    if (opening !== id) return;
    show(batch);
    goTo(title);
    if (isActive(shown.status)) follow();
  } catch (fault) {
    if (opening !== id) return;
    close();
    card.hidden = false;
    byId('receipt-badge').hidden = true;
    say(title, 'Batch');
    document.body.classList.add('has-receipt');
    showProblem(problem, fault);
    goTo(title);
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
  say(byId('batch-status'), '');
}

/** Takes news of the batch on show from elsewhere on the page. */
export function hear(batchId) {
  if (shown?.batch_id === batchId) follow();
}

function show(batch) {
  close();
  shown = batch;
  card.dataset.batch = batch.batch_id;
  card.dataset.file = batch.file?.name ?? '';
  say(title, fileName(batch));
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
  const overlapping = JSON.stringify(batch.overlaps ?? []);
  shown = batch;
  showLive(batch, {
    badge: byId('receipt-badge'), text: byId('batch-status'), progress: byId('batch-progress'),
  });
  fill(byId('receipt-counts'), counts(batch));
  const gone = batch.status === 'deleted';
  byId('receipt-errors').hidden = gone;
  shows(byId('process-button'), mayProcess(batch.status));
  shows(byId('process-again'), batch.status === 'completed');
  shows(byId('undo-button'), mayUndo(batch.status));
  const place = byId('receipt-overlaps');
  if (place.dataset.of !== overlapping || place.childElementCount === 0) {
    place.dataset.of = overlapping;
    fill(place, gone ? null : overlaps(batch));
  }
  if (before !== batch.status) emit('batch', batch);
}

/** Hides or shows a button; the focus it had goes to the title rather than nowhere. */
function shows(control, visible) {
  if (!visible && control === document.activeElement) title.focus({ preventScroll: true });
  control.hidden = !visible;
}

/** Asks for the batch each second while something happens to it. */
function follow() {
  stopPolling();
  const id = shown.batch_id;
  const { duplicate_of: duplicateOf } = shown;
  let troubled = false;
  stopPolling = repeat(async signal => {
    try {
      const batch = await get(batchPath(id), {}, { signal });
      if (signal.aborted) return false;
      if (troubled) clearProblem(problem);
      troubled = false;
      update({ ...batch, duplicate_of: duplicateOf });
      return isActive(batch.status);
    } catch (fault) {
      if (fault.status === 404 || fault.status === 410) {
        showProblem(problem, fault);
        emit('batches-changed');
        return false;
      }
      throw fault;
    }
  }, {
    every: 1000,
    failed: (fault, wait) => {
      troubled = true;
      showProblem(problem, fault, { advised: `Asking again in ${Math.ceil(wait / 1000)} s.` });
    },
  });
}

function process(control, force) {
  return busy(control, async () => {
    clearProblem(problem);
    const { batch_id: id } = shown;
    try {
      await request('POST', batchPath(id, '/process'), { query: force ? { force: true } : {} });
      emit('batches-changed', id);
    } catch (fault) {
      showProblem(problem, fault);
    }
  });
}

/** Names the batches that hold these rows, mended. */
async function mendedIn(parent, place) {
  try {
    const { data } = await get('batches', { parent, limit: 20 });
    if (data.length === 0) return;
    fill(place, 'Mended in ', data.flatMap((child, i) => [
      i ? ', ' : null,
      el('a', { href: `#batch/${encodeURIComponent(child.batch_id)}` }, fileName(child)), ` (${plural(child.inserted_count, 'row')})`,
    ]), '.');
  } catch (fault) {
    showProblem(problem, fault);
  }
}

/** Sends the rejected rows once more, read in another way. */
async function sendAgain(parent, options) {
  clearProblem(problem);
  try {
    emit('mend', { parent, file: await rejectedRows(parent), options });
  } catch (fault) {
    showProblem(problem, fault);
  }
}

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
    el('p', {}, coded(message), ` (${plural(rows, 'row')}).`)));
  return [known(batch), ...warnings];
}

function known(batch) {
  if (!batch.duplicate_of) return null;
  return el('div', { class: 'notice' }, el('p', {},
    el('strong', {}, 'This very file is already here. '),
    'Nothing was added; below is the batch it made', batch.created_at ? [' on ', instant(batch.created_at)] : null, '.'),
  batch.note ? el('p', {}, coded(batch.note)) : null);
}

function rejections(batch) {
  const { failed_count: failed, errors = [] } = batch;
  if (!failed) return null;
  const list = errorsTable(batch, `Rejected rows of ${fileName(batch)}`);
  const note = el('p', { class: 'muted small' });
  const more = button('Show more', () => busy(more, loadMore));
  let cursor = null;
  let count = errors.length;
  const tell = () => {
    more.hidden = count >= failed || cursor === 'end';
    say(note, count < failed
      ? `The first ${number(count)} of ${plural(failed, 'rejected row')} are shown.${cursor === 'end' ? ' The others were counted but not kept.' : ''}`
      : 'The good rows are stored. Download these, mend them, and upload that file as it is.');
  };
  async function loadMore() {
    clearProblem(problem);
    try {
      let before;
      // The first page repeats what the receipt shows.
      do {
        before = count;
        const page = await get(batchPath(batch.batch_id, '/errors'), { limit: 100, cursor });
        cursor = page.next_cursor ?? 'end';
        count = list.add(page.data);
      } while (count === before && cursor !== 'end');
    } catch (fault) {
      showProblem(problem, fault);
    }
    tell();
  }
  tell();
  const again = (batch.proposals ?? []).map(({ option, value, rows }) => button(
    `Send these again, timestamps read as ${value} (${plural(rows, 'row')})`,
    event => busy(event.currentTarget, () => sendAgain(batch.batch_id, { [option]: value })),
    { class: 'send-again' }));
  const children = el('p', { class: 'small' });
  mendedIn(batch.batch_id, children);
  const mended = button('Upload mended rows…', () => emit('mend', { parent: batch.batch_id }), { id: 'mend-button' });
  return el('section', { 'aria-label': 'Rejected rows' },
    el('div', { class: 'part-head' },
      el('h3', {}, plural(failed, 'row'), ' rejected'),
      el('p', { class: 'links' },
        el('a', { id: 'errors-csv', href: address(batchPath(batch.batch_id, '/errors.csv')), download: '' }, 'Download to mend (CSV)'), ' ',
        el('a', { id: 'errors-link', href: address(batchPath(batch.batch_id, '/errors')) }, 'as JSON'))),
    list.node, children, el('div', { class: 'actions' }, note, more, again, mended));
}
