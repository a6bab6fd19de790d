// What the page uses of Preact and htm. The vendored file is minified and has no types of its own.

export type Inputs = readonly unknown[];
export function html(strings: TemplateStringsArray, ...values: any[]): any;
export function render(what: any, into: Element): void;
export function useState<S>(initial: S | (() => S)): [S, (next: S | ((old: S) => S)) => void];
export function useEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useMemo<T>(make: () => T, inputs: Inputs): T;
export function useRef<T>(initial: T): { current: T };
export function useCallback<F extends (...args: any[]) => unknown>(callback: F, inputs: Inputs): F;
export function useErrorBoundary(report?: (error: unknown) => void): [unknown, () => void];
