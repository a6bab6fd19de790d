// The one instant that everything on the page is shown at, and its form in the address. Pure; unit-tested.

export const AXES = ["event", "known", "position"];
export const RATES = [1, 2, 5, 10, 20];
export const SPANS_MIN = [10, 60, 360, 1440];

/** @typedef {{axis: string, at: number | null, rider: string | null, order: string | null}} Place
 * `at`: epoch milliseconds, on the axis position a position; null = now */

/** @param {string} search of the address @returns {Place} */
export function parsePlace(search) {
  const query = new URLSearchParams(search);
  const axis = query.get("axis") ?? "event";
  const at = query.get(axis === "position" ? "position" : "at");
  const number = at !== null && /^[0-9]{1,16}$/.test(at) ? Number(at) : null;
  return {
    axis: AXES.includes(axis) ? axis : "event",
    at: AXES.includes(axis) ? number : null,
    rider: query.get("rider"),
    order: query.get("order"),
  };
}

/** @param {Place} place @returns {string} search of the address, empty for now without a selection */
export function placeQuery(place) {
  const query = new URLSearchParams();
  if (place.axis !== "event") query.set("axis", place.axis);
  if (place.at !== null) query.set(place.axis === "position" ? "position" : "at", String(Math.round(place.at)));
  if (place.rider !== null) query.set("rider", place.rider);
  if (place.order !== null) query.set("order", place.order);
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The query of a read as of the place; empty for now. @param {Place} place @returns {string} */
export function asOf(place) {
  if (place.at === null) return "";
  const at = Math.round(place.at);
  return place.axis === "position" ? `position=${at}` : `at=${at}&axis=${place.axis}`;
}

/** The status that an order had at an instant, by the times of its stages; null if it was not placed then or had
 * ended. @param {any} order @param {number} ms */
export function statusAt(order, ms) {
  if (order.placed_at_ms > ms) return null;
  for (const ended of ["cancelled_at_ms", "completed_at_ms"]) {
    if (order[ended] !== null && order[ended] <= ms) return null;
  }
  const stages = [
    ["arrived_at_ms", "arrived"],
    ["picked_up_at_ms", "picked_up"],
    ["assigned_at_ms", "assigned"],
  ];
  for (const [field, status] of stages) if (order[field] !== null && order[field] <= ms) return status;
  return "placed";
}
