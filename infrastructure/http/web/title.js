// The title of the tab: several tabs of one city must differ.

import { useEffect } from "./vendor/htm-preact.js";
import { visible } from "./format.js";
import { PANELS } from "./panels/all.js";

const MAX_ID_CHARS = 40;
/** A first strong character isolate and its end: the direction of an id ends with it. */
const [ISOLATE, END] = ["\u2068", "\u2069"];

/** @param {import("./when.js").OpenPanel | null} open @returns {string} */
export function titleOf(open) {
  const panel = open && PANELS.find((one) => one.name === open.name);
  if (!panel) return "Ridelog";
  const code = [...visible(open.id)];
  const id = code.length > MAX_ID_CHARS ? `${code.slice(0, MAX_ID_CHARS).join("")}…` : code.join("");
  return `${id ? `${panel.title} ${ISOLATE}${id}${END}` : panel.title} · Ridelog`;
}

/** @param {import("./when.js").Place} place */
export function useTitle({ panel }) {
  useEffect(() => { document.title = titleOf(panel); }, [panel?.name, panel?.id]);
}
