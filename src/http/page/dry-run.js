// The result of a dry run: the first rows as they would be stored, the rows that would be rejected, and the detected form.

import { button, byId, el, fill, focusOn, row, table } from './dom.js';
import { errorsTable } from './errors.js';
import { instant, number, plural } from './format.js';
import { fileFacts } from './receipt-parts.js';

const card = byId('dry-run');
const COLUMNS = [
  { label: 'Line', kind: 'num' }, { label: 'When' }, { label: 'Event type' }, { label: 'User' }, { label: 'Event id' }, { label: 'Other columns' },
];

export function start() {
  byId('dry-run-close').addEventListener('click', () => {
    close();
    byId('file').focus();
  });
}

export function close() {
  card.hidden = true;
  document.body.classList.remove('has-dry-run');
  fill(byId('dry-run-body'));
}

/** Shows the reply to a dry run of the file `name`. `upload` is called to store the file. */
export function showDryRun(name, reply, upload) {
  byId('dry-run-title').textContent = `Dry run of ${name}: nothing is stored`;
  fill(byId('dry-run-body'),
    el('p', {}, `${plural(reply.received_count, 'row')}: ${number(reply.inserted_count)} would be stored, ${number(reply.failed_count)} rejected, ${number(reply.blank_count)} blank.`),
    el('p', { class: 'actions' }, button('Upload this file', upload, { id: 'dry-run-upload', class: 'primary' })),
    el('h3', {}, 'The first rows as they would be stored'),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'First rows' }, sample(reply.sample)),
    reply.errors?.length ? errorsTable(reply.errors, 'Rows that would be rejected') : null,
    fileFacts(reply));
  card.hidden = false;
  document.body.classList.add('has-dry-run');
  focusOn(byId('dry-run-title'));
}

function sample(rows) {
  const { node, body } = table('dry-run-table', 'First rows', COLUMNS);
  body.append(...rows.map(event => row(COLUMNS, [
    number(event.line), instant(event.timestamp), event.event_type, event.user_id, event.event_id ?? '–',
    Object.entries(event.attributes).map(([column, cell]) => `${column}: ${cell}`).join(', ') || '–',
  ], { dataset: { line: event.line } })));
  return node;
}
