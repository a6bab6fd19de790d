// The marks of riders, painted once for each direction and copied from then on: a thousand paths with soft edges cost
// 10 ms a frame where the processor draws, as many copies of a small picture less than 2 ms.

const TAU = 2 * Math.PI;
const SIZE = 5;
/** Half of the box of a mark at growth 1: its tip is 1.7 sizes from the middle, and its line is outside. */
const HALF = 11;
const DIRECTIONS = 64;
/** Of a rider whose last ping is old. */
const STALE_ALPHA = 0.5;

/** Paints a rider: an arrow head, or a disc while it has no direction. @param {CanvasRenderingContext2D} c
 * @param {number} x @param {number} y @param {{angle: number | null, size: number, fill: string, line: string, by: number}} how
 * `by`: the growth of the surface */
export function paintRider(c, x, y, { angle, size, fill, line, by }) {
  c.beginPath();
  if (angle === null) c.arc(x, y, size, 0, TAU);
  else {
    c.moveTo(x + Math.cos(angle) * size * 1.7, y + Math.sin(angle) * size * 1.7);
    c.arc(x, y, size, angle + 0.75, angle + TAU - 0.75);
    c.closePath();
  }
  c.fillStyle = fill;
  c.strokeStyle = line;
  c.lineWidth = 1.5 * by;
  c.fill();
  c.stroke();
}

/** The column of a direction; the last is that of no direction. @param {number | null} angle radians @returns {number} */
export function columnOf(angle) {
  if (angle === null) return DIRECTIONS;
  return ((Math.round((angle / TAU) * DIRECTIONS) % DIRECTIONS) + DIRECTIONS) % DIRECTIONS;
}

/** Whole pixels: a box that ends on a part of one would show a line of its neighbour. @param {number} by */
const halfOf = (by) => Math.ceil(HALF * by);

export class RiderSprites {
  #sheet = document.createElement("canvas");
  /** A copy that cannot change: the sheet itself would be looked at again for each mark. Null until it is made.
   * @type {ImageBitmap | null} */
  #copy = null;
  #made = "";

  /** @param {import("./surface.js").Surface} surface @param {number} x pixels @param {number} y
   * @param {number | null} angle radians @param {boolean} stale */
  paint(surface, x, y, angle, stale) {
    const { context: c, ratio, growth: by, colours } = surface;
    const wanted = `${ratio} ${by} ${colours.rider} ${colours.stale} ${colours.land}`;
    if (this.#made !== wanted) {
      this.#made = wanted;
      this.#make(ratio, by, colours);
    }
    const half = halfOf(by);
    const box = 2 * half * ratio;
    // On whole device pixels a picture is copied, between them it is computed.
    const [left, top] = [Math.round((x - half) * ratio) / ratio, Math.round((y - half) * ratio) / ratio];
    c.drawImage(this.#copy ?? this.#sheet, columnOf(angle) * box, stale ? box : 0, box, box, left, top, 2 * half, 2 * half);
  }

  /** @param {number} ratio device pixels a pixel @param {number} by growth of the surface @param {Record<import("./surface.js").Colour, string>} colours */
  #make(ratio, by, colours) {
    const half = halfOf(by);
    const box = 2 * half;
    this.#sheet.width = (DIRECTIONS + 1) * box * ratio;
    this.#sheet.height = 2 * box * ratio;
    const c = /** @type {CanvasRenderingContext2D} */ (this.#sheet.getContext("2d"));
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (let column = 0; column <= DIRECTIONS; column += 1) {
      const how = { angle: column === DIRECTIONS ? null : (column / DIRECTIONS) * TAU, size: SIZE * by, line: colours.land, by };
      paintRider(c, column * box + half, half, { ...how, fill: colours.rider });
      c.globalAlpha = STALE_ALPHA;
      paintRider(c, column * box + half, box + half, { ...how, fill: colours.stale });
      c.globalAlpha = 1;
    }
    this.#copy?.close();
    this.#copy = null;
    const made = this.#made;
    createImageBitmap(this.#sheet).then((copy) => {
      if (this.#made === made) this.#copy = copy;
      else copy.close();
    });
  }
}
