// The status of a batch: which actions it allows, and its description.

import { fill, setText } from './dom.js';
import { dayLabel, instant, number, plural, reason, words } from './format.js';

const ACTIVE = new Set(['queued', 'processing', 'deleting']);

/** Whether a job of the batch is queued or running. */
export const isActive = status => ACTIVE.has(status);
export const mayProcess = status => status === 'uploaded' || status === 'failed';
export const mayUndo = status => !['receiving', 'deleting', 'deleted'].includes(status);

export function showBadge(badge, status) {
  setText(badge, status);
  badge.className = `badge is-${status}`;
}

export function showStatus(batch, { badge, text, progress }) {
  showBadge(badge, batch.status);
  const sentence = SENTENCES[batch.status]?.(batch) ?? `${words(batch.status)}.`;
  const spoken = [sentence].flat();
  // A live region announces every change, so equal text is not set again.
  if (text.textContent !== spoken.map(part => part.textContent ?? part).join('')) fill(text, ...spoken);
  text.dataset.status = batch.status;
  showProgress(batch, progress);
}

function showProgress({ status, job }, place) {
  const steps = isActive(status) ? job?.progress : null;
  place.hidden = !isActive(status);
  const [meter, note] = place.children;
  if (!steps?.total) {
    meter.removeAttribute('value');
    setText(note, '');
    return;
  }
  meter.max = steps.total;
  meter.value = steps.done;
  setText(note, `${number(steps.done)} of ${number(steps.total)}`);
}

const SENTENCES = {
  receiving: () => 'The file is being received.',
  uploaded: batch => (batch.expires_at
    ? ['Stored, not counted yet. Process it before ', instant(batch.expires_at), ', or it is deleted.']
    : 'Stored, not counted yet. Process it to add its events to the daily metrics.'),
  queued: ({ job }) => {
    if (!job?.last_error || !job.attempt) return 'Waiting for a worker…';
    return [`Attempt ${job.attempt} of ${job.max_attempts} failed: ${reason(job.last_error)}. Next attempt at `,
      instant(job.run_at, { hour: 'numeric', minute: '2-digit', second: '2-digit' }), '.'];
  },
  processing: ({ job }) => {
    const again = job?.attempt > 1 ? ` (attempt ${job.attempt} of ${job.max_attempts})` : '';
    return `Processing${job?.progress?.phase ? `: ${String(job.progress.phase).replaceAll('_', ' ')}` : ''}${again}…`;
  },
  completed: ({ published, days }) => {
    const events = published ? `${plural(published.counted, 'event')} counted` : 'Counted';
    return `${events}${dayRange(days)}.${uncounted(published)}`;
  },
  failed: ({ job }) => `Processing failed${job?.attempt ? ` after ${plural(job.attempt, 'attempt')}` : ''}${
    job?.last_error ? `: ${reason(job.last_error)}` : ''}. Correct the cause, then process the batch again.`,
  deleting: () => 'Deleting: its events are being removed from the daily metrics…',
  deleted: () => 'Deleted. Its events are no longer counted. Upload the file again to restore them.',
};

function dayRange(days) {
  if (!days?.length) return '';
  const full = { day: 'numeric', month: 'short', year: 'numeric' };
  if (days.length === 1) return ` on ${dayLabel(days[0], full)}`;
  const sorted = [...days].sort();
  return ` over ${plural(days.length, 'day')}, ${dayLabel(sorted[0], full)} to ${dayLabel(sorted.at(-1), full)}`;
}

function uncounted(published) {
  const rows = (published?.duplicate ?? 0) + (published?.conflict ?? 0);
  return rows ? ` ${plural(rows, 'row')} not counted: ${published.duplicate ? 'duplicates' : ''}${
    published.duplicate && published.conflict ? ' or ' : ''}${published.conflict ? 'conflicts with another row' : ''}.` : '';
}
