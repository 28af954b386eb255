// Undoing a batch: says what will happen, asks, and does it.

import { batchPath, request } from './api.js';
import { emit } from './bus.js';
import { ask, busy } from './dom.js';
import { fileName, plural } from './format.js';
import { clearProblem, showProblem } from './problem.js';

/** Asks, then undoes; a refusal is shown at `place`. */
export function undo(batch, place, control) {
  return busy(control, async () => {
    clearProblem(place);
    const counted = batch.published?.counted;
    const sure = await ask({
      title: `Undo ${fileName(batch)}?`,
      text: [
        counted
          ? `${plural(counted, 'counted event')} will be taken out of the daily figures, and its ${plural(batch.inserted_count, 'stored row')} will be deleted.`
          : `Its ${plural(batch.inserted_count, 'stored row')} will be deleted. None of them is in the daily figures.`,
        counted ? 'Events that other batches lost to this one as duplicates will count for those instead.' : null,
        'This cannot be taken back, but the file can be uploaded again.',
      ].filter(Boolean),
      yes: 'Undo the batch',
      no: 'Keep it',
    });
    if (!sure) return;
    try {
      await request('DELETE', batchPath(batch.batch_id));
      emit('batches-changed', batch.batch_id);
    } catch (fault) {
      showProblem(place, fault);
    }
  });
}
