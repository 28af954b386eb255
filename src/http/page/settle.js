// What would settle a refusal: which column is what, or how timestamps are written; sent again with one click.

import { button, el } from './dom.js';

const NAMES = { event_type: 'What happened', timestamp: 'When', user_id: 'To whom' };

/** Buttons and fields for a problem; `again(options)` sends the file once more with these options. */
export function settle(problem, again) {
  const formats = (problem.proposals ?? [])
    .filter(proposal => proposal.option === 'timestamp_format')
    .map(({ value }) => button(`Read timestamps as ${value} and upload again`, () => again({ timestamp_format: value }), {
      class: 'primary retry-format',
    }));
  return { actions: formats, form: mapping(problem, again) };
}

/** A choice among the file's columns for each one that was not recognised, the likeliest chosen. */
function mapping({ missing = [], found = [], nearest = {} }, again) {
  const wanted = missing.filter(({ column }) => column in NAMES);
  if (wanted.length === 0 || found.length < 2) return null;
  // Not a form of its own, since it stands within one; nor do its fields have names, which would make them options.
  const fields = wanted.map(({ column }) => el('select', { id: `mapping-${column}`, dataset: { column } },
    el('option', { value: '' }, 'choose a column'),
    found.map(label => el('option', { value: label, selected: label === nearest[column] }, label))));
  const use = () => {
    const open = fields.find(field => field.value === '');
    if (open) open.focus();
    else again({ columns: fields.map(field => `${field.dataset.column}:${field.value}`).join(',') });
  };
  return el('div', { class: 'mapping', role: 'group', 'aria-label': 'Which column is what' },
    el('p', {}, 'Say which column is what:'),
    el('div', { class: 'fields' }, fields.map(field => el('p', { class: 'field' },
      el('label', { for: field.id }, `${NAMES[field.dataset.column]} (${field.dataset.column})`), field))),
    el('p', { class: 'actions' }, button('Use these columns and upload again', use, { id: 'mapping-button', class: 'primary' })));
}
