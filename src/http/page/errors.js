// The table of rejected rows: position in the file, value, fault and remedy.

import { el, fill, row, table, withCode } from './dom.js';
import { number, plural } from './format.js';

const COLUMNS = [
  { label: 'Row', kind: 'num' },
  { label: 'Line', kind: 'num' },
  { label: 'Column' },
  { label: 'Code' },
  { label: 'Value', kind: 'value' },
  { label: 'Fault', kind: 'wide' },
];

/**
 * Creates the table with a filter by code above it. Returns its node and `add`, which appends the rejections that are not
 * listed yet and returns their number in all.
 */
export function errorsTable({ errors, errors_by_code: byCode = {} }, heading) {
  const { node, body } = table('errors-table', heading, COLUMNS);
  const shown = new Set();
  let selectedCode = null;

  const apply = () => {
    for (const tr of body.rows) tr.hidden = selectedCode !== null && tr.dataset.code !== selectedCode;
  };
  const add = rejections => {
    for (const rejection of rejections) {
      if (shown.has(rejection.row)) continue;
      shown.add(rejection.row);
      body.append(...faultRows(rejection));
    }
    apply();
    return shown.size;
  };
  const filter = codeFilter(byCode, code => {
    selectedCode = code;
    apply();
  });
  add(errors);
  return { node: el('div', { class: 'rejections' }, filter, el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heading }, node)), add };
}

/** Creates a table row for each fault of a rejected row. */
function faultRows({ row: rowNumber, line, last_line: lastLine, fields, error_reason: reason, faults }) {
  const lines = lastLine && lastLine !== line ? `${number(line)}–${number(lastLine)}` : number(line);
  const list = faults?.length ? faults : [{ column: null, code: '', message: reason, value: null, hint: null }];
  return list.map((fault, i) => row(COLUMNS, [
    number(rowNumber),
    lines,
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

/** Creates a toggle button for each code with its count. At most one is pressed and filters the rows. */
function codeFilter(byCode, choose) {
  const codes = Object.entries(byCode).sort((a, b) => b[1] - a[1]);
  if (codes.length === 0) return null;
  const group = el('div', { class: 'chips', role: 'group', 'aria-label': 'Show selectedCode rows with' });
  fill(group, codes.map(([code, count]) => el('button', {
    type: 'button', class: 'chip', 'aria-pressed': 'false', dataset: { code }, title: plural(count, 'row'),
    onclick: event => {
      const pressed = event.currentTarget.getAttribute('aria-pressed') !== 'true';
      for (const chip of group.children) chip.setAttribute('aria-pressed', 'false');
      event.currentTarget.setAttribute('aria-pressed', String(pressed));
      choose(pressed ? code : null);
    },
  }, code, ' ', el('b', {}, number(count)))));
  return group;
}
