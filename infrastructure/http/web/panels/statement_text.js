// How an item of a payout is put in words: what for, how much of it, at which rate. Pure; unit-tested.

import { visible, words } from "../format.js";

/** The digits of an amount's minor unit. @param {string} amount such as "1.50" */
export const digitsOf = (amount) => (amount.split(".")[1] ?? "").length;

/** Items whose name is no word for what is paid. @type {Record<string, string>} */
const ITEMS = { metres: "distance" };

/** @param {any} item */
export const itemName = (item) => ITEMS[item] ?? words(visible(String(item)));

/** A rate as people write it: a share of a thousand is a percentage. @param {string} rate */
const rateOf = (rate) => rate.replace(/^(\d+)\/1000$/, (_, permille) => `${Number(permille) / 10} %`);

/** @param {number} minor @param {number} digits of the currency's minor unit */
export const major = (minor, digits) => (minor / 10 ** digits).toFixed(digits);

/** A quantity with its unit: distances in km, times in minutes. @param {number} quantity @param {string} unit */
export function quantityOf(quantity, unit) {
  if (unit === "mm") return `${(quantity / 1e6).toFixed(2)} km`;
  if (unit === "ms") return `${(quantity / 60_000).toFixed(1)} min`;
  return unit === "leg" ? `${quantity} ${quantity === 1 ? "leg" : "legs"}` : "";
}

/** @param {any} item @returns {string} what an item is for, without its amount */
export function itemWords(item) {
  const name = itemName(item.item);
  const quantity = typeof item.quantity === "number" ? quantityOf(item.quantity, item.unit) : "";
  const before = typeof item.quantity_before === "number" ? ` instead of ${quantityOf(item.quantity_before, item.unit)}` : "";
  const rate = item.rate ? ` at ${visible(rateOf(String(item.rate)))}` : "";
  const free = typeof item.free_ms === "number" ? `, ${quantityOf(item.free_ms, "ms")} are free` : "";
  return quantity ? `${name}: ${quantity}${before}${rate}${free}` : `${name}${rate}${free}`;
}
