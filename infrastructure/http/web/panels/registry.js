// What a panel is, and the rules that a list of panels keeps. The list is in all.js. Pure; unit-tested.

/** What a panel may know of the page and do with it.
 * @typedef {object} PageContext
 * @property {import("../when.js").Place} place the instant, its axis, and the panel that is open
 * @property {boolean} live whether the instant is now
 * @property {number} shownMs the instant that the map shows, epoch milliseconds
 * @property {number} head the newest position, 0 while it is unknown
 * @property {boolean} demo whether the server belongs to a demo
 * @property {any} pipeline the newest answer of `GET /pipeline`, null while none came
 * @property {any[]} riders those that the map shows
 * @property {any[]} orders those that the map shows
 * @property {Panel[]} panels every panel
 * @property {string} theme changes with the colour scheme: what is drawn on a canvas must be drawn again
 * @property {import("../map/city_map.js").CityMap | null} map
 * @property {boolean} follow whether the map follows the selected rider
 * @property {(follow: boolean) => void} setFollow
 * @property {(name: string, id?: string) => void} open opens the panel of that name; Back returns to the one before
 * @property {(name: string, id: string) => void} find the same, and shows it on the map from near
 * @property {() => void} close
 * @property {(part: Partial<import("../when.js").Place>) => void} change moves the instant, or changes the axis
 * @property {(error: unknown, show: (text: string) => void) => void} failed asks for a token, or shows the problem
 */

/** A panel: a module of its own that exports one of these, and a line in all.js. `name` is its parameter in the address
 * (`?name=id`). `view` shows it; `actions` go beside its title. With `menu` it is in the menu, and `key` opens or closes
 * it; a panel without is about something (a rider, an event) and is opened by links. `demoOnly`: it is in the menu of a demo alone. `wide`: it needs half the screen.
 * @typedef {object} Panel
 * @property {string} name
 * @property {string} title
 * @property {(props: {id: string, page: PageContext}) => any} view
 * @property {(props: {id: string, page: PageContext}) => any} [actions]
 * @property {string} [menu]
 * @property {string} [key]
 * @property {boolean} [demoOnly]
 * @property {boolean} [wide]
 */

/** Parameters of the address and keys that the page itself uses. */
const TAKEN_NAMES = ["at", "axis", "position"];
/** @type {Record<string, string>} */
export const PAGE_KEYS = {
  "/": "find a rider or an order",
  n: "now",
  Space: "play or pause, in the past",
  Escape: "close the panel",
  "?": "this list",
};

/** Checks a list of panels. @param {Panel[]} panels @returns {Panel[]} the same
 * @throws {Error} if two have one name or one key, or one takes what the page itself uses */
export function checked(panels) {
  const names = new Set(TAKEN_NAMES);
  const keys = new Set(Object.keys(PAGE_KEYS));
  for (const { name, key } of panels) {
    if (!/^[a-z]+$/.test(name) || names.has(name)) throw new Error(`panel name ${name}: it is taken, or not in a–z`);
    names.add(name);
    if (key === undefined || (name === "keys" && key === "?")) continue;
    if (key.length !== 1 || keys.has(key)) throw new Error(`panel ${name}: the key ${key} is taken, or not one character`);
    keys.add(key);
  }
  return panels;
}

/** The panels of the menu, as they are listed. @param {Panel[]} panels @param {boolean} demo whether a demo runs */
export const inMenu = (panels, demo) => panels.filter((panel) => panel.menu !== undefined && (demo || !panel.demoOnly));
