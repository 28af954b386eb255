// The upload form: selects a file, sends it with its options, shows the progress, and passes on the receipt.

import { upload } from './api.js';
import { button, byId, el, fill, focusOn, setText } from './dom.js';
import * as dryRun from './dry-run.js';
import { emit, on } from './event-bus.js';
import { bytes, duration } from './format.js';
import { clearProblem, showProblem } from './problem.js';
import * as profiles from './profiles.js';
import { remedies } from './remedies.js';

const input = byId('file');
const drop = byId('drop');
const status = byId('upload-status');
const problem = byId('upload-problem');
const meter = byId('progress');

let running = null;
/** The values of option fields before a proposal was accepted for the file that is selected. */
const before = new Map();

export function start() {
  byId('upload-form').addEventListener('submit', event => {
    event.preventDefault();
    send();
  });
  byId('dry-run-button').addEventListener('click', () => send({ isDryRun: true }));
  byId('parent-clear').addEventListener('click', () => setParent(''));
  on('correct-rows', ({ parent, file, options: extra }) => {
    setParent(parent);
    if (!file) {
      focusOn(input);
      return;
    }
    selectFile([file]);
    retryWith(extra);
  });
  dryRun.start();
  profiles.start(options);
  input.addEventListener('change', () => {
    giveBack();
    showSelection();
  });
  byId('cancel-button').addEventListener('click', () => running?.cancel());
  byId('use-example').addEventListener('click', useExample);
  byId('options').addEventListener('toggle', listZones, { once: true });
  window.addEventListener('beforeunload', event => {
    if (running) event.preventDefault();
  });
  byId('help').open = matchMedia('(min-width: 1000px)').matches;
  acceptDrops();
  showSelection();
}

/** Accepts a file dropped anywhere: without a handler, the browser would open it in place of the page. */
function acceptDrops() {
  let depth = 0;
  const hasFiles = event => event.dataTransfer?.types.includes('Files');
  const highlight = on => drop.classList.toggle('over', on);
  window.addEventListener('dragenter', event => {
    if (hasFiles(event)) highlight(++depth > 0);
  });
  window.addEventListener('dragleave', event => {
    if (hasFiles(event)) highlight(--depth > 0);
  });
  window.addEventListener('dragover', event => {
    if (hasFiles(event)) event.preventDefault();
  });
  window.addEventListener('drop', event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    highlight(false);
    if (!running) selectFile(event.dataTransfer.files);
  });
}

function selectFile(files) {
  if (files.length === 0) return;
  const transfer = new DataTransfer();
  giveBack();
  transfer.items.add(files[0]);
  input.files = transfer.files;
  showSelection();
  if (files.length > 1) setText(status, `Only one file can be uploaded at a time: ${files[0].name} is selected.`);
  byId('upload-button').focus();
}

function useExample() {
  selectFile([new File([byId('example').textContent], 'example.csv', { type: 'text/csv' })]);
}

function showSelection() {
  const file = input.files[0];
  clearProblem(problem);
  setText(status, '');
  drop.classList.toggle('chosen', Boolean(file));
  fill(byId('file-name'), ...(file
    ? [el('strong', {}, file.name)]
    : [el('span', { class: 'link' }, 'Choose a CSV file'), ' or drop it here']));
  setText(byId('file-note'), file
    ? `${bytes(file.size)}, ready to upload. Choose or drop another file to replace it.`
    : 'One row per event. Nothing is counted until you process the batch.');
}

function options() {
  const form = new FormData(byId('upload-form'));
  form.delete('file');
  return Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]));
}

/** Declares the next file as the corrected rows of the batch `parent`; an empty text as an independent file. */
function setParent(parent) {
  byId('option-parent').value = parent;
  byId('parent-note').hidden = !parent;
}

async function send({ isDryRun = false } = {}) {
  const file = input.files[0];
  if (running) return;
  clearProblem(problem);
  if (!file) {
    setText(status, 'Choose a CSV file first.');
    input.focus();
    return;
  }
  emit('upload-started');
  dryRun.close();
  setRunning(true);
  setText(status, isDryRun ? `Dry run of ${file.name}…` : `Uploading ${file.name}…`);
  try {
    const query = isDryRun ? { ...options(), dry_run: true } : options();
    running = upload(file, query, showProgress(performance.now(), isDryRun));
    const receipt = await running.receipt;
    setText(status, '');
    if (isDryRun) {
      dryRun.showDryRun(file.name, receipt, () => send());
      return;
    }
    input.value = '';
    giveBack();
    setParent('');
    showSelection();
    emit('uploaded', receipt);
  } catch (error) {
    setText(status, '');
    showRefusal(error);
    // The batch may be stored although the reply was lost.
    emit('batches-changed');
  } finally {
    running = null;
    setRunning(false);
  }
}

function setRunning(on) {
  // A hidden button can't keep the focus.
  if (!on && document.activeElement === byId('cancel-button')) byId('upload-button').focus();
  byId('upload-progress').hidden = !on;
  byId('cancel-button').hidden = !on;
  for (const id of ['upload-button', 'dry-run-button']) byId(id).setAttribute('aria-disabled', String(on));
  input.disabled = on;
  byId('upload-form').setAttribute('aria-busy', String(on));
}

function showProgress(startedAt, isDryRun) {
  const text = byId('progress-text');
  meter.value = 0;
  setText(text, '');
  return (sent, total) => {
    if (sent >= total) {
      // No value, since the time to store the rows is unknown.
      meter.removeAttribute('value');
      setText(status, isDryRun ? 'Sent. Checking the rows…' : 'Sent. Checking and storing the rows…');
      setText(text, bytes(total));
      return;
    }
    const elapsed = (performance.now() - startedAt) / 1000;
    const rate = sent / elapsed;
    meter.value = (100 * sent) / total;
    const parts = [`${bytes(sent)} of ${bytes(total)}`, `${Math.floor((100 * sent) / total)} %`];
    if (elapsed > 1 && rate > 0) parts.push(`${bytes(rate)}/s`, `${duration((total - sent) / rate)} left`);
    setText(text, parts.join(' · '));
  };
}

function showRefusal(error) {
  const { actions, form } = remedies(error.problem ?? {}, retryWith);
  const text = `${error.code} ${error.problem?.detail ?? ''}`;
  if (!form && /column|timestamp|no-valid-rows|option|zone/.test(text)) {
    const timestamps = /timestamp|zone|no-valid-rows/.test(text) && !/column/.test(error.code);
    const field = byId(timestamps ? 'option-format' : 'option-columns');
    actions.push(button('Open the options', () => {
      byId('options').open = true;
      focusOn(field);
    }));
  }
  showProblem(problem, error, { actions, form });
}

/** Takes back the options of accepted proposals: they are of one file, and would be wrong for the next. */
function giveBack() {
  for (const [field, value] of before) field.value = value;
  before.clear();
}

/** Adds a field for an option that the form does not show. An empty one is not sent. */
function hiddenField(name) {
  const field = el('input', { type: 'hidden', name });
  byId('upload-form').append(field);
  return field;
}

/** Uploads the file again with additional options, which are set in the form for the user to see. */
function retryWith(options) {
  byId('options').open = true;
  for (const [name, value] of Object.entries(options)) {
    const field = byId('upload-form').elements.namedItem(name) ?? hiddenField(name);
    if (!before.has(field)) before.set(field, field.value);
    // Mappings of other columns stay valid.
    field.value = name === 'columns' && field.value.trim() ? `${field.value.trim()},${value}` : value;
  }
  send();
}

function listZones() {
  const zones = Intl.supportedValuesOf?.('timeZone') ?? [];
  fill(byId('zones'), zones.map(zone => el('option', { value: zone })));
}
