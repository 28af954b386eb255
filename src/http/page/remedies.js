// Remedies for a refused upload: options that the problem proposes, applied with one click.

import { button, el } from './dom.js';

const LABELS = { event_type: 'Event type', timestamp: 'Timestamp', user_id: 'User' };

/** Returns buttons and a form for a problem. `retry(options)` uploads the file again with these options. */
export function remedies(problem, retry) {
  const proposals = problem.proposals ?? [];
  const form = columnMapping(problem, retry);
  const actions = proposals
    .filter(({ option }) => !form || option !== 'columns')
    .map(proposal => button(label(proposal), () => retry({ [proposal.option]: proposal.value }), {
      class: proposal.option === 'timestamp_format' ? 'primary retry-format' : 'primary retry-option',
      title: proposal.detail,
    }));
  return { actions, form };
}

const label = ({ option, value }) => (option === 'timestamp_format'
  ? `Read timestamps as ${value} and upload again`
  : `Upload again with ${option}=${value}`);

/** Returns the options other than columns that the values of the file prove. */
function provenOptions({ proposals = [] }) {
  const proven = proposals.filter(({ option, proven: isProven }) => isProven && option !== 'columns');
  return Object.fromEntries(proven.map(({ option, value }) => [option, value]));
}

/** Returns a form with a choice of column for each required one that was not found. The most similar one is selected. */
function columnMapping(problem, retry) {
  const { missing = [], found = [], nearest = {} } = problem;
  const required = missing.filter(({ column }) => column in LABELS);
  if (required.length === 0 || found.length < 2) return null;
  // Not a <form>, since it stands within the upload form. Its fields have no names, which would make them upload options.
  const fields = required.map(({ column }) => el('select', { id: `mapping-${column}`, dataset: { column } },
    el('option', { value: '' }, 'choose a column'),
    found.map(label => el('option', { value: label, selected: label === nearest[column] }, label))));
  const apply = () => {
    const empty = fields.find(field => field.value === '');
    if (empty) empty.focus();
    else retry({ ...provenOptions(problem), columns: fields.map(field => `${field.dataset.column}:${field.value}`).join(',') });
  };
  return el('div', { class: 'mapping', role: 'group', 'aria-label': 'Column mapping' },
    el('p', {}, 'Map the columns of the file:'),
    el('div', { class: 'fields' }, fields.map(field => el('p', { class: 'field' },
      el('label', { for: field.id }, `${LABELS[field.dataset.column]} (${field.dataset.column})`), field))),
    el('p', { class: 'actions' }, button('Use these columns and upload again', apply, { id: 'mapping-button', class: 'primary' })));
}
