// How the state of a generation and of a task is put in words. Pure; unit-tested.

import { duration } from "../format.js";

/** @param {{events_done: number, events_total: number}} task @returns {number} from 0 to 1 */
export const shareOf = (task) => (task.events_total > 0 ? Math.min(1, task.events_done / task.events_total) : 0);

/** Only a rebuild is stopped once it runs: the others move readers or delete. @param {{kind: string, state: string, ended_at_ms: number | null}} task */
export const canStop = (task) => task.ended_at_ms === null && (task.kind === "rebuild" || task.state === "requested");

/** @param {{seconds_left: number | null}} task */
export const leftOf = (task) => (task.seconds_left === null ? "" : `, ${duration(task.seconds_left)} left`);

/** @param {{served: boolean, ours: boolean, state: string, compared_with: number | null, differences: number | null}} one */
export function stateOf(one) {
  const parts = [one.served ? "served" : one.state === "following" ? "kept up to date" : one.state];
  if (!one.ours) parts.push("computed by other code");
  if (!one.served && one.differences === 0) parts.push(`equal to ${one.compared_with}`);
  return parts.join(", ");
}
