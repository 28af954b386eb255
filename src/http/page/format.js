// Formats numbers, instants and names of the API as text.

export const number = value => (value === null || value === undefined ? '–' : Number(value).toLocaleString());

/** Formats a count with its noun: `1 row`, `2 rows`. */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${Number(count) === 1 ? one : many}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(count) {
  let value = Number(count);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const maximumFractionDigits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toLocaleString(undefined, { maximumFractionDigits })} ${UNITS[unit]}`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** The zone of days and instants: that of the service, so that both agree wherever the reader is. */
let zone = 'UTC';

export const timeZone = () => zone;

export function setTimeZone(name) {
  zone = name;
}

const DATE = { year: 'numeric', month: 'short', day: 'numeric' };
const TIME = { hour: 'numeric', minute: '2-digit' };

/** Formats an instant as a `<time>` in the zone of the service, with that zone; its title has the exact instant in UTC. */
export function instant(value, style = { ...DATE, ...TIME }) {
  const date = new Date(value ?? NaN);
  if (Number.isNaN(date.getTime())) return document.createTextNode('–');
  const node = document.createElement('time');
  node.dateTime = date.toISOString();
  node.title = typeof value === 'string' ? value : date.toISOString();
  node.textContent = date.toLocaleString(undefined, { ...style, timeZone: zone, timeZoneName: 'short' });
  return node;
}

/** Converts a calendar day to the milliseconds of its midnight in UTC, so that the time zone of the browser cannot shift it. */
export const dayToMs = day => Date.parse(`${day}T00:00:00Z`);
export const msToDay = ms => new Date(ms).toISOString().slice(0, 10);
export const DAY_MS = 86_400_000;

export function dayLabel(day, options = { day: 'numeric', month: 'short' }) {
  return new Date(dayToMs(day)).toLocaleDateString(undefined, { ...options, timeZone: 'UTC' });
}

const PUNCTUATION = {
  ',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'pipe', '"': 'double quote', "'": 'single quote',
  lf: 'LF', crlf: 'CRLF', cr: 'CR',
};

export const punctuation = value => PUNCTUATION[value] ?? String(value ?? '–');

const ROLES = {
  event_type: 'event type', timestamp: 'timestamp', user_id: 'user id', event_id: 'event id', attribute: 'attribute', ignored: 'ignored',
};

export const role = value => ROLES[value] ?? String(value);

export const fileName = batch => batch.file?.name || 'unnamed file';

/** Converts a name such as `only_this` to the text `Only this`. */
export function words(name) {
  const text = String(name).replaceAll(/[_-]+/g, ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Returns the text of a fault, which is a string in some replies and an object in others. */
export function reason(value) {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : value.message ?? value.detail ?? JSON.stringify(value);
}
