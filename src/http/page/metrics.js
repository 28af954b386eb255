// Daily figures: the range and type asked for, their totals, the chart and the table.

import { get } from './api.js';
import { repeat } from './bus.js';
import { byId, el, fill, row, say } from './dom.js';
import { showChart } from './chart.js';
import { instant, number, plural } from './format.js';
import { clearProblem, showProblem } from './problem.js';

/** Days put into the table at once: a decade of days makes for a slow page. */
const DAYS_AT_ONCE = 100;
const STALE_EVERY_MS = 5000;
const COLUMNS = [{ label: 'Day', kind: 'head' }, { label: 'Event type' }, { label: 'Events', kind: 'num' }, { label: 'Users', kind: 'num' }];

const form = byId('metrics-form');
const problem = byId('metrics-problem');
const body = byId('metrics-table').tBodies[0];
const more = byId('metrics-more');
const types = new Set();

let stop = () => {};
let waiting = [];
let last = '';

export function start() {
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(reload, 300);
  };
  form.addEventListener('input', soon);
  form.addEventListener('change', soon);
  form.addEventListener('reset', soon);
  form.addEventListener('submit', event => {
    event.preventDefault();
    reload();
  });
  more.addEventListener('click', () => showDays(DAYS_AT_ONCE * 10));
  reload();
}

/** Asks for what the form says, and again while some day is being recomputed. */
export function reload() {
  stop();
  const query = { from: byId('metrics-from').value, to: byId('metrics-to').value, event_type: byId('metrics-type').value };
  if (query.from && query.to && query.from > query.to) {
    const fault = { status: 0, code: 'from-after-to', problem: { title: 'The first day is after the last', detail: `${query.from} is after ${query.to}.` } };
    showProblem(problem, fault, { advised: 'Choose a first day that is not after the last.' });
    return;
  }
  const key = JSON.stringify(query);
  stop = repeat(async signal => {
    try {
      const figures = await get('metrics', query, { signal });
      if (signal.aborted) return false;
      clearProblem(problem);
      const text = key + JSON.stringify(figures);
      if (text !== last) show(figures, query);
      last = text;
      return figures.data.some(day => day.stale);
    } catch (fault) {
      if (signal.aborted) return false;
      if (fault.status >= 400 && fault.status < 500 && fault.status !== 429) {
        showProblem(problem, fault);
        return false;
      }
      throw fault;
    }
  }, {
    every: STALE_EVERY_MS,
    failed: (fault, wait) => showProblem(problem, fault, { advised: `Asking again in ${Math.ceil(wait / 1000)} s.` }),
  });
}

function show(figures, query) {
  const filtered = Boolean(query.from || query.to || query.event_type);
  const { data } = figures;
  byId('metrics-body').hidden = data.length === 0;
  const empty = byId('metrics-empty');
  empty.hidden = data.length > 0;
  say(empty, filtered
    ? 'No events match. Choose a wider range or another event type.'
    : 'No figures yet. Upload a file and process it; its days will appear here.');
  say(byId('metrics-status'), data.length ? `Figures of ${plural(data.length, 'day')} shown.` : empty.textContent);
  for (const day of data) for (const { event_type: type } of day.metrics) types.add(type);
  offerTypes();
  if (data.length === 0) return;
  totals(figures);
  waiting = [...data].sort((a, b) => (a.date < b.date ? 1 : -1));
  fill(body);
  showDays(DAYS_AT_ONCE);
  showChart(data);
}

function totals({ count, data, totals: sums }) {
  const items = [
    ['events', 'events', number(sums.processed_events)],
    ['users', 'unique users', number(sums.unique_users)],
    ['days', 'days', number(count ?? data.length)],
    ['latest', 'latest event', sums.most_recent_event ? instant(sums.most_recent_event) : '–'],
  ];
  fill(byId('metrics-totals'), items.map(([name, label, value]) => el('div', { dataset: { total: name } }, el('dt', {}, label), el('dd', {}, value))));
}

/** Types are kept once seen: a filtered reply only names the one that was asked for. */
function offerTypes() {
  const select = byId('metrics-type');
  const offered = new Set([...select.options].map(option => option.value));
  if ([...types].every(type => offered.has(type))) return;
  const chosen = select.value;
  const [all] = select.options;
  fill(select, all, [...types].sort().map(type => el('option', { value: type }, type)));
  select.value = chosen;
}

function showDays(count) {
  body.append(...waiting.splice(0, count).flatMap(dayRows));
  more.hidden = waiting.length === 0;
  say(more, `Show ${plural(Math.min(waiting.length, DAYS_AT_ONCE * 10), 'earlier day')}`);
}

function dayRows(day) {
  const single = day.metrics.length === 1;
  const head = el('span', { title: `Computed at ${day.computed_at}` }, day.date);
  const mark = day.stale ? el('span', { class: 'badge is-stale' }, 'recomputing') : null;
  const attributes = type => ({ dataset: { date: day.date, type }, class: type === '' ? 'whole-day' : null });
  if (single) {
    const [{ event_type: type, count, unique_users: users }] = day.metrics;
    const tr = row(COLUMNS, [[head, mark].filter(Boolean), type, number(count), number(users)], attributes(type));
    tr.classList.add('whole-day');
    return [tr];
  }
  const parts = [...day.metrics].sort((a, b) => b.count - a.count);
  return [
    row(COLUMNS, [[head, mark].filter(Boolean), 'all', number(day.total), number(day.unique_users)], attributes('')),
    ...parts.map(({ event_type: type, count, unique_users: users }) => row(COLUMNS, [
      el('span', { class: 'unseen' }, day.date), type, number(count), number(users),
    ], attributes(type))),
  ];
}
