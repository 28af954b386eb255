// Parts of a receipt: the properties of the file, and the overlaps with other batches.

import { el, row, table, withCode } from './dom.js';
import { bytes, instant, number, plural, punctuation, role, words } from './format.js';

/** Lists the detected properties of the file, so that a wrong detection is noticed. */
export function fileFacts(batch) {
  const { file, dialect, columns, identity, event_time: times } = batch;
  const facts = [
    file && ['Size', `${bytes(file.bytes)}${file.packing ? `, unpacked from ${file.packing}` : ''}`],
    dialect && ['Encoding', `${dialect.encoding}${dialect.bom ? ' with byte order mark' : ''} (${dialect.encoding_known})`],
    dialect && ['Delimiter', punctuation(dialect.delimiter)],
    dialect && ['Quote', punctuation(dialect.quote)],
    dialect?.escape === 'backslash' && ['Escape', 'backslash'],
    dialect && ['Line ending', punctuation(dialect.line_ending)],
    dialect?.preamble_lines > 0 && ['Above the header', plural(dialect.preamble_lines, 'line')],
    dialect?.repeated_headers > 0 && ['Header repeated', plural(dialect.repeated_headers, 'time')],
    times?.min && ['First event', instant(times.min)],
    times?.max && ['Last event', instant(times.max)],
    identity && ['Event identity', identity.kind === 'none' ? 'none: every row counts' : `same ${identity.kind === 'key' ? identity.columns.join(', ') : words(identity.kind).toLowerCase()}${identity.source ? ` in source “${identity.source}”` : ''}`],
    batch.parent && ['Corrected rows of', el('a', { href: `#batch/${encodeURIComponent(batch.parent)}` }, 'that batch')],
    batch.profile && ['Profile', batch.profile],
    batch.batch_id && ['Batch', el('code', {}, batch.batch_id)],
    file?.sha256 && ['SHA-256', el('code', {}, file.sha256)],
  ].filter(Boolean);
  return el('details', { class: 'file-facts' },
    el('summary', {}, 'Properties of the file'),
    identity?.hint ? el('p', {}, withCode(identity.hint)) : null,
    el('dl', { class: 'facts' }, facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))),
    columns?.length ? columnTable(columns) : null);
}

function columnTable(columns) {
  const heads = [{ label: 'Column', kind: 'head' }, { label: 'Used as' }, { label: 'Stored as' }];
  const { node, body } = table('columns-table', 'Columns of the file', heads);
  body.append(...columns.map(column => row(heads, [
    column.name, role(column.role), column.stored_as ? el('code', {}, column.stored_as) : '–',
  ])));
  return node;
}

/** Lists the rows that are not counted, and the batches with the originals. */
export function overlaps({ overlaps: list = [] }) {
  if (!list.length) return null;
  return el('section', { 'aria-label': 'Overlaps' },
    el('h3', {}, 'Rows that are not counted'),
    el('ul', { class: 'plain' }, list.map(overlap => el('li', {},
      overlapText(overlap), ' ',
      overlap.same_batch ? null : el('a', { href: `#batch/${encodeURIComponent(overlap.batch_id)}` }, 'Open that batch'),
      overlap.samples?.length ? samples(overlap) : null))));
}

function overlapText({ duplicates, conflicts, status, same_batch: isSame }) {
  const parts = [];
  if (isSame) {
    if (duplicates) parts.push(`${plural(duplicates, 'row')} ${duplicates === 1 ? 'repeats' : 'repeat'} an earlier row of this file`);
    if (conflicts) parts.push(`${plural(conflicts, 'row')} ${conflicts === 1 ? 'has' : 'have'} the id of an earlier row of this file and other content`);
    return `${parts.join(', ')}.`;
  }
  if (duplicates) parts.push(`${plural(duplicates, 'row')} already counted`);
  if (conflicts) parts.push(`${plural(conflicts, 'row')} with the same id and other content`);
  return `${parts.join(', ')} from another batch${status && status !== 'completed' ? ` (${status})` : ''}.`;
}

function samples({ samples: rows, same_batch: isSame }) {
  return el('details', {},
    el('summary', {}, 'Examples'),
    el('ul', {}, rows.map(({ row: ours, original_row: theirs, kind }) => el('li', {},
      `Row ${number(ours)} is row ${number(theirs)}${isSame ? '' : ' there'}${kind ? ` (${words(kind).toLowerCase()})` : ''}`))));
}
