// Notices that the page runs again after a pause: the tab was hidden or frozen, or the machine slept.

const TICK_MS = 1000;
/** Two ticks that are farther apart: timers stood still in between. Hidden tabs are throttled too, but show nothing. */
const PAUSE_MS = 5000;

/** @type {Set<() => void>} */
const listeners = new Set();
let timer = 0;
let ticked = 0;

function wake() {
  ticked = Date.now();
  if (!document.hidden) for (const listener of [...listeners]) listener();
}

function tick() {
  const paused = Date.now() - ticked > PAUSE_MS;
  ticked = Date.now();
  if (paused) wake();
}

const onVisible = () => { if (!document.hidden) wake(); };

function start() {
  ticked = Date.now();
  timer = window.setInterval(tick, TICK_MS);
  document.addEventListener("visibilitychange", onVisible);
  document.addEventListener("resume", wake);
  window.addEventListener("online", wake);
}

function stop() {
  window.clearInterval(timer);
  document.removeEventListener("visibilitychange", onVisible);
  document.removeEventListener("resume", wake);
  window.removeEventListener("online", wake);
}

/** Calls `listener` after each pause, while the page is visible: what it shows is of before. @param {() => void} listener
 * @returns {() => void} ends that */
export function onWake(listener) {
  if (!listeners.size) start();
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (!listeners.size) stop();
  };
}
