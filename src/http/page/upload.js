// The upload form: choosing or dropping a file, its options, progress, and the reply handed on as a receipt.

import { upload } from './api.js';
import { emit, on } from './bus.js';
import { button, byId, el, fill, goTo, say } from './dom.js';
import { bytes, duration } from './format.js';
import * as look from './look.js';
import { clearProblem, showProblem } from './problem.js';
import * as profiles from './profiles.js';
import { settle } from './settle.js';

const input = byId('file');
const drop = byId('drop');
const status = byId('upload-status');
const problem = byId('upload-problem');
const meter = byId('progress');

let running = null;

export function start() {
  byId('upload-form').addEventListener('submit', event => {
    event.preventDefault();
    send();
  });
  byId('look-button').addEventListener('click', () => send({ onlyLook: true }));
  byId('parent-clear').addEventListener('click', () => mending(''));
  on('mend', ({ parent, file, options: more }) => {
    mending(parent);
    if (!file) {
      goTo(input);
      return;
    }
    take([file]);
    again(more);
  });
  look.start();
  profiles.start(options);
  input.addEventListener('change', chosen);
  byId('cancel-button').addEventListener('click', () => running?.cancel());
  byId('use-example').addEventListener('click', useExample);
  byId('options').addEventListener('toggle', listZones, { once: true });
  window.addEventListener('beforeunload', event => {
    if (running) event.preventDefault();
  });
  byId('help').open = matchMedia('(min-width: 1000px)').matches;
  acceptDrops();
  chosen();
}

/** A file may be dropped anywhere: one that misses the zone must not replace the page. */
function acceptDrops() {
  let depth = 0;
  const hasFiles = event => event.dataTransfer?.types.includes('Files');
  const light = on => drop.classList.toggle('over', on);
  window.addEventListener('dragenter', event => {
    if (hasFiles(event)) light(++depth > 0);
  });
  window.addEventListener('dragleave', event => {
    if (hasFiles(event)) light(--depth > 0);
  });
  window.addEventListener('dragover', event => {
    if (hasFiles(event)) event.preventDefault();
  });
  window.addEventListener('drop', event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    light(false);
    if (!running) take(event.dataTransfer.files);
  });
}

function take(files) {
  if (files.length === 0) return;
  const one = new DataTransfer();
  one.items.add(files[0]);
  input.files = one.files;
  chosen();
  if (files.length > 1) say(status, `One file at a time: ${files[0].name} was taken.`);
  byId('upload-button').focus();
}

function useExample() {
  take([new File([byId('example').textContent], 'example.csv', { type: 'text/csv' })]);
}

function chosen() {
  const file = input.files[0];
  clearProblem(problem);
  say(status, '');
  drop.classList.toggle('chosen', Boolean(file));
  fill(byId('file-name'), ...(file
    ? [el('strong', {}, file.name)]
    : [el('span', { class: 'link' }, 'Choose a CSV file'), ' or drop it here']));
  say(byId('file-note'), file
    ? `${bytes(file.size)}, ready to upload. Choose or drop another to replace it.`
    : 'One row per event. Nothing is counted before you say so.');
}

function options() {
  const form = new FormData(byId('upload-form'));
  form.delete('file');
  return Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]));
}

/** Takes the next file for the mended rows of a batch, or for one of its own. */
function mending(parent) {
  byId('option-parent').value = parent;
  byId('parent-note').hidden = !parent;
}

async function send({ onlyLook = false } = {}) {
  const file = input.files[0];
  if (running) return;
  clearProblem(problem);
  if (!file) {
    say(status, 'Choose a CSV file first.');
    input.focus();
    return;
  }
  emit('upload-started');
  look.close();
  working(true);
  say(status, onlyLook ? `Looking at ${file.name}…` : `Uploading ${file.name}…`);
  try {
    const asked = onlyLook ? { ...options(), dry_run: true } : options();
    running = upload(file, asked, showProgress(performance.now(), onlyLook));
    const receipt = await running.receipt;
    say(status, '');
    if (onlyLook) {
      look.showLook(file.name, receipt, () => send());
      return;
    }
    input.value = '';
    mending('');
    chosen();
    emit('uploaded', receipt);
  } catch (fault) {
    say(status, '');
    refused(fault);
    // A reply that was lost may still have left a batch.
    emit('batches-changed');
  } finally {
    running = null;
    working(false);
  }
}

function working(on) {
  byId('upload-progress').hidden = !on;
  byId('cancel-button').hidden = !on;
  for (const id of ['upload-button', 'look-button']) byId(id).setAttribute('aria-disabled', String(on));
  input.disabled = on;
  byId('upload-form').setAttribute('aria-busy', String(on));
}

function showProgress(began, onlyLook) {
  const text = byId('progress-text');
  meter.value = 0;
  say(text, '');
  return (sent, total) => {
    if (sent >= total) {
      // No value: how long storing takes is not known.
      meter.removeAttribute('value');
      say(status, onlyLook ? 'Sent. Checking the rows…' : 'Sent. Checking and storing the rows…');
      say(text, bytes(total));
      return;
    }
    const elapsed = (performance.now() - began) / 1000;
    const rate = sent / elapsed;
    meter.value = (100 * sent) / total;
    const parts = [`${bytes(sent)} of ${bytes(total)}`, `${Math.floor((100 * sent) / total)} %`];
    if (elapsed > 1 && rate > 0) parts.push(`${bytes(rate)}/s`, `${duration((total - sent) / rate)} left`);
    say(text, parts.join(' · '));
  };
}

function refused(fault) {
  const { actions, form } = settle(fault.problem ?? {}, again);
  const named = `${fault.code} ${fault.problem?.detail ?? ''}`;
  if (!form && /column|timestamp|no-valid-rows|option|zone/.test(named)) {
    const timestamps = /timestamp|zone|no-valid-rows/.test(named) && !/column/.test(fault.code);
    const field = byId(timestamps ? 'option-format' : 'option-columns');
    actions.push(button('Open the options', () => {
      byId('options').open = true;
      goTo(field);
    }));
  }
  showProblem(problem, fault, { actions, form });
}

/** Sends the file once more, with some options set in the form, where they can be seen. */
function again(options) {
  byId('options').open = true;
  for (const [name, value] of Object.entries(options)) {
    const field = byId('upload-form').elements.namedItem(name);
    // What was said of other columns still holds.
    field.value = name === 'columns' && field.value.trim() ? `${field.value.trim()},${value}` : value;
  }
  send();
}

function listZones() {
  const zones = Intl.supportedValuesOf?.('timeZone') ?? [];
  fill(byId('zones'), zones.map(zone => el('option', { value: zone })));
}
