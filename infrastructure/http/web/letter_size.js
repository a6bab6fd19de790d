// How large marks and letters of canvases are: as the letters of the page, which grow with the screen (style.css).

/** Letters of a page on a common screen, for which sizes on canvases are given in pixels. */
const LETTER_PX = 15;
const MAX_GROWTH = 2;

/** By how much sizes on a canvas grow: never below their own size, and not without end. Pure; unit-tested.
 * @param {number} letterPx of the page; NaN where it is not known @returns {number} from 1 to MAX_GROWTH */
export const growthOf = (letterPx) => Math.max(1, Math.min(letterPx / LETTER_PX || 1, MAX_GROWTH));

/** The same, of this page. */
export const growth = () => growthOf(parseFloat(getComputedStyle(document.documentElement).fontSize));
