// Requests to this server, by relative addresses. A cookie carries the session; no token is ever in an address.

export class ApiProblem extends Error {
  /** @param {number} status @param {string} code @param {string} detail */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
export async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new ApiProblem(0, "unreachable", "the server does not answer; is `serve` running?");
  }
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiProblem(answer.status, body?.code ?? "error", body?.detail ?? answer.statusText);
  return body;
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

/** @param {string} id */
export const segment = (id) => encodeURIComponent(id);

/** Joins a path and the parts of its query that are not empty. @param {string} path @param {...string} parts */
export function address(path, ...parts) {
  const query = parts.filter(Boolean).join("&");
  return query ? `${path}?${query}` : path;
}

/** Follows `live` until it is closed. The browser connects again by itself after an interruption, we after a refusal.
 * @param {{onData: (kind: string, data: any) => void, onState: (state: string) => void, onDenied: () => void}} on
 * @returns {() => void} closes it */
export function followLive(on) {
  let source = /** @type {EventSource | null} */ (null);
  let timer = 0;
  let closed = false;
  const open = () => {
    source = new EventSource("live");
    source.onopen = () => on.onState("live");
    for (const kind of ["snapshot", "changes"]) {
      source.addEventListener(kind, (event) => on.onData(kind, JSON.parse(/** @type {MessageEvent} */ (event).data)));
    }
    source.onerror = async () => {
      on.onState("reconnecting");
      if (source?.readyState !== EventSource.CLOSED) return;
      try {
        await request("pipeline");
      } catch (error) {
        if (error instanceof ApiProblem && [401, 403].includes(error.status)) return on.onDenied();
      }
      if (!closed) timer = window.setTimeout(open, 2000);
    };
  };
  open();
  return () => {
    closed = true;
    window.clearTimeout(timer);
    source?.close();
  };
}

/** Sends a command. @param {string} path @param {any} body as JSON @param {string} [method] @returns {Promise<any>} */
export function send(path, body, method = "POST") {
  // A page of another origin cannot send this header, so the server knows that the write is ours.
  const headers = { "Content-Type": "application/json", "X-Ridelog": "1" };
  return request(path, { method, headers, body: JSON.stringify(body) });
}
