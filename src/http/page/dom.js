// Creates DOM nodes. Text from files and replies becomes text nodes, never markup.

export const byId = id => document.getElementById(id);

/**
 * Creates an element. `class`, `dataset` and `on…` have their usual meaning. `true` sets an attribute without a value.
 * Attributes and children that are null, undefined or false are left out.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') node.className = value;
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...present(children));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...present(children));
  return node;
}

const present = children => children.flat().filter(child => child !== null && child !== undefined && child !== false);

/** Replaces the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

/** Splits a text of the service into nodes, with the parts between backticks as code. */
export const withCode = text => String(text).split('`').map((part, i) => (i % 2 ? el('code', {}, part) : part));

/** Sets the text of a node if it differs, since live regions announce every change. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Creates a table row. Cells have the label of their column, which narrow screens show beside the value, and explicit
 * roles, which the narrow layout would remove.
 */
export function row(columns, cells, attributes = {}) {
  const tr = el('tr', { role: 'row', ...attributes });
  columns.forEach(({ label, kind }, i) => {
    const head = kind === 'head';
    tr.append(el(head ? 'th' : 'td', {
      role: head ? 'rowheader' : 'cell',
      scope: head ? 'row' : null,
      class: kind && !head ? kind : null,
      dataset: { label },
    }, ...[cells[i]].flat()));
  });
  return tr;
}

/** Creates a table with its header. `kind` of a column is `num`, `head` (row header) or another class. */
export function table(id, caption, columns) {
  const body = el('tbody', { role: 'rowgroup' });
  const head = el('tr', { role: 'row' }, columns.map(({ label, kind }) => el('th', {
    role: 'columnheader', scope: 'col', class: kind === 'num' ? 'num' : null,
  }, label)));
  const node = el('table', { id, role: 'table', class: 'cards' },
    el('caption', { class: 'unseen' }, caption),
    el('thead', { role: 'rowgroup' }, head), body);
  return { node, body };
}

export function button(label, onclick, props = {}) {
  return el('button', { type: 'button', onclick, ...props }, label);
}

/** Runs `work` with a button disabled. `aria-disabled` keeps the focus, which `disabled` would lose. */
export async function withBusy(control, work) {
  if (control.getAttribute('aria-disabled') === 'true') return undefined;
  control.setAttribute('aria-disabled', 'true');
  try {
    return await work();
  } finally {
    control.removeAttribute('aria-disabled');
  }
}

/** Asks for confirmation of an action that cannot be reverted. Returns whether it is confirmed. */
export function confirmDialog({ title, text, yes, no = 'Cancel' }) {
  const dialog = byId('confirm');
  byId('confirm-title').textContent = title;
  fill(byId('confirm-text'), ...[text].flat().map(line => el('p', {}, line)));
  byId('confirm-yes').textContent = yes;
  byId('confirm-no').textContent = no;
  dialog.returnValue = '';
  dialog.showModal();
  byId('confirm-no').focus();
  return new Promise(resolve => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Moves the focus to a node and scrolls to it. */
export function focusOn(node) {
  node.focus({ preventScroll: true });
  const { top } = node.getBoundingClientRect();
  if (top >= 0 && top < innerHeight * 0.4) return;
  const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)').matches;
  node.scrollIntoView({ block: 'start', behavior: reducedMotion ? 'auto' : 'smooth' });
}
