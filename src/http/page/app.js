// Starts the parts of the page and connects them: each owns one section, and events between sections are routed here.

import { get } from './api.js';
import * as batches from './batches.js';
import * as chart from './chart.js';
import * as dlq from './dlq.js';
import { button, byId, el, fill } from './dom.js';
import { on } from './event-bus.js';
import { setTimeZone } from './format.js';
import * as metrics from './metrics.js';
import { clearProblem } from './problem.js';
import * as receipt from './receipt.js';
import * as upload from './upload.js';

on('upload-started', () => receipt.close());
on('uploaded', reply => {
  receipt.showReceipt(reply);
  batches.reload();
});
on('batch-updated', batch => {
  batches.update(batch);
  if (['completed', 'deleted', 'failed'].includes(batch.status)) {
    if (batch.status === 'completed') metrics.showDaysOf(batch);
    else metrics.reload();
    dlq.refresh();
  }
});
on('batches-changed', id => {
  batches.reload();
  if (id) receipt.refresh(id);
});
on('metrics-changed', () => {
  metrics.reload();
  dlq.refresh();
});

function openFromAddress(hash) {
  const id = /^#batch\/(.+)$/.exec(hash)?.[1];
  if (!id) return;
  clearProblem(byId('upload-problem'));
  receipt.openBatch(decodeURIComponent(id));
}

window.addEventListener('hashchange', () => openFromAddress(location.hash));
// A link to the batch in the current address fires no hashchange, but should still open the batch.
document.addEventListener('click', event => {
  const link = event.target.closest('a[href^="#batch/"]');
  if (link && link.hash === location.hash) openFromAddress(link.hash);
});

/** Shows an unexpected error. */
function showError(error) {
  if (error?.name === 'AbortError') return;
  const message = byId('message');
  fill(message, el('div', { class: 'notice bad' },
    el('p', {}, el('strong', {}, 'This page has an error. '), `${error?.message ?? error} Reload the page. No stored data is lost.`),
    button('Dismiss', () => fill(message), { class: 'quiet' })));
}

window.addEventListener('error', event => event.error && showError(event.error));
window.addEventListener('unhandledrejection', event => showError(event.reason));

// Every section shows days and times in the zone of the service.
try {
  const { time_zone: zone, version } = await get('settings');
  setTimeZone(zone);
  byId('version').textContent = `tallymill ${version}`;
} catch (error) {
  showError(error);
}
for (const section of [chart, upload, receipt, metrics, batches, dlq]) section.start();
openFromAddress(location.hash);
