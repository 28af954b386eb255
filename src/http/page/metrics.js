// Daily metrics: the filter, totals, chart and table.

import { get } from './api.js';
import { drawsDays, showChart } from './chart.js';
import { byId, el, fill, row, setText } from './dom.js';
import { instant, number, plural, timeZone } from './format.js';
import { poll } from './poll.js';
import { clearProblem, showProblem } from './problem.js';

/** Days added to the table at once, since thousands of rows are slow to render. */
const DAYS_AT_ONCE = 100;
/** Time between two reads of the metrics while a day is stale. */
const STALE_INTERVAL_MS = 5000;
const COLUMNS = [{ label: 'Day', kind: 'head' }, { label: 'Event type' }, { label: 'Events', kind: 'num' }, { label: 'Users', kind: 'num' }];

const form = byId('metrics-form');
const problem = byId('metrics-problem');
const tableBody = byId('metrics-table').tBodies[0];
const moreButton = byId('metrics-more');
const seenTypes = new Set();

let stopPolling = () => {};
let remainingDays = [];
let lastShown = '';
/** The days of the last reply. */
let lastDays = [];

export function start() {
  setText(byId('metrics-zone'), `Days and times are those of ${timeZone()}.`);
  let timer = 0;
  const reloadSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(reload, 300);
  };
  form.addEventListener('input', reloadSoon);
  form.addEventListener('change', reloadSoon);
  form.addEventListener('reset', reloadSoon);
  form.addEventListener('submit', event => {
    event.preventDefault();
    reload();
  });
  moreButton.addEventListener('click', () => showDays(DAYS_AT_ONCE * 10));
  reload();
}

/** Reads the metrics that the filter selects, and polls them while a day is stale. */
export function reload() {
  stopPolling();
  const query = { from: byId('metrics-from').value, to: byId('metrics-to').value, event_type: byId('metrics-type').value };
  if (query.from && query.to && query.from > query.to) {
    const error = { status: 0, code: 'from-after-to', problem: { title: 'The first day is after the last', detail: `${query.from} is after ${query.to}.` } };
    showProblem(problem, error, { advised: 'Choose a first day that is not after the last.' });
    return;
  }
  stopPolling = poll(async signal => {
    try {
      const metrics = await get('metrics', query, { signal });
      if (signal.aborted) return false;
      clearProblem(problem);
      const content = JSON.stringify([query, metrics]);
      if (content !== lastShown) show(metrics, query);
      lastShown = content;
      return metrics.data.some(day => day.stale);
    } catch (error) {
      if (signal.aborted) return false;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        showProblem(problem, error);
        return false;
      }
      throw error;
    }
  }, {
    interval: STALE_INTERVAL_MS,
    onError: (error, wait) => showProblem(problem, error, { advised: `Next attempt in ${Math.ceil(wait / 1000)} s.` }),
  });
}

/** Shows the days of a batch that was counted: a filter that excludes them, or bars longer than a day, give way. */
export function showDaysOf({ days = [] }) {
  const sorted = [...days].sort();
  const [first, last] = [sorted[0], sorted.at(-1)];
  const [from, to, type] = ['metrics-from', 'metrics-to', 'metrics-type'].map(byId);
  const isExcluded = (from.value && first < from.value) || (to.value && last > to.value) || type.value;
  if (first && (isExcluded || (lastDays.length && !drawsDays([...lastDays, { date: first }, { date: last }])))) {
    from.value = first;
    to.value = last;
    type.value = '';
  }
  reload();
}

function show(metrics, query) {
  const filtered = Boolean(query.from || query.to || query.event_type);
  const { data } = metrics;
  lastDays = data;
  byId('metrics-body').hidden = data.length === 0;
  const empty = byId('metrics-empty');
  empty.hidden = data.length > 0;
  setText(empty, filtered
    ? 'No events match. Choose a wider range or another event type.'
    : 'No metrics yet. Upload a file and process it; its days will appear here.');
  setText(byId('metrics-status'), data.length ? `Metrics of ${plural(data.length, 'day')} shown.` : empty.textContent);
  for (const day of data) for (const { event_type: type } of day.metrics) seenTypes.add(type);
  offerTypes();
  if (data.length === 0) return;
  showTotals(metrics);
  remainingDays = [...data].sort((a, b) => (a.date < b.date ? 1 : -1));
  fill(tableBody);
  showDays(DAYS_AT_ONCE);
  showChart(data);
}

function showTotals({ count, data, totals: sums }) {
  const items = [
    ['events', 'events', number(sums.processed_events)],
    ['users', 'unique users', number(sums.unique_users)],
    ['days', 'days', number(count ?? data.length)],
    ['latest', 'latest event', sums.most_recent_event ? instant(sums.most_recent_event) : '–'],
  ];
  fill(byId('metrics-totals'), items.map(([name, label, value]) => el('div', { dataset: { total: name } }, el('dt', {}, label), el('dd', {}, value))));
}

/** Offers all event types seen so far, since a filtered reply has only one. */
function offerTypes() {
  const select = byId('metrics-type');
  const offered = new Set([...select.options].map(option => option.value));
  if ([...seenTypes].every(type => offered.has(type))) return;
  const chosen = select.value;
  const [all] = select.options;
  fill(select, all, [...seenTypes].sort().map(type => el('option', { value: type }, type)));
  select.value = chosen;
}

function showDays(count) {
  tableBody.append(...remainingDays.splice(0, count).flatMap(dayRows));
  moreButton.hidden = remainingDays.length === 0;
  setText(moreButton, `Show ${plural(Math.min(remainingDays.length, DAYS_AT_ONCE * 10), 'earlier day')}`);
}

/** Returns the table rows of a day: one for all event types, then one for each if there are several. */
function dayRows(day) {
  const date = el('span', { title: `Computed at ${day.computed_at}` }, day.date);
  const staleBadge = day.stale ? el('span', { class: 'badge is-stale' }, 'recomputing') : null;
  const dateCell = [date, staleBadge].filter(Boolean);
  // The row of all event types has an empty type.
  const attributes = type => ({ dataset: { date: day.date, type }, class: type === '' ? 'whole-day' : null });
  if (day.metrics.length === 1) {
    const [{ event_type: type, count, unique_users: users }] = day.metrics;
    const tr = row(COLUMNS, [dateCell, type, number(count), number(users)], attributes(type));
    tr.classList.add('whole-day');
    return [tr];
  }
  const byCount = [...day.metrics].sort((a, b) => b.count - a.count);
  return [
    row(COLUMNS, [dateCell, 'all', number(day.total), number(day.unique_users)], attributes('')),
    ...byCount.map(({ event_type: type, count, unique_users: users }) => row(COLUMNS, [
      el('span', { class: 'unseen' }, day.date), type, number(count), number(users),
    ], attributes(type))),
  ];
}
