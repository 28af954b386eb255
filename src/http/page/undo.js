// Undo: explains the effect, asks for confirmation, and deletes the batch.

import { batchPath, request } from './api.js';
import { confirmDialog, withBusy } from './dom.js';
import { emit } from './event-bus.js';
import { fileName, plural } from './format.js';
import { clearProblem, showProblem } from './problem.js';

/** Deletes a batch after a confirmation. An error is shown in `place`. */
export function undo(batch, place, control) {
  return withBusy(control, async () => {
    clearProblem(place);
    const counted = batch.published?.counted;
    const confirmed = await confirmDialog({
      title: `Undo ${fileName(batch)}?`,
      text: [
        counted
          ? `${plural(counted, 'counted event')} will be removed from the daily metrics, and its ${plural(batch.inserted_count, 'stored row')} will be deleted.`
          : `Its ${plural(batch.inserted_count, 'stored row')} will be deleted. None of them is counted in the daily metrics.`,
        counted ? 'Events of other batches that are duplicates of these will be counted instead.' : null,
        'This cannot be reverted, but the file can be uploaded again.',
      ].filter(Boolean),
      yes: 'Undo the batch',
      no: 'Cancel',
    });
    if (!confirmed) return;
    try {
      await request('DELETE', batchPath(batch.batch_id));
      emit('batches-changed', batch.batch_id);
    } catch (error) {
      showProblem(place, error);
    }
  });
}
