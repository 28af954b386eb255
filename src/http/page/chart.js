// The chart of events per day, as stacked bars. The table beside it has the same values as text.

import { byId, el, fill, setText, svg } from './dom.js';
import { DAY_MS, dayLabel, dayToMs, msToDay, number, plural } from './format.js';

const MAX_DAYS = 60;
const MIN_DAYS = 7;
const MAX_SERIES = 5;
const HEIGHT = 260;
const HALF_LABEL_WIDTH = 24;
const MARGIN = { top: 14, right: 4, bottom: 26, left: 46 };

let current = null;
let currentWidth = 0;

export function start() {
  const place = byId('chart');
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (current && place.clientWidth !== currentWidth) draw(current);
  })).observe(place);
}

/** Draws `days`, a non-empty list as `GET /metrics` returns it. */
export function showChart(days) {
  const sorted = [...days].sort((a, b) => (a.date < b.date ? -1 : 1));
  const last = dayToMs(sorted.at(-1).date);
  const earliest = Math.max(dayToMs(sorted[0].date), last - (MAX_DAYS - 1) * DAY_MS);
  const first = Math.min(earliest, last - (MIN_DAYS - 1) * DAY_MS);
  const within = sorted.filter(day => dayToMs(day.date) >= first);
  const types = series(within);
  current = { first, last, days: within, types, hidden: sorted.length - within.length };
  legend(types, within.some(day => day.stale));
  draw(current);
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

/** Returns the segments of the bar of a day, from the bottom up. */
function segments(day, types) {
  const counts = new Map(day.metrics.map(({ event_type: type, count }) => [type, count]));
  const list = types.named.map((type, i) => ({ label: type, count: counts.get(type) ?? 0, name: `series-${i}` }));
  if (types.others) {
    const named = list.reduce((sum, { count }) => sum + count, 0);
    list.push({ label: othersLabel(types), count: day.total - named, name: `series-${MAX_SERIES}` });
  }
  return list.filter(({ count }) => count > 0);
}

function draw({ first, last, days, types, hidden }) {
  const place = byId('chart');
  currentWidth = place.clientWidth;
  const width = Math.max(currentWidth, 240);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const count = Math.round((last - first) / DAY_MS) + 1;
  const step = inner.width / count;
  const scale = niceScale(Math.max(1, ...days.map(day => day.total)));
  const x = ms => MARGIN.left + ((ms - first) / DAY_MS) * step;
  const y = value => MARGIN.top + inner.height * (1 - value / scale.top);

  const picture = svg('svg', {
    viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: 'img', 'aria-labelledby': 'chart-title chart-desc',
  },
  svg('title', { id: 'chart-title' }, 'Events per day'),
  svg('desc', { id: 'chart-desc' }, description(days)),
  scale.ticks.map(tick => svg('g', { class: 'tick' },
    svg('line', { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
    svg('text', { x: MARGIN.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, compact(tick)))),
  dayTicks(first, count, step).map(ms => svg('text', {
    class: 'day-tick', y: HEIGHT - 8, ...anchored(x(ms) + step / 2, width),
  }, dayLabel(msToDay(ms)))),
  days.map(day => bar(day, types, { x: x(dayToMs(day.date)), y, step, inner })));

  const defaultNote = note(days, hidden);
  const noteNode = byId('chart-note');
  setText(noteNode, defaultNote);
  picture.addEventListener('pointermove', event => highlightDay(picture, event, noteNode, defaultNote, types, days));
  picture.addEventListener('pointerdown', event => highlightDay(picture, event, noteNode, defaultNote, types, days));
  picture.addEventListener('pointerleave', () => highlightDay(picture, null, noteNode, defaultNote, types, days));
  fill(place, picture);
}

function bar(day, types, { x, y, step, inner }) {
  const width = Math.max(1, Math.min(step * 0.76, 34));
  const left = x + (step - width) / 2;
  let below = 0;
  const blocks = segments(day, types).map(({ count, name }) => {
    const bottom = y(below);
    below += count;
    const height = Math.max(bottom - y(below) - (below === count ? 0 : 1), 0.75);
    return svg('rect', { class: name, x: left, y: y(below), width, height });
  });
  const height = Math.max(y(0) - y(day.total), 1);
  return svg('g', { class: `day${day.stale ? ' is-stale' : ''}`, 'data-date': day.date, 'data-total': day.total },
    svg('rect', { class: 'band', x, y: MARGIN.top, width: step, height: inner.height }),
    blocks,
    day.stale ? svg('rect', { class: 'stale-mark', x: left - 1.5, y: y(0) - height - 1.5, width: width + 3, height: height + 1.5 }) : null);
}

/** Shows the values of the day under the pointer below the chart. */
function highlightDay(picture, event, noteNode, defaultNote, types, days) {
  const group = event?.target.closest('.day') ?? null;
  for (const other of picture.querySelectorAll('.day.is-pointed')) if (other !== group) other.classList.remove('is-pointed');
  if (!group) {
    setText(noteNode, defaultNote);
    return;
  }
  group.classList.add('is-pointed');
  const day = days.find(({ date }) => date === group.dataset.date);
  const detail = segments(day, types).map(({ label, count }) => `${label} ${number(count)}`).join(', ');
  setText(noteNode, `${longDay(day.date)}: ${plural(day.total, 'event')} (${detail}), ${plural(day.unique_users, 'user')}${day.stale ? '; being recomputed' : ''}`);
}

const longDay = day => dayLabel(day, { day: 'numeric', month: 'short', year: 'numeric' });

function note(days, hidden) {
  const range = days.length === 1 ? longDay(days[0].date) : `${longDay(days[0].date)} to ${longDay(days.at(-1).date)}`;
  return hidden ? `${range}. The table also has ${plural(hidden, 'earlier day')}.` : range;
}

function description(days) {
  const busiest = days.reduce((max, day) => (day.total > max.total ? day : max));
  return `Stacked bars for ${note(days, 0)}. The busiest day is ${longDay(busiest.date)} with ${plural(busiest.total, 'event')}. The table has all values.`;
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

/** Returns the days with a label: as many as fit, at equal distances, including the last day. */
function dayTicks(first, count, step) {
  const every = [1, 2, 7, 14, 28].find(days => days * step >= 2 * HALF_LABEL_WIDTH + 14) ?? 56;
  const ticks = [];
  for (let i = count - 1; i >= 0; i -= every) ticks.unshift(first + i * DAY_MS);
  return ticks;
}

/** Centres a label under its day, unless the edge would clip it. */
const anchored = (middle, width) => (middle + HALF_LABEL_WIDTH > width
  ? { x: width - 1, 'text-anchor': 'end' }
  : { x: middle, 'text-anchor': 'middle' });

const compact = value => value.toLocaleString(undefined, { notation: 'compact', maximumFractionDigits: 1 });
