// Puts the parts of the page together: each looks after its own section, and news travels between them here.

import * as batches from './batches.js';
import { on } from './bus.js';
import * as chart from './chart.js';
import * as dlq from './dlq.js';
import { button, byId, el, fill } from './dom.js';
import * as metrics from './metrics.js';
import { clearProblem } from './problem.js';
import * as receipt from './receipt.js';
import * as upload from './upload.js';

on('upload-started', () => receipt.close());
on('uploaded', reply => {
  receipt.showReceipt(reply);
  batches.reload();
});
on('batch', batch => {
  batches.hear(batch);
  if (['completed', 'deleted', 'failed'].includes(batch.status)) {
    metrics.reload();
    dlq.refresh();
  }
});
on('batches-changed', id => {
  batches.reload();
  if (id) receipt.hear(id);
});
on('figures-changed', () => {
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
// A link to the batch that is already in the address changes nothing there, and should still open it.
document.addEventListener('click', event => {
  const link = event.target.closest('a[href^="#batch/"]');
  if (link && link.hash === location.hash) openFromAddress(link.hash);
});

/** Faults nobody expected are said, not swallowed. */
function tell(error) {
  if (error?.name === 'AbortError') return;
  const place = byId('message');
  fill(place, el('div', { class: 'notice bad' },
    el('p', {}, el('strong', {}, 'Something on this page went wrong. '), `${error?.message ?? error} Reload the page; nothing that was stored is lost.`),
    button('Dismiss', () => fill(place), { class: 'quiet' })));
}

window.addEventListener('error', event => event.error && tell(event.error));
window.addEventListener('unhandledrejection', event => tell(event.reason));

for (const part of [chart, upload, receipt, metrics, batches, dlq]) part.start();
openFromAddress(location.hash);
