// Profiles: named sets of upload options, selected and saved in the upload form.

import { get, request } from './api.js';
import { byId, el, fill, setText, withBusy } from './dom.js';

const select = byId('option-profile');
const name = byId('profile-name');
const status = byId('profile-status');

/** `options()` returns the options of the form. Those of a single file are not saved. */
export function start(options) {
  byId('options').addEventListener('toggle', load, { once: true });
  select.addEventListener('change', showOptions);
  byId('profile-save').addEventListener('click', event => withBusy(event.currentTarget, () => save(options())));
}

/** Shows the options of the selected profile, which the empty fields take from it. */
async function showOptions() {
  const place = byId('profile-options');
  const { value: selected } = select;
  setText(place, '');
  if (!selected) return;
  try {
    const profile = await get(`profiles/${encodeURIComponent(selected)}`);
    if (select.value !== selected) return;
    const options = Object.entries(profile.options).map(([option, value]) => `${option}=${value}`);
    setText(place, `It sets ${options.join(', ')}.`);
  } catch (error) {
    setText(place, error.message);
  }
}

async function load() {
  try {
    const { data } = await get('profiles', { limit: 1000 });
    const selected = select.value;
    fill(select, el('option', { value: '' }, 'none'), data.map(profile => el('option', { value: profile.name }, profile.name)));
    select.value = selected;
  } catch (error) {
    setText(status, error.message);
  }
}

async function save({ profile, parent, ...options }) {
  const set = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== ''));
  if (!name.value.trim()) {
    setText(status, 'Enter a name first.');
    name.focus();
    return;
  }
  if (Object.keys(set).length === 0) {
    setText(status, 'Set some options first.');
    return;
  }
  try {
    const saved = await request('PUT', `profiles/${encodeURIComponent(name.value.trim())}`, { body: set });
    await load();
    select.value = saved.name;
    showOptions();
    setText(status, `Saved as ${saved.name}.`);
    name.value = '';
  } catch (error) {
    setText(status, error.message);
  }
}
