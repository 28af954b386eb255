// Speaks HTTP with the service: every reply is JSON, or a Fault that can be shown to a person.

const BASE = new URL('.', document.baseURI);
const REPLY_WITHIN_MS = 30_000;

/** What went wrong with a request, in the shape of a problem document. */
export class Fault extends Error {
  constructor(problem, { status = 0, retryAfter = null, requestId = null } = {}) {
    super(problem.detail || problem.title || 'The request failed.');
    this.problem = problem;
    this.status = problem.status ?? status;
    this.code = problem.code ?? '';
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

export const batchPath = (id, rest = '') => `batches/${encodeURIComponent(id)}${rest}`;

/** An address below the one the page was served from, without the parameters that are empty. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

/** Sends a request, its `body` as JSON, and answers with its JSON; `signal` gives it up. */
export async function request(method, path, options = {}) {
  const response = await send(method, path, options);
  const text = await response.text().catch(() => { throw unreachable(); });
  return readJson(response.status, text);
}

export const get = (path, query, options) => request('GET', path, { query, ...options });

/** The rejected rows of a batch, as a file that can be sent again. */
export async function rejectedRows(id) {
  const response = await send('GET', batchPath(id, '/errors.csv'), {});
  return new File([await response.blob()], `errors-${id}.csv`, { type: 'text/csv' });
}

async function send(method, path, { query, token, signal, body }) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), REPLY_WITHIN_MS);
  const giveUp = () => patience.abort();
  signal?.addEventListener('abort', giveUp, { once: true });
  const headers = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(address(path, query), {
      method, headers, signal: patience.signal, cache: 'no-store', body: body && JSON.stringify(body),
    });
  } catch {
    if (signal?.aborted) throw signal.reason;
    throw unreachable();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
  }
  if (!response.ok) {
    throw refusal(response.status, await response.text().catch(() => ''), name => response.headers.get(name));
  }
  return response;
}

/**
 * Uploads a file and answers with the receipt. `progress(sent, total)` is called while bytes leave,
 * and with `sent === total` once the server has them all and stores them.
 */
export function upload(file, options, progress) {
  const xhr = new XMLHttpRequest();
  const receipt = new Promise((resolve, reject) => {
    xhr.open('POST', address('uploads', options));
    xhr.setRequestHeader('Accept', 'application/json');
    xhr.upload.onprogress = event => progress(Math.min(event.loaded, file.size), file.size);
    xhr.upload.onload = () => progress(file.size, file.size);
    xhr.onload = () => {
      try {
        if (xhr.status < 200 || xhr.status > 299) {
          throw refusal(xhr.status, xhr.responseText, name => xhr.getResponseHeader(name));
        }
        resolve(readJson(xhr.status, xhr.responseText));
      } catch (fault) {
        reject(fault);
      }
    };
    xhr.onerror = () => reject(new Fault({
      title: 'The connection broke during the upload',
      detail: 'No reply came. The server may have gone away, or have refused the file before all of it was sent.',
      code: 'upload-broken',
    }));
    xhr.onabort = () => reject(new Fault({ title: 'Upload cancelled', detail: 'Nothing was stored.', code: 'upload-cancelled' }));
    const form = new FormData();
    form.append('file', file, file.name);
    xhr.send(form);
  });
  return { receipt, cancel: () => xhr.abort() };
}

function readJson(status, text) {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new Fault({ title: 'The server did not answer with JSON', code: 'not-json', status });
  }
}

function refusal(status, text, header) {
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = null;
  }
  if (typeof problem !== 'object' || problem === null) {
    problem = { title: `The server answered ${status}`, detail: text.slice(0, 300) };
  }
  return new Fault(problem, { status, retryAfter: seconds(header('Retry-After')), requestId: header('X-Request-Id') });
}

/** `Retry-After` is a number of seconds or a date. */
function seconds(value) {
  if (!value) return null;
  const wait = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Number.isFinite(wait) ? Math.max(wait, 1) : null;
}

function unreachable() {
  return new Fault({
    title: 'The server cannot be reached',
    detail: 'No reply came.',
    code: 'unreachable',
  });
}
