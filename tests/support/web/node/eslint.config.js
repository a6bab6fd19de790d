// What the type checker does not see: equality, shadowed names, code that does nothing, imports from elsewhere.

import js from "@eslint/js";

const BROWSER = [
  "AbortController", "Blob", "Element", "FileReader", "HTMLButtonElement", "HTMLCanvasElement", "HTMLDetailsElement", "HTMLElement",
  "Intl", "ResizeObserver", "TextDecoder", "URLSearchParams", "clearTimeout", "console", "createImageBitmap", "document", "fetch", "getComputedStyle", "history",
  "location", "navigator", "performance", "reportError", "requestAnimationFrame", "setTimeout", "window",
];

export default [
  { ignores: ["**/vendor/**", "**/node_modules/**"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "module",
      globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])),
    },
    rules: {
      // Ids show their control characters; the expression that finds them must name them.
      "no-control-regex": "off",
      "consistent-return": "off",
      eqeqeq: "error",
      "no-alert": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-script-url": "error",
      "no-shadow": "error",
      "no-unused-expressions": "error",
      "no-useless-assignment": "error",
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      // Two kept elements keep each other's old trees, and the heap of the page grows for ever: memo.js does not.
      "no-restricted-syntax": ["error", {
        selector: "CallExpression[callee.name='useMemo'] TaggedTemplateExpression[tag.name='html']",
        message: "Keep no element: draw a component of memo.js.",
      }],
      // Text of others must never become HTML: Preact writes text, and these do not.
      "no-restricted-properties": ["error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML"].map((property) => ({ property, message: "Ids are text, never HTML." })),
        { object: "document", property: "write", message: "Ids are text, never HTML." }],
    },
  },
  { files: ["tests/**"], languageOptions: { globals: { DOMException: "readonly", process: "readonly", setImmediate: "readonly" } } },
];
