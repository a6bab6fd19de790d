// The form that asks for a token once and changes it for a cookie.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { signIn } from "./api.js";

/** @param {{onDone: () => void}} props */
export function SignIn({ onDone }) {
  const [problem, setProblem] = useState("");
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await signIn(/** @type {HTMLInputElement} */ (field.current).value.trim());
      onDone();
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
    }
  };
  return html`<div class="veil"><form class="sign-in" onSubmit=${submit} aria-label="Sign in">
    <h1>Ridelog</h1>
    <p>This server needs a token of the role <code>read</code>. It is changed for a cookie of 12 hours and kept nowhere else.</p>
    <label>Token <input ref=${field} type="password" autocomplete="current-password" required /></label>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <button class="primary">Sign in</button>
  </form></div>`;
}
