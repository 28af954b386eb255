// The rejected rows of a batch: position in the file, value, fault and remedy, filtered by the server.

import { batchPath, get } from './api.js';
import { button, el, fill, row, setText, table, withBusy, withCode } from './dom.js';
import { number, plural } from './format.js';

const PAGE = 100;
const COLUMNS = [
  { label: 'Row', kind: 'num' },
  { label: 'Line', kind: 'num' },
  { label: 'Column' },
  { label: 'Code' },
  { label: 'Value', kind: 'value' },
  { label: 'Fault', kind: 'wide' },
];

/**
 * Creates the list of the rejections of a batch with a filter by code and column. Returns its node, a note of what it
 * shows, and the button for more. `onError` receives errors of the server.
 */
export function rejectionList(batch, heading, onError) {
  const { failed_count: failed, errors = [], errors_by_code: byCode = {}, batch_id: id } = batch;
  const { node, body } = table('errors-table', heading, COLUMNS);
  const note = el('p', { class: 'muted small', role: 'status' });
  const more = button('Show more', () => withBusy(more, load));
  const shown = new Set();
  let filter = {};
  let expected = failed;
  let cursor = null;
  let reading = 0;

  const add = rejections => {
    for (const rejection of rejections) {
      if (shown.has(rejection.row)) continue;
      shown.add(rejection.row);
      body.append(...faultRows(rejection, filter));
    }
    more.hidden = shown.size >= expected || cursor === 'end';
    setText(note, noteOf(shown.size, expected, cursor === 'end'));
  };
  /** Reads the next page that has rows which are not listed yet. */
  async function load() {
    const mine = ++reading;
    const before = shown.size;
    try {
      do {
        const page = await get(batchPath(id, '/errors'), { ...filter, limit: PAGE, cursor });
        if (mine !== reading) return;
        cursor = page.next_cursor ?? 'end';
        add(page.data);
      } while (shown.size === before && cursor !== 'end');
    } catch (error) {
      onError(error);
    }
  }
  const choose = (selected, count) => {
    reading += 1;
    filter = selected;
    expected = count ?? failed;
    cursor = null;
    shown.clear();
    fill(body);
    if (Object.keys(filter).length > 0) load();
    else add(errors);
  };
  const chips = el('div', { class: 'chips', role: 'group', 'aria-label': 'Show rows with' });
  fill(chips, chipsOf('code', byCode, chips, choose));
  if (failed > 1) {
    get(batchPath(id, '/errors'), { limit: 1, counts: true })
      .then(({ counts }) => chips.append(...chipsOf('column', counts?.by_column ?? {}, chips, choose)))
      .catch(onError);
  }
  add(errors);
  const region = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heading }, node);
  return { node: el('div', { class: 'rejections' }, chips, region), note, more };
}

/** Creates the table of rejections that are not stored: those of a dry run, or of a refused file. */
export function errorsTable(errors, heading) {
  const { node, body } = table('errors-table', heading, COLUMNS);
  body.append(...errors.flatMap(rejection => faultRows(rejection, {})));
  return el('div', { class: 'rejections' }, el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heading }, node));
}

function noteOf(count, all, isEnd) {
  if (count < all) {
    const rest = isEnd ? ' The others were counted but not stored.' : '';
    return `The first ${number(count)} of ${plural(all, 'rejected row')} are shown.${rest}`;
  }
  return 'The valid rows are stored. Download the rejected rows, correct them, and upload the corrected file; the columns that were added may stay.';
}

/** Creates a table row for each fault of a rejected row, or for those that the filter selects. */
function faultRows({ row: rowNumber, line, last_line: lastLine, fields, error_reason: reason, faults }, filter) {
  const lines = lastLine && lastLine !== line ? `${number(line)}–${number(lastLine)}` : number(line);
  const list = faults?.length ? faults : [{ column: null, code: '', message: reason, value: null, hint: null }];
  const selected = list.filter(fault => (!filter.code || fault.code === filter.code) && (!filter.column || fault.column === filter.column));
  return selected.map((fault, i) => row(COLUMNS, [
    number(rowNumber),
    [lines, originalLine(fields)].filter(Boolean),
    fault.column ? el('code', {}, fault.column) : el('span', { class: 'muted' }, 'whole row'),
    el('code', { class: 'code' }, fault.code),
    value(fault.value),
    [
      el('span', { class: 'wrong' }, withCode(fault.message)),
      fault.hint ? el('span', { class: 'hint' }, withCode(fault.hint)) : null,
      i === 0 ? originalRow(fields) : null,
    ].filter(Boolean),
  ], { dataset: { row: rowNumber, code: fault.code } }));
}

/** Corrected rows say on which line of the first file they stood. */
function originalLine(fields) {
  const line = fields?._line;
  return line ? el('span', { class: 'muted small block' }, `first ${line}`) : null;
}

function value(text) {
  if (text === null || text === undefined) return el('span', { class: 'muted' }, '–');
  return text === '' ? el('span', { class: 'muted' }, 'empty') : el('code', {}, text);
}

function originalRow(fields) {
  const cells = Object.entries(fields ?? {});
  if (cells.length === 0) return null;
  return el('details', { class: 'cells' },
    el('summary', {}, 'Original row'),
    el('dl', { class: 'facts' }, cells.map(([name, cell]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('code', {}, cell))))));
}

/** Creates a toggle button for each code or column with its count. At most one of all is pressed and filters the rows. */
function chipsOf(kind, counts, group, choose) {
  const entries = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  return entries.map(([name, count]) => el('button', {
    type: 'button', class: 'chip', 'aria-pressed': 'false', dataset: { [kind]: name }, title: `${plural(count, 'row')} with this ${kind}`,
    onclick: event => {
      const pressed = event.currentTarget.getAttribute('aria-pressed') !== 'true';
      for (const chip of group.children) chip.setAttribute('aria-pressed', 'false');
      event.currentTarget.setAttribute('aria-pressed', String(pressed));
      choose(pressed ? { [kind]: name } : {}, pressed ? count : null);
    },
  }, name, ' ', el('b', {}, number(count))));
}
