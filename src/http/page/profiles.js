// Profiles: upload options kept under a name, chosen and saved beside the options themselves.

import { get, request } from './api.js';
import { busy, byId, el, fill, say } from './dom.js';

const chosen = byId('option-profile');
const name = byId('profile-name');
const told = byId('profile-status');

/** `options()` answers the options of the form; without those of one file they are what is saved. */
export function start(options) {
  byId('options').addEventListener('toggle', load, { once: true });
  byId('profile-save').addEventListener('click', event => busy(event.currentTarget, () => save(options())));
}

async function load() {
  try {
    const { data } = await get('profiles', { limit: 1000 });
    const before = chosen.value;
    fill(chosen, el('option', { value: '' }, 'none'), data.map(profile => el('option', { value: profile.name }, profile.name)));
    chosen.value = before;
  } catch (fault) {
    say(told, fault.message);
  }
}

async function save({ profile, parent, ...options }) {
  const stated = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== ''));
  if (!name.value.trim()) {
    say(told, 'Give it a name first.');
    name.focus();
    return;
  }
  if (Object.keys(stated).length === 0) {
    say(told, 'Set some options first: they are what is saved.');
    return;
  }
  try {
    const saved = await request('PUT', `profiles/${encodeURIComponent(name.value.trim())}`, { body: stated });
    await load();
    chosen.value = saved.name;
    say(told, `Saved as ${saved.name}.`);
    name.value = '';
  } catch (fault) {
    say(told, fault.message);
  }
}
