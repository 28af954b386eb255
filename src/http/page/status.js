// What the state of a batch means, in words.

import { dayLabel, instant, number, plural, reason, words } from './format.js';
import { fill, say } from './dom.js';

const ACTIVE = new Set(['queued', 'processing', 'deleting']);

/** Whether something happens to the batch without anyone asking again. */
export const isActive = status => ACTIVE.has(status);
export const mayProcess = status => status === 'uploaded' || status === 'failed';
export const mayUndo = status => !['receiving', 'deleting', 'deleted'].includes(status);

export function showBadge(badge, status) {
  say(badge, status);
  badge.className = `badge is-${status}`;
}

export function showLive(batch, { badge, text, progress }) {
  showBadge(badge, batch.status);
  const sentence = SENTENCES[batch.status]?.(batch) ?? `${words(batch.status)}.`;
  const spoken = [sentence].flat();
  // A live region speaks on every change, so equal words must not be set again.
  if (text.textContent !== spoken.map(part => part.textContent ?? part).join('')) fill(text, ...spoken);
  text.dataset.status = batch.status;
  showSteps(batch, progress);
}

function showSteps({ status, job }, place) {
  const steps = isActive(status) ? job?.progress : null;
  place.hidden = !isActive(status);
  const [meter, note] = place.children;
  if (!steps?.total) {
    meter.removeAttribute('value');
    say(note, '');
    return;
  }
  meter.max = steps.total;
  meter.value = steps.done;
  say(note, `${number(steps.done)} of ${number(steps.total)}`);
}

const SENTENCES = {
  receiving: () => 'The file is still arriving.',
  uploaded: batch => (batch.expires_at
    ? ['Stored, not counted yet. Process it before ', instant(batch.expires_at), ', or it is removed.']
    : 'Stored, not counted yet. Process it to add its events to the daily figures.'),
  queued: ({ job }) => {
    if (!job?.last_error || !job.attempt) return 'Waiting for a worker…';
    return [`Try ${job.attempt} of ${job.max_attempts} failed: ${reason(job.last_error)}. Next try at `,
      instant(job.run_at, { timeStyle: 'medium' }), '.'];
  },
  processing: ({ job }) => {
    const again = job?.attempt > 1 ? ` (try ${job.attempt} of ${job.max_attempts})` : '';
    return `Processing${job?.progress?.phase ? `: ${String(job.progress.phase).replaceAll('_', ' ')}` : ''}${again}…`;
  },
  completed: ({ published, days }) => {
    const events = published ? `${plural(published.counted, 'event')} counted` : 'Counted';
    return `${events}${over(days)}.${missed(published)}`;
  },
  failed: ({ job }) => `Processing failed${job?.attempt ? ` after ${plural(job.attempt, 'try', 'tries')}` : ''}${
    job?.last_error ? `: ${reason(job.last_error)}` : ''}. Mend the cause, then process it again.`,
  deleting: () => 'Being undone: its events are taken out of the figures…',
  deleted: () => 'Undone. Its events are in no figure any more; upload the file again to bring them back.',
};

function over(days) {
  if (!days?.length) return '';
  const full = { day: 'numeric', month: 'short', year: 'numeric' };
  if (days.length === 1) return ` on ${dayLabel(days[0], full)}`;
  const sorted = [...days].sort();
  return ` over ${plural(days.length, 'day')}, ${dayLabel(sorted[0], full)} to ${dayLabel(sorted.at(-1), full)}`;
}

function missed(published) {
  const kept = (published?.duplicate ?? 0) + (published?.conflict ?? 0);
  return kept ? ` ${plural(kept, 'row')} kept out: ${published.duplicate ? 'counted before' : ''}${
    published.duplicate && published.conflict ? ' or ' : ''}${published.conflict ? 'at odds with another row' : ''}.` : '';
}
