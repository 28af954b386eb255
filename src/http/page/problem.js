// Shows a problem document with advice, beside the control that caused it.

import { el, fill, withCode } from './dom.js';
import { errorsTable } from './errors.js';
import { duration, reason, words } from './format.js';

const KNOWN_FIELDS = new Set([
  'type', 'title', 'status', 'detail', 'code', 'retryable', 'error', 'errors', 'errors_truncated', 'errors_by_code',
  'instance', 'request_id', 'batch_id', 'retry_after', 'missing', 'found', 'nearest', 'proposed', 'proposals', 'failed_count',
]);

const BY_CODE = [
  [/unreachable/, 'Check that the server runs and that you are online, then try again.'],
  [/upload-broken/, 'Check “Recent batches”: if the file arrived, it is listed there. Uploading it again is safe, because the same file is recognised.'],
  [/upload-cancelled/, 'Choose Upload to send it again.'],
  [/outcome-unknown/, 'The file may or may not have been stored. Open the batch to check, or upload the file again: the same file is recognised.'],
  [/missing.*column|column.*missing|missing-label/, 'Rename the columns in the file, or map them under Options, Columns (user_id:your_name).'],
  [/duplicate|doubled/, 'Remove or rename the duplicate column, then upload again.'],
  [/no-valid-rows/, 'Correct the rows below and upload the file again. If every timestamp is rejected, set its format under Options, Timestamp format.'],
  [/header-only|empty/, 'The file needs a header and at least one row.'],
  [/too-many-event-types|too-many-days/, 'Most often a column was recognised as the wrong one: map the columns under Options, Columns.'],
];

const BY_STATUS = {
  400: 'Correct the value named above and try again.',
  401: 'Type the token again: it is the value of ADMIN_TOKEN with which the server was started.',
  404: 'It does not exist, or was deleted. Reload the list.',
  409: 'Its state does not allow this. Reload to see the present state.',
  410: 'It was deleted. Upload the file again if you need it.',
  413: 'Split the file, or raise the limit named above.',
  415: 'Save the file as CSV and upload it, plain or compressed with gzip, zstd or zip.',
  422: 'Correct the file or the options and upload again.',
};

export function advice(error) {
  if (error.status === 429) return `Try again ${error.retryAfter ? `in ${duration(error.retryAfter)}` : 'in a minute'}.`;
  const match = BY_CODE.find(([pattern]) => pattern.test(error.code));
  if (match) return match[1];
  if (error.status >= 500) return error.retryAfter ? `Try again in ${duration(error.retryAfter)}.` : 'Try again in a moment. If the error persists, see the log of the server.';
  return BY_STATUS[error.status] ?? 'Try again.';
}

/** Shows an error in `place`, with the text `advised`, `actions` (buttons) and a `form` instead of the text. */
export function showProblem(place, error, { advised = advice(error), actions = [], form = null } = {}) {
  const { problem } = error;
  if (!problem) throw error;
  const title = problem.title || `Error ${error.status}`;
  const detail = problem.detail || problem.error || '';
  const batch = problem.batch_id && el('a', { href: `#batch/${encodeURIComponent(problem.batch_id)}` }, 'Open the batch');
  fill(place, el('div', { class: 'notice bad', role: 'alert', dataset: { code: error.code, status: error.status } },
    el('p', {}, el('strong', {}, title)),
    detail && detail !== title ? el('p', {}, withCode(detail)) : null,
    extras(problem),
    form ? null : el('p', { class: 'advice' }, advised),
    form,
    actions.length || batch ? el('p', { class: 'actions' }, actions, batch) : null,
    footnote(error)),
  problem.errors?.length ? errorsTable(problem.errors, 'First rejected rows') : null);
}

export const clearProblem = place => fill(place);

function footnote({ code, requestId }) {
  const parts = [code && `Code ${code}`, requestId && `request ${requestId}`].filter(Boolean);
  return parts.length ? el('p', { class: 'muted small' }, parts.join(' · ')) : null;
}

/** Lists the additional fields of a problem, such as limits and settings. */
function extras(problem) {
  const items = Object.entries(problem)
    .filter(([name, value]) => !KNOWN_FIELDS.has(name) && value !== null && value !== '' && value?.length !== 0)
    .map(([name, value]) => el('div', {}, el('dt', {}, words(name)), el('dd', {}, formatValue(value))));
  return items.length ? el('dl', { class: 'facts' }, items) : null;
}

function formatValue(value) {
  if (Array.isArray(value)) return value.map(reason).join(', ');
  if (typeof value === 'object') {
    return Object.entries(value).map(([name, inner]) => `${name}: ${Array.isArray(inner) ? inner.join(', ') : reason(inner)}`).join('; ');
  }
  return typeof value === 'number' ? value.toLocaleString() : String(value);
}

