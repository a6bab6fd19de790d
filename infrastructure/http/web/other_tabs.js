// Tabs of one browser share its session: what one of them does with it counts for all.

import { useEffect } from "./vendor/htm-preact.js";
import { ApiProblem, isSessionChange, request } from "./api.js";

/** @param {{denied: boolean, onSignedIn: () => void, onDenied: () => void}} how */
export function useOtherTabs({ denied, onSignedIn, onDenied }) {
  useEffect(() => {
    // Browsers send this event to the other tabs alone.
    const on = async (/** @type {StorageEvent} */ event) => {
      if (!isSessionChange(event)) return;
      if (event.newValue !== null) {
        if (denied) onSignedIn();
        return;
      }
      // Another tab may have read with the session of before: what counts is what the server says now.
      try {
        await request("pipeline");
      } catch (error) {
        if (error instanceof ApiProblem && error.status === 401) onDenied();
      }
    };
    window.addEventListener("storage", on);
    return () => window.removeEventListener("storage", on);
  }, [denied]);
}
