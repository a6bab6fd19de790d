// The riders and open orders that the live stream has reported. Pure; unit-tested.

/** As many as the server holds: a rider that it holds no longer is never reported again, and would stay where it was. */
export const MAX_RIDERS = 5000;

const ENDED = ["completed", "cancelled"];

export class KnownCity {
  /** @type {Map<string, any>} by rider id, the longest unmoved first */
  riders = new Map();
  /** @type {Map<string, any>} by order id */
  orders = new Map();

  /** Takes over a message. @param {string} kind `snapshot` replaces everything, `changes` adds to it
   * @param {{riders: any[], orders: any[]}} data @returns {string[]} ids of riders that are no longer known */
  take(kind, data) {
    if (kind === "snapshot") {
      this.riders.clear();
      this.orders.clear();
    }
    for (const rider of data.riders) {
      this.riders.delete(rider.rider_id);
      this.riders.set(rider.rider_id, rider);
    }
    const dropped = [...this.riders.keys()].slice(0, Math.max(0, this.riders.size - MAX_RIDERS));
    for (const id of dropped) this.riders.delete(id);
    for (const order of data.orders) {
      if (ENDED.includes(order.status)) this.orders.delete(order.order_id);
      else this.orders.set(order.order_id, order);
    }
    return dropped;
  }
}
