// Types of the view library, as far as the page uses it.

export interface Signal<T> {
  value: T;
  peek(): T;
}
export interface Computed<T> {
  readonly value: T;
}
export type Element = unknown;

export function html(strings: TemplateStringsArray, ...values: unknown[]): any;
export const Fragment: unknown;
export function render(element: Element, parent: HTMLElement): void;
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((old: T) => T)) => void];
export function useRef<T>(initial: T): { current: T };
export function useEffect(work: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(work: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
export function useCallback<T>(callback: T, inputs: readonly unknown[]): T;
export function signal<T>(value: T): Signal<T>;
export function computed<T>(make: () => T): Computed<T>;
export function effect(work: () => void | (() => void)): () => void;
export function batch<T>(work: () => T): T;
