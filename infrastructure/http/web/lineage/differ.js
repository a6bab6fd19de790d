// What differs between two axes at one instant: riders whose latest fix is another one, orders in another stage. Pure.

const EARTH_RADIUS_M = 6_371_008.8;

/** @param {{latitude: number, longitude: number}} a degrees @param {{latitude: number, longitude: number}} b */
export function metresBetween(a, b) {
  const rad = Math.PI / 180;
  const dLat = (b.latitude - a.latitude) * rad;
  const dLon = (b.longitude - a.longitude) * rad;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.latitude * rad) * Math.cos(b.latitude * rad) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** Pairs the items of two lists by id. @param {any[]} here @param {any[]} there @param {string} key
 * @returns {[string, any, any][]} id, item of each list or null */
function paired(here, there, key) {
  const other = new Map(there.map((one) => [one[key], one]));
  /** @type {[string, any, any][]} */
  const pairs = here.map((one) => [one[key], one, other.get(one[key]) ?? null]);
  const known = new Set(here.map((one) => one[key]));
  for (const one of there) if (!known.has(one[key])) pairs.push([one[key], null, one]);
  return pairs;
}

/** Riders whose latest fix is another event, the farthest apart first; those that one axis lacks come before.
 * `metres` and `seconds` (here less there) are null if one has none. @param {any[]} here @param {any[]} there */
export function riderDifferences(here, there) {
  const found = [];
  for (const [id, a, b] of paired(here, there, "rider_id")) {
    if (a && b && a.position === b.position) continue;
    found.push({
      id,
      here: a,
      there: b,
      metres: a && b ? metresBetween(a, b) : null,
      seconds: a && b ? (a.event_timestamp_ms - b.event_timestamp_ms) / 1000 : null,
    });
  }
  return found.sort((a, b) => (b.metres ?? Infinity) - (a.metres ?? Infinity) || (a.id < b.id ? -1 : 1));
}

/** Orders in another stage or of another rider; a stage is null where the order is not open.
 * @param {any[]} here @param {any[]} there */
export function orderDifferences(here, there) {
  return paired(here, there, "order_id")
    .filter(([, a, b]) => a?.status !== b?.status || a?.rider_id !== b?.rider_id)
    .map(([id, a, b]) => ({ id, here: a, there: b }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** The same instant on another axis, as the query of a read; from the answer of a read on the axis that is shown.
 * @param {string} axis @param {{at_ms: number, position: number}} answer */
export function sameInstant(axis, answer) {
  return axis === "position" ? `position=${answer.position}` : `at=${answer.at_ms}&axis=${axis}`;
}
