// Pointers, the wheel and keys on the canvas, turned into calls of the map.

/** A pointer that moved farther was a drag and no click. */
const CLICK_PX = 4;
const PANS_PX = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

/** @param {import("./city_map.js").CityMap} map */
export function listenToGestures(map) {
  const { canvas } = map.surface;
  listenToPointers(map, canvas);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = local(canvas, event);
    map.zoomAround(Math.exp(-event.deltaY / 400), x, y);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const pan = PANS_PX[/** @type {keyof typeof PANS_PX} */ (event.key)];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (pan) map.pan(pan[0], pan[1]);
    else if (event.key === "+" || event.key === "=") map.zoom(1.4);
    else if (event.key === "-") map.zoom(1 / 1.4);
    else if (event.key === "0") map.fit(true);
    else return;
    event.preventDefault();
  });
}

/** @param {HTMLCanvasElement} canvas @param {MouseEvent} event @returns {[number, number]} pixels from its corner */
function local(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** One pointer drags or clicks, two zoom. @param {import("./city_map.js").CityMap} map @param {HTMLCanvasElement} canvas */
function listenToPointers(map, canvas) {
  /** @type {Map<number, [number, number]>} */
  const fingers = new Map();
  let movedPx = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, local(canvas, event));
    movedPx = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = local(canvas, event);
    const before = fingers.get(event.pointerId);
    if (!before) return map.onHover(map.hit(x, y));
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (/** @type {[number, number]} */ p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      map.zoomAround(apart([x, y]) / apart(before), other[0], other[1]);
      movedPx = Infinity;
    } else {
      movedPx += Math.hypot(x - before[0], y - before[1]);
      if (movedPx > CLICK_PX) map.pan(x - before[0], y - before[1]);
    }
    fingers.set(event.pointerId, [x, y]);
  });
  const up = (/** @type {PointerEvent} */ event) => {
    const clicked = fingers.delete(event.pointerId) && movedPx <= CLICK_PX && event.type === "pointerup";
    if (clicked) map.onSelect(map.hit(...local(canvas, event)));
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
}
