// Every panel of the page, a line each. Names earlier in the list win where an address has several.

import { lineagePanels } from "../lineage/panels.js";
import { demoPanel } from "./demo.js";
import { differencesPanel } from "./differences.js";
import { alertPanel, alertsPanel } from "./fraud.js";
import { keysPanel } from "./keys.js";
import { modelPanel, modelsPanel } from "./models.js";
import { orderPanel } from "./order.js";
import { checked } from "./registry.js";
import { problemsPanel } from "./problems.js";
import { projectionsPanel } from "./projections.js";
import { riderPanel } from "./rider.js";
import { statementPanel } from "./statement.js";

export const PANELS = checked([
  riderPanel,
  orderPanel,
  statementPanel,
  demoPanel,
  problemsPanel,
  projectionsPanel,
  alertsPanel,
  alertPanel,
  modelsPanel,
  modelPanel,
  ...lineagePanels,
  differencesPanel,
  keysPanel,
]);
