// Builds nodes. Text from files and replies only ever becomes text, never markup.

export const byId = id => document.getElementById(id);

/**
 * Makes an element. `class`, `dataset` and `on…` are understood; `true` sets a bare attribute; null, undefined and
 * false leave an attribute or a child out.
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

/** Replaces what a node holds. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

/** Text in which the service puts names and values between backticks, with those as code. */
export const coded = text => String(text).split('`').map((part, i) => (i % 2 ? el('code', {}, part) : part));

/** Sets text only when it differs, so that live regions speak once. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * One table row. Cells carry their column's label, which narrow screens show beside the value, and their roles, which
 * the narrow layout would otherwise take away.
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

/** A table with its head; `kind` is `num`, `head` (row header) or a class of its own. */
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

/** Keeps a button from being pressed twice while its work runs, without losing the focus it has. */
export async function busy(control, work) {
  if (control.getAttribute('aria-disabled') === 'true') return undefined;
  control.setAttribute('aria-disabled', 'true');
  try {
    return await work();
  } finally {
    control.removeAttribute('aria-disabled');
  }
}

/** Asks before something is done that cannot be taken back; answers true for yes. */
export function ask({ title, text, yes, no = 'Cancel' }) {
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

/** Moves to a place and lets keyboards and screen readers go on from there. */
export function goTo(node) {
  node.focus({ preventScroll: true });
  const { top } = node.getBoundingClientRect();
  if (top >= 0 && top < innerHeight * 0.4) return;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  node.scrollIntoView({ block: 'start', behavior: calm ? 'auto' : 'smooth' });
}
