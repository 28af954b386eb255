// Lists rejected rows: where each stands in the file, what it held, what is wrong and what to do.

import { coded, el, fill, row, table } from './dom.js';
import { number, plural } from './format.js';

const COLUMNS = [
  { label: 'Row', kind: 'num' },
  { label: 'Line', kind: 'num' },
  { label: 'Column' },
  { label: 'Code' },
  { label: 'Value', kind: 'value' },
  { label: 'What is wrong', kind: 'wide' },
];

/**
 * The table of `errors` with a filter by code above it. Answers its node and `add`, which appends further rows and
 * leaves out those already there.
 */
export function errorsTable({ errors, errors_by_code: byCode = {} }, heading) {
  const { node, body } = table('errors-table', heading, COLUMNS);
  const shown = new Set();
  let only = null;

  const apply = () => {
    for (const tr of body.rows) tr.hidden = only !== null && tr.dataset.code !== only;
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
    only = code;
    apply();
  });
  add(errors);
  return { node: el('div', { class: 'rejections' }, filter, el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heading }, node)), add };
}

/** One table row for each fault, since one row of the file may have several. */
function faultRows({ row: number_, line, last_line: lastLine, fields, error_reason: reason, faults }) {
  const lines = lastLine && lastLine !== line ? `${number(line)}–${number(lastLine)}` : number(line);
  const list = faults?.length ? faults : [{ column: null, code: '', message: reason, value: null, hint: null }];
  return list.map((fault, i) => row(COLUMNS, [
    number(number_),
    lines,
    fault.column ? el('code', {}, fault.column) : el('span', { class: 'muted' }, 'whole row'),
    el('code', { class: 'code' }, fault.code),
    value(fault.value),
    [
      el('span', { class: 'wrong' }, coded(fault.message)),
      fault.hint ? el('span', { class: 'hint' }, coded(fault.hint)) : null,
      i === 0 ? wholeRow(fields) : null,
    ].filter(Boolean),
  ], { dataset: { row: number_, code: fault.code } }));
}

function value(text) {
  if (text === null || text === undefined) return el('span', { class: 'muted' }, '–');
  return text === '' ? el('span', { class: 'muted' }, 'empty') : el('code', {}, text);
}

function wholeRow(fields) {
  const cells = Object.entries(fields ?? {});
  if (cells.length === 0) return null;
  return el('details', { class: 'cells' },
    el('summary', {}, 'The row as it came'),
    el('dl', { class: 'facts' }, cells.map(([name, cell]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('code', {}, cell))))));
}

/** A button for each code with its count; pressing one shows only its rows, pressing it again all. */
function codeFilter(byCode, choose) {
  const codes = Object.entries(byCode).sort((a, b) => b[1] - a[1]);
  if (codes.length === 0) return null;
  const group = el('div', { class: 'chips', role: 'group', 'aria-label': 'Show only rows with' });
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
