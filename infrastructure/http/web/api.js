// Requests to this server, by relative addresses. A cookie carries the session; no token is ever in an address.

export class ApiProblem extends Error {
  /** @param {number} status @param {string} code @param {string} detail */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** A server that takes longer does not answer: the page must say so, and not show what it had for ever. */
const TIMEOUT_MS = 20_000;

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} @throws {ApiProblem} for every answer that
 * is an error, and for none; an AbortError where `options.signal` ended it */
export async function request(path, options = {}) {
  const [outer, own] = [options.signal, new AbortController()];
  const stop = () => own.abort();
  const timer = setTimeout(stop, TIMEOUT_MS);
  outer?.addEventListener("abort", stop);
  if (outer?.aborted) stop();
  try {
    return await readBody(await fetch(path, { credentials: "same-origin", ...options, signal: own.signal }));
  } catch (error) {
    if (error instanceof ApiProblem || outer?.aborted) throw error;
    if (own.signal.aborted) throw new ApiProblem(0, "timeout", `the server has not answered for ${TIMEOUT_MS / 1000} s`);
    throw new ApiProblem(0, "unreachable", "the server does not answer; is `serve` running?");
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", stop);
  }
}

/** @param {Response} answer @returns {Promise<any>} its JSON; null for none @throws {ApiProblem} if it is an error */
export async function readBody(answer) {
  if (answer.status === 204) return null;
  const text = await answer.text();
  if (!answer.ok) throw problemOf(answer, text);
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiProblem(answer.status, "unreadable", "the answer is no JSON; is a proxy in between?");
  }
}

/** @param {Response} answer @param {string} text */
function problemOf(answer, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // An error of a proxy is a page for people: its status says enough.
  }
  return new ApiProblem(answer.status, body?.code ?? "error", body?.detail ?? `${answer.status} ${answer.statusText}`);
}

// No script can read the cookie, so this says that there is one. It holds no secret, and outlives a reload as the cookie does.
const SIGNED_IN = "ridelog-signed-in";

/** The browser's storage; null where it is blocked, as cookies are then. */
function storage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/** Whether this browser has signed in and not out again. */
export const hasSession = () => (storage()?.getItem(SIGNED_IN) ?? null) !== null;

/** Whether another tab has signed in or out. @param {StorageEvent} event */
export const isSessionChange = (event) => event.key === SIGNED_IN;

/** The server knows no session of this browser (any more). */
export const forgetSession = () => storage()?.removeItem(SIGNED_IN);

/** @param {string} token */
export async function signIn(token) {
  await request("session", { method: "POST", headers: { Authorization: `Bearer ${token}`, "X-Ridelog": "1" } });
  storage()?.setItem(SIGNED_IN, "1");
}

export async function signOut() {
  await request("session", { method: "DELETE", headers: { "X-Ridelog": "1" } });
  forgetSession();
}

/** Reads page after page, at most `most`, while `isWanted`. `more`: the last page that was read has a next one.
 * @param {(cursor: string) => Promise<{items: any[], next: string | null}>} read of the first page: an empty cursor
 * @param {number} most @param {() => boolean} isWanted @returns {Promise<{items: any[], more: boolean}>} */
export async function allPages(read, most, isWanted) {
  const items = [];
  let next = /** @type {string | null} */ ("");
  for (let count = 0; next !== null && count < most && isWanted(); count += 1) {
    const page = await read(next);
    items.push(...page.items);
    next = page.next;
  }
  return { items, more: next !== null };
}

/** An id as a part of an address. Half a character has no form in one, and no server knows such an id.
 * @param {string} id */
export const segment = (id) => encodeURIComponent(id.replace(/\p{Cs}/gu, "\ufffd"));

/** Joins a path and the parts of its query that are not empty. @param {string} path @param {...string} parts */
export function address(path, ...parts) {
  const query = parts.filter(Boolean).join("&");
  return query ? `${path}?${query}` : path;
}

/** Sends a command. @param {string} path @param {any} body as JSON @param {string} [method] @returns {Promise<any>} */
export function send(path, body, method = "POST") {
  // A page of another origin cannot send this header, so the server knows that the write is ours.
  const headers = { "Content-Type": "application/json", "X-Ridelog": "1" };
  return request(path, { method, headers, body: JSON.stringify(body) });
}
