// A look at a file before it is stored: its first rows as they would be kept, what would be rejected, how it was read.

import { button, byId, el, fill, goTo, row, table } from './dom.js';
import { errorsTable } from './errors.js';
import { instant, number, plural } from './format.js';
import { fileFacts } from './receipt-parts.js';

const card = byId('look');
const COLUMNS = [
  { label: 'Line', kind: 'num' }, { label: 'When' }, { label: 'Event type' }, { label: 'User' }, { label: 'Event id' }, { label: 'Other columns' },
];

export function start() {
  byId('look-close').addEventListener('click', () => {
    close();
    byId('file').focus();
  });
}

export function close() {
  card.hidden = true;
  document.body.classList.remove('has-look');
  fill(byId('look-body'));
}

/** Shows what a file would come to; `upload` stores it. */
export function showLook(name, reply, upload) {
  byId('look-title').textContent = `${name}: nothing stored yet`;
  fill(byId('look-body'),
    el('p', {}, `${plural(reply.received_count, 'row')}: ${number(reply.inserted_count)} would be stored, ${number(reply.failed_count)} rejected, ${number(reply.blank_count)} blank.`),
    el('p', { class: 'actions' }, button('Upload it', upload, { id: 'look-upload', class: 'primary' })),
    el('h3', {}, 'The first rows as they would be stored'),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'First rows' }, sample(reply.sample)),
    reply.errors?.length ? errorsTable(reply, 'Rows that would be rejected').node : null,
    fileFacts(reply));
  card.hidden = false;
  document.body.classList.add('has-look');
  goTo(byId('look-title'));
}

function sample(rows) {
  const { node, body } = table('look-table', 'First rows', COLUMNS);
  body.append(...rows.map(event => row(COLUMNS, [
    number(event.line), instant(event.timestamp), event.event_type, event.user_id, event.event_id ?? '–',
    Object.entries(event.attributes).map(([column, cell]) => `${column}: ${cell}`).join(', ') || '–',
  ], { dataset: { line: event.line } })));
  return node;
}
