// The riders and open orders that the live stream has reported. Pure; unit-tested.

/** As many as the server holds: a rider that it holds no longer is never reported again, and would stay where it was. */
export const MAX_RIDERS = 5000;
/** More than the server sends: a bound for a stream that is not what it should be. */
export const MAX_ORDERS = 5000;

/** Orders that have ended, kept so that a repeated message does not bring them back. */
export const MAX_ENDED = 5000;

const ENDED = ["completed", "cancelled"];

/** What of a message was new. `dropped`: ids of riders that are no longer known.
 * @typedef {{riders: any[], orders: any[], dropped: string[]}} Taken */

/** @param {any} place of a rider, or of an order */
const isPlace = (place) => Number.isFinite(place?.latitude) && Number.isFinite(place?.longitude);

/** @param {any} rider */
const isRider = (rider) => isPlace(rider) && typeof rider.rider_id === "string" && Number.isFinite(rider.position);

/** @param {any} order */
const isOrder = (order) =>
  typeof order?.order_id === "string" && Number.isFinite(order.position) && isPlace(order.restaurant) && isPlace(order.customer);

export class KnownCity {
  /** @type {Map<string, any>} by rider id, the longest unmoved first */
  riders = new Map();
  /** @type {Map<string, any>} by order id */
  orders = new Map();
  /** @type {Map<string, number>} position of the end by order id, the oldest first */
  #ended = new Map();

  /** Takes over a message. Of changes only what is newer than what is known: a stream that repeats itself or goes back
   * must not move a rider to where it was. A snapshot counts as it is, also after a restore of an older log.
   * @param {string} kind `snapshot` replaces everything, `changes` adds to it
   * @param {{riders: any[], orders: any[]}} data @returns {Taken} */
  take(kind, data) {
    if (kind === "snapshot") {
      this.riders.clear();
      this.orders.clear();
      this.#ended.clear();
    }
    // One by one: a message may have two changes of one order.
    const riders = data.riders.filter((rider) => this.#takeRider(rider));
    const dropped = [...this.riders.keys()].slice(0, Math.max(0, this.riders.size - MAX_RIDERS));
    for (const id of dropped) this.riders.delete(id);
    const orders = data.orders.filter((order) => this.#takeOrder(order));
    dropOldest(this.orders, MAX_ORDERS);
    dropOldest(this.#ended, MAX_ENDED);
    return { riders, orders, dropped };
  }

  /** @param {any} rider @returns {boolean} whether it is new */
  #takeRider(rider) {
    if (!isRider(rider) || rider.position <= (this.riders.get(rider.rider_id)?.position ?? -1)) return false;
    this.riders.delete(rider.rider_id);
    this.riders.set(rider.rider_id, rider);
    return true;
  }

  /** @param {any} order @returns {boolean} whether it is new */
  #takeOrder(order) {
    if (!isOrder(order)) return false;
    const { order_id: id, position } = order;
    if (position <= (this.orders.get(id)?.position ?? this.#ended.get(id) ?? -1)) return false;
    this.orders.delete(id);
    this.#ended.delete(id);
    if (ENDED.includes(order.status)) this.#ended.set(id, position);
    else this.orders.set(id, order);
    return true;
  }
}

/** @param {Map<string, any>} map the oldest first @param {number} most */
function dropOldest(map, most) {
  for (const id of map.keys()) {
    if (map.size <= most) return;
    map.delete(id);
  }
}
