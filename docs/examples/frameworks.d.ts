/** What the examples use of React and Vue, which this project does not install. */
declare module "react" {
  export const useEffect: (effect: () => () => void, dependencies: ReadonlyArray<unknown>) => void
  export const useState: <A>(initial: A) => [A, (update: (before: A) => A) => void]
  export const useSyncExternalStore: <A>(subscribe: (onChange: () => void) => () => void, get: () => A) => A
}

declare module "vue" {
  export const onScopeDispose: (stop: () => void) => void
  export const shallowRef: <A>(value: A) => { value: A }
}
