// The stages of an order, as far as they count as of an instant. Pure; unit-tested.

const STAGES = [
  ["placed_at_ms", "placed"], ["assigned_at_ms", "assigned"], ["picked_up_at_ms", "picked up"],
  ["arrived_at_ms", "arrived"], ["completed_at_ms", "completed"], ["cancelled_at_ms", "cancelled"],
];

/** The stages that an order had reached as of an instant, and those that are known now besides. The times alone do not
 * say which is which: a step may have been reported later than the instant, and have a time before it.
 * @param {any} order as it is now @param {any} then as of the instant, null if it was not placed then
 * @returns {{field: string, name: string, ms: number, isDone: boolean}[]} */
export function stagesOf(order, then) {
  const stages = STAGES.map(([field, name]) => {
    const ms = then?.[field] ?? null;
    return { field, name, ms: ms ?? order[field], isDone: ms !== null };
  });
  return stages.filter(({ ms }) => ms !== null);
}
