// Components that are not drawn again while what they are given stays the same.

import { html } from "./vendor/htm-preact.js";

/** @param {any} old @param {any} next */
function sameProps(old, next) {
  const names = new Set([...Object.keys(old), ...Object.keys(next)]);
  return [...names].every((name) => old[name] === next[name]);
}

/** A component as `component`, which is drawn again only where `same` finds other props.
 *
 * An element that is kept (`useMemo(() => html…)`) is not drawn again either, and leaks: it is linked to the tree that it
 * was made in. Of two that change in turns each keeps the tree of the other, and so all trees that ever were.
 * @param {(props: any) => any} component @param {(old: any, next: any) => boolean} [same] by default, whether each prop is */
export function memo(component, same = sameProps) {
  /** @this {any} @param {any} props */
  return function Memo(props) {
    this.shouldComponentUpdate = (/** @type {any} */ next) => !same(this.props, next);
    return html`<${component} ...${props} />`;
  };
}
