// The chart of events as stacked bars: of days, or of weeks, months or years where days do not fit. All bars together are
// the total. The table beside it has the days as text.

import { byId, el, fill, setText, svg } from './dom.js';
import { DAY_MS, dayLabel, dayToMs, msToDay, number, plural } from './format.js';

const MIN_DAYS = 7;
const MAX_SERIES = 5;
const HEIGHT = 260;
const HALF_LABEL_WIDTH = 24;
const MARGIN = { top: 14, right: 4, bottom: 26, left: 46 };

/** The periods of a bar, shortest first: the longest span of days that is shown in it, and its first day. */
const PERIODS = [
  { name: 'day', maxDays: 62, start: ms => ms, next: ms => ms + DAY_MS },
  { name: 'week', maxDays: 62 * 7, start: ms => ms - ((new Date(ms).getUTCDay() + 6) % 7) * DAY_MS, next: ms => ms + 7 * DAY_MS },
  { name: 'month', maxDays: 3_800, start: ms => monthStart(ms, 0), next: ms => monthStart(ms, 1) },
  { name: 'year', maxDays: Infinity, start: ms => yearStart(ms, 0), next: ms => yearStart(ms, 1) },
];

const monthStart = (ms, more) => Date.UTC(new Date(ms).getUTCFullYear(), new Date(ms).getUTCMonth() + more, 1);
const yearStart = (ms, more) => Date.UTC(new Date(ms).getUTCFullYear() + more, 0, 1);

let current = null;
let currentWidth = 0;

export function start() {
  const place = byId('chart');
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (current && place.clientWidth !== currentWidth) draw(current);
  })).observe(place);
}

/** Whether bars are days: a longer range is drawn by weeks, months or years. */
export const drawsDays = days => periodOf(days.map(day => day.date).sort()).name === 'day';

/** Draws `days`, a non-empty list as `GET /metrics` returns it. */
export function showChart(days) {
  const sorted = [...days].sort((a, b) => (a.date < b.date ? -1 : 1));
  const dates = sorted.map(day => day.date);
  const period = periodOf(dates);
  const types = series(sorted);
  const last = period.start(dayToMs(dates.at(-1)));
  let first = period.start(dayToMs(dates[0]));
  if (period.name === 'day') first = Math.min(first, last - (MIN_DAYS - 1) * DAY_MS);
  current = { period, starts: startsBetween(first, last, period), bars: barsOf(sorted, period), types, dates };
  legend(types, sorted.some(day => day.stale));
  draw(current);
}

function periodOf(dates) {
  const span = (dayToMs(dates.at(-1)) - dayToMs(dates[0])) / DAY_MS + 1;
  return PERIODS.find(({ maxDays }) => span <= maxDays);
}

function startsBetween(first, last, period) {
  const starts = [];
  for (let at = first; at <= last; at = period.next(at)) starts.push(at);
  return starts;
}

/** Adds up the days of each period. Distinct users can't be added up, so only a day has them. */
function barsOf(days, period) {
  const bars = new Map();
  for (const day of days) {
    const at = period.start(dayToMs(day.date));
    const bar = bars.get(at) ?? { at, total: 0, stale: false, counts: new Map(), users: period.name === 'day' ? day.unique_users : null };
    bar.total += day.total;
    bar.stale ||= day.stale;
    for (const { event_type: type, count } of day.metrics) bar.counts.set(type, (bar.counts.get(type) ?? 0) + count);
    bars.set(at, bar);
  }
  return [...bars.values()];
}

/** Returns the most frequent event types, which get a series each; the others share one. */
function series(days) {
  const sums = new Map();
  for (const day of days) for (const { event_type: type, count } of day.metrics) sums.set(type, (sums.get(type) ?? 0) + count);
  const ranked = [...sums].sort((a, b) => b[1] - a[1]).map(([type]) => type);
  const named = ranked.slice(0, ranked.length > MAX_SERIES + 1 ? MAX_SERIES : MAX_SERIES + 1);
  return { named, others: ranked.length - named.length };
}

const othersLabel = ({ others }) => plural(others, 'other type');

function legend(types, stale) {
  const entry = (name, label) => el('li', {}, el('span', { class: `swatch ${name}`, 'aria-hidden': 'true' }), label);
  fill(byId('chart-legend'),
    types.named.map((type, i) => entry(`series-${i}`, type)),
    types.others ? entry(`series-${MAX_SERIES}`, othersLabel(types)) : null,
    stale ? entry('stale', 'being recomputed') : null);
}

/** Returns the segments of a bar, from the bottom up. */
function segments(bar, types) {
  const list = types.named.map((type, i) => ({ label: type, count: bar.counts.get(type) ?? 0, name: `series-${i}` }));
  if (types.others) {
    const named = list.reduce((sum, { count }) => sum + count, 0);
    list.push({ label: othersLabel(types), count: bar.total - named, name: `series-${MAX_SERIES}` });
  }
  return list.filter(({ count }) => count > 0);
}

function draw(chart) {
  const { period, starts, bars, types } = chart;
  const place = byId('chart');
  currentWidth = place.clientWidth;
  const width = Math.max(currentWidth, 240);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const step = inner.width / starts.length;
  const scale = niceScale(Math.max(1, ...bars.map(bar => bar.total)));
  const x = at => MARGIN.left + starts.indexOf(at) * step;
  const y = value => MARGIN.top + inner.height * (1 - value / scale.top);

  const picture = svg('svg', {
    viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: 'img', tabindex: 0, 'aria-labelledby': 'chart-title chart-desc',
    'data-period': period.name,
  },
  svg('title', { id: 'chart-title' }, `Events per ${period.name}`),
  svg('desc', { id: 'chart-desc' }, description(chart)),
  scale.ticks.map(tick => svg('g', { class: 'tick' },
    svg('line', { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
    svg('text', { x: MARGIN.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, compact(tick)))),
  labelled(starts, step).map(at => svg('text', {
    class: 'day-tick', y: HEIGHT - 8, ...anchored(x(at) + step / 2, width),
  }, tickLabel(at, period))),
  bars.map(bar => column(bar, types, { x: x(bar.at), y, step, inner })));

  readOut(picture, chart);
  fill(place, picture);
}

function column(bar, types, { x, y, step, inner }) {
  const width = Math.max(1, Math.min(step * 0.76, 34));
  const left = x + (step - width) / 2;
  let below = 0;
  const blocks = segments(bar, types).map(({ count, name }) => {
    const bottom = y(below);
    below += count;
    const height = Math.max(bottom - y(below) - (below === count ? 0 : 1), 0.75);
    return svg('rect', { class: name, x: left, y: y(below), width, height });
  });
  const height = Math.max(y(0) - y(bar.total), 1);
  return svg('g', { class: `day${bar.stale ? ' is-stale' : ''}`, 'data-date': msToDay(bar.at), 'data-total': bar.total },
    svg('rect', { class: 'band', x, y: MARGIN.top, width: step, height: inner.height }),
    blocks,
    bar.stale ? svg('rect', { class: 'stale-mark', x: left - 1.5, y: y(0) - height - 1.5, width: width + 3, height: height + 1.5 }) : null);
}

/** Shows the values of a bar below the chart: of the one under the pointer, or chosen by the arrow keys. */
function readOut(picture, chart) {
  const note = byId('chart-note');
  const rest = rangeNote(chart);
  setText(note, rest);
  let at = null;
  const point = index => {
    at = index;
    const groups = [...picture.querySelectorAll('.day')];
    groups.forEach((group, i) => group.classList.toggle('is-pointed', i === index));
    setText(note, index === null ? rest : values(chart.bars[index], chart));
  };
  const pointer = event => {
    const group = event.target.closest('.day');
    point(group ? [...picture.querySelectorAll('.day')].indexOf(group) : null);
  };
  picture.addEventListener('pointermove', pointer);
  picture.addEventListener('pointerdown', pointer);
  picture.addEventListener('pointerleave', () => point(null));
  picture.addEventListener('blur', () => point(null));
  picture.addEventListener('keydown', event => {
    const last = chart.bars.length - 1;
    const to = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(Math.max(0, Math.min(last, to)));
  });
}

function values(bar, { period, types }) {
  const detail = segments(bar, types).map(({ label, count }) => `${label} ${number(count)}`).join(', ');
  const users = bar.users === null ? '' : `, ${plural(bar.users, 'user')}`;
  return `${barLabel(bar.at, period)}: ${plural(bar.total, 'event')} (${detail})${users}${bar.stale ? '; being recomputed' : ''}`;
}

const longDay = day => dayLabel(day, { day: 'numeric', month: 'short', year: 'numeric' });

function barLabel(at, { name }) {
  const day = msToDay(at);
  if (name === 'week') return `Week of ${longDay(day)}`;
  if (name === 'month') return dayLabel(day, { month: 'long', year: 'numeric' });
  return name === 'year' ? day.slice(0, 4) : longDay(day);
}

function tickLabel(at, { name }) {
  const day = msToDay(at);
  if (name === 'month') return dayLabel(day, { month: 'short', year: '2-digit' });
  return name === 'year' ? day.slice(0, 4) : dayLabel(day);
}

function rangeNote({ period, dates }) {
  const range = dates.length === 1 ? longDay(dates[0]) : `${longDay(dates[0])} to ${longDay(dates.at(-1))}`;
  const unit = { day: '', week: ' A bar is a week, from Monday.', month: ' A bar is a month.', year: ' A bar is a year.' }[period.name];
  return `${range}.${unit}`;
}

function description(chart) {
  const busiest = chart.bars.reduce((max, bar) => (bar.total > max.total ? bar : max));
  return `Stacked bars, ${rangeNote(chart)} The highest is ${barLabel(busiest.at, chart.period)} with ${plural(busiest.total, 'event')}. Arrow keys read single bars. The table has all days.`;
}

/** Returns round ticks up to at least `max`. */
function niceScale(max) {
  const rough = max / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => size >= rough));
  const interval = Math.ceil(step);
  const top = Math.ceil(max / interval) * interval;
  return { top, ticks: Array.from({ length: top / interval + 1 }, (_, i) => i * interval) };
}

/** Returns the bars with a label: as many as fit, at equal distances, including the last. */
function labelled(starts, step) {
  const needed = Math.ceil((2 * HALF_LABEL_WIDTH + 14) / step);
  const every = [1, 2, 3, 4, 6, 7, 12, 14, 24, 28].find(count => count >= needed) ?? needed;
  return starts.filter((_, i) => (starts.length - 1 - i) % every === 0);
}

/** Centres a label under its bar, unless the edge would clip it. */
const anchored = (middle, width) => (middle + HALF_LABEL_WIDTH > width
  ? { x: width - 1, 'text-anchor': 'end' }
  : { x: middle, 'text-anchor': 'middle' });

const compact = value => value.toLocaleString(undefined, { notation: 'compact', maximumFractionDigits: 1 });
