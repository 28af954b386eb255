// An event bus, by which one part of the page learns of changes that another part made.
//
// Events: `upload-started`, `uploaded` (receipt), `batch-updated` (batch), `batches-changed` (id of a batch or none),
// `metrics-changed`, `correct-rows` ({ parent, file, options }).

const bus = new EventTarget();

export const on = (name, handler) => bus.addEventListener(name, event => handler(event.detail));
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
