// ISO weeks in UTC, which are the periods of statements. Pure; unit-tested.

const DAY_MS = 86_400_000;

/** The ISO week of an instant, such as 2026-W48. @param {number} ms epoch @returns {string} */
export function weekOf(ms) {
  const day = new Date(ms);
  const monday0 = (day.getUTCDay() + 6) % 7;
  // The Thursday of a week is in the year that the week belongs to.
  const thursday = Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), day.getUTCDate()) + (3 - monday0) * DAY_MS;
  const year = new Date(thursday).getUTCFullYear();
  const number = 1 + Math.floor((thursday - Date.UTC(year, 0, 1)) / (7 * DAY_MS));
  return `${year}-W${String(number).padStart(2, "0")}`;
}

/** The weeks up to that of an instant, the newest first. @param {number} ms epoch @param {number} count */
export const weeksUntil = (ms, count) => Array.from({ length: count }, (_, back) => weekOf(ms - back * 7 * DAY_MS));
