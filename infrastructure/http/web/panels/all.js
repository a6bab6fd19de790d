// Every panel of the page, a line each. Names earlier in the list win where an address has several.

import { keysPanel } from "./keys.js";
import { orderPanel } from "./order.js";
import { checked } from "./registry.js";
import { problemsPanel } from "./problems.js";
import { projectionsPanel } from "./projections.js";
import { riderPanel } from "./rider.js";

export const PANELS = checked([
  riderPanel,
  orderPanel,
  problemsPanel,
  projectionsPanel,
  keysPanel,
]);
