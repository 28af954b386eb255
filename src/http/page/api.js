// The HTTP client of the page. A reply is JSON; a failure is an ApiError with a text for the user.

const BASE = new URL('.', document.baseURI);
const REPLY_TIMEOUT_MS = 30_000;

/** The failure of a request, with its problem document (RFC 9457). */
export class ApiError extends Error {
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

/** Returns the URL of a path of the service, without empty query parameters. */
export function urlOf(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

/** Sends a request, with `body` as JSON, and returns the JSON of the reply. `signal` aborts it. */
export async function request(method, path, options = {}) {
  const response = await send(method, path, options);
  const text = await response.text().catch(() => { throw unreachableError(); });
  return parseJson(response.status, text);
}

export const get = (path, query, options) => request('GET', path, { query, ...options });

/** Downloads the rejected rows of a batch as a file that can be uploaded. */
export async function downloadRejectedRows(id, query = {}) {
  const response = await send('GET', batchPath(id, '/errors.csv'), { query });
  return new File([await response.blob()], `errors-${id}.csv`, { type: 'text/csv' });
}

async function send(method, path, { query, token, signal, body }) {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), REPLY_TIMEOUT_MS);
  const abort = () => timeout.abort();
  signal?.addEventListener('abort', abort, { once: true });
  const headers = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(urlOf(path, query), {
      method, headers, signal: timeout.signal, cache: 'no-store', body: body && JSON.stringify(body),
    });
  } catch {
    if (signal?.aborted) throw signal.reason;
    throw unreachableError();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
  if (!response.ok) {
    throw errorOf(response.status, await response.text().catch(() => ''), name => response.headers.get(name));
  }
  return response;
}

/**
 * Uploads a file. Returns the promise of its receipt, and a function that cancels it. `progress(sent, total)` is called
 * while bytes are sent, and with `sent === total` once all are sent and the server stores them.
 */
export function upload(file, options, progress) {
  const xhr = new XMLHttpRequest();
  const receipt = new Promise((resolve, reject) => {
    xhr.open('POST', urlOf('uploads', options));
    xhr.setRequestHeader('Accept', 'application/json');
    xhr.upload.onprogress = event => progress(Math.min(event.loaded, file.size), file.size);
    xhr.upload.onload = () => progress(file.size, file.size);
    xhr.onload = () => {
      try {
        if (xhr.status < 200 || xhr.status > 299) {
          throw errorOf(xhr.status, xhr.responseText, name => xhr.getResponseHeader(name));
        }
        resolve(parseJson(xhr.status, xhr.responseText));
      } catch (error) {
        reject(error);
      }
    };
    xhr.onerror = () => reject(new ApiError({
      title: 'The connection broke during the upload',
      detail: 'No reply arrived. The server may have stopped, or may have refused the file before it was sent completely.',
      code: 'upload-broken',
    }));
    xhr.onabort = () => reject(new ApiError({ title: 'Upload cancelled', detail: 'Nothing was stored.', code: 'upload-cancelled' }));
    const form = new FormData();
    form.append('file', file, file.name);
    xhr.send(form);
  });
  return { receipt, cancel: () => xhr.abort() };
}

function parseJson(status, text) {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new ApiError({ title: 'The reply of the server is not JSON', code: 'not-json', status });
  }
}

function errorOf(status, text, header) {
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = null;
  }
  if (typeof problem !== 'object' || problem === null) {
    problem = { title: `The server replied with ${status}`, detail: text.slice(0, 300) };
  }
  return new ApiError(problem, { status, retryAfter: retryAfterSeconds(header('Retry-After')), requestId: header('X-Request-Id') });
}

/** Parses `Retry-After`, which is a number of seconds or a date. */
function retryAfterSeconds(value) {
  if (!value) return null;
  const wait = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Number.isFinite(wait) ? Math.max(wait, 1) : null;
}

function unreachableError() {
  return new ApiError({
    title: 'The server cannot be reached',
    detail: 'No reply arrived.',
    code: 'unreachable',
  });
}
