// Shows what went wrong, where it went wrong, and what to do about it.

import { coded, el, fill } from './dom.js';
import { duration, reason, words } from './format.js';
import { errorsTable } from './errors.js';

const SHOWN_ELSEWHERE = new Set([
  'type', 'title', 'status', 'detail', 'code', 'retryable', 'error', 'errors', 'errors_truncated', 'errors_by_code',
  'instance', 'request_id', 'batch_id', 'retry_after', 'missing', 'found', 'nearest', 'proposed', 'proposals', 'failed_count',
]);

const BY_CODE = [
  [/unreachable/, 'Check that the server runs and that you are online, then try again.'],
  [/upload-broken/, 'Look under “Recent batches”: if the file arrived it is listed there. Uploading it again is harmless, because the same file is recognised.'],
  [/upload-cancelled/, 'Choose Upload to send it after all.'],
  [/outcome-unknown/, 'The file may or may not have been stored. Open the batch to see, or upload it again: the same file is recognised.'],
  [/missing.*column|column.*missing|missing-label/, 'Rename the columns in the file, or say under Options, Columns which is which (user_id:your_name).'],
  [/duplicate|doubled/, 'Remove or rename the column that is there twice, then upload again.'],
  [/no-valid-rows/, 'Mend the rows below and upload the file again. If every timestamp is refused, give its form under Options, Timestamp format.'],
  [/header-only|empty/, 'Put at least a header and one row into the file, then upload again.'],
  [/too-many-event-types|too-many-days/, 'Most often a column was taken for the wrong one: say which is which under Options, Columns.'],
];

const BY_STATUS = {
  400: 'Correct what is named above and try again.',
  401: 'Type the token again: it is the value of ADMIN_TOKEN the server was started with.',
  404: 'It is not there any more, or never was. Reload the list.',
  409: 'It is in a state that does not allow this. Reload and look again.',
  410: 'It was undone; upload the file again if you need it.',
  413: 'Split the file, or have the limit that is named raised.',
  415: 'Save the file as CSV and upload that, as it is or packed with gzip, zstd or zip.',
  422: 'Correct the file or the options and upload again.',
};

export function advice(fault) {
  if (fault.status === 429) return `Try again ${fault.retryAfter ? `in ${duration(fault.retryAfter)}` : 'in a minute'}.`;
  const found = BY_CODE.find(([pattern]) => pattern.test(fault.code));
  if (found) return found[1];
  if (fault.status >= 500) return fault.retryAfter ? `Try again in ${duration(fault.retryAfter)}.` : 'Try again in a moment. If it stays, the server’s log says more.';
  return BY_STATUS[fault.status] ?? 'Try again.';
}

/** Shows a fault inside `place`, with its own `advised` text, `actions` (buttons) and `form` if given. */
export function showProblem(place, fault, { advised = advice(fault), actions = [], form = null } = {}) {
  const { problem } = fault;
  if (!problem) throw fault;
  const title = problem.title || `Error ${fault.status}`;
  const detail = problem.detail || problem.error || '';
  const batch = problem.batch_id && el('a', { href: `#batch/${encodeURIComponent(problem.batch_id)}` }, 'Open the batch');
  fill(place, el('div', { class: 'notice bad', role: 'alert', dataset: { code: fault.code, status: fault.status } },
    el('p', {}, el('strong', {}, title)),
    detail && detail !== title ? el('p', {}, coded(detail)) : null,
    extras(problem),
    form ? null : el('p', { class: 'advice' }, advised),
    form,
    actions.length || batch ? el('p', { class: 'actions' }, actions, batch) : null,
    footnote(fault)),
  problem.errors?.length ? errorsTable(problem, 'First rows refused').node : null);
}

export const clearProblem = place => fill(place);

function footnote({ code, requestId }) {
  const parts = [code && `Code ${code}`, requestId && `request ${requestId}`].filter(Boolean);
  return parts.length ? el('p', { class: 'muted small' }, parts.join(' · ')) : null;
}

/** What a problem says beyond the usual: missing columns, limits, settings… */
function extras(problem) {
  const items = Object.entries(problem)
    .filter(([name, value]) => !SHOWN_ELSEWHERE.has(name) && value !== null && value !== '' && value?.length !== 0)
    .map(([name, value]) => el('div', {}, el('dt', {}, words(name)), el('dd', {}, listed(value))));
  return items.length ? el('dl', { class: 'facts' }, items) : null;
}

function listed(value) {
  if (Array.isArray(value)) return value.map(reason).join(', ');
  if (typeof value === 'object') {
    return Object.entries(value).map(([name, inner]) => `${name}: ${Array.isArray(inner) ? inner.join(', ') : reason(inner)}`).join('; ');
  }
  return typeof value === 'number' ? value.toLocaleString() : String(value);
}

