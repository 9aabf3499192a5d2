/**
 * What a registry of vhosts promises, wherever it is, as tests in real time.
 */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Redacted, type Scope } from "effect"
import type { Settings, SharedVhosts } from "../../src/server/engine/SharedVhosts.ts"
import { int, pick } from "../protocol/arbitraries.ts"

type Registry = SharedVhosts["Service"]

/** Makes an empty registry, as some who share it see it. */
type Make = Effect.Effect<ReadonlyArray<Registry>, unknown, Scope.Scope>

const settings = (rules: string | undefined, ...tokens: ReadonlyArray<string>): Settings => ({
  tokens: tokens.map((token) => Redacted.make(token)),
  rules
})

const texts = ({ rules, tokens }: Settings) => [rules, ...tokens.map(Redacted.value)]

const step = Arbitrary.all({
  by: int(0, 2),
  path: pick(["/a", "/b", "/a/b"]),
  to: pick([settings(undefined, "x"), settings("[]", "y", "x"), settings("[\"ż\\n\"]", "z"), undefined]),
  // Mostly it knows the last version.
  knows: pick(["last", "last", "last", "older", "none"])
})

type Step = typeof step extends Arbitrary.Arbitrary<infer A> ? A : never

/** Makes changes in a registry and a model, of vhosts whose paths begin with `prefix`. */
const check = Effect.fnUntraced(function*(
  registries: ReadonlyArray<Registry>,
  prefix: string,
  steps: ReadonlyArray<Step>
) {
  const model = new Map<string, { readonly version: number; readonly created: number; readonly to: Settings }>()
  let last = 0
  for (const { by, knows, to, ...step } of steps) {
    const path = prefix + step.path
    const known = model.get(path)
    const version = known?.version ?? 0
    const from = knows === "last" ? version : knows === "none" ? 0 : Math.max(0, version - 1)
    const made = yield* registries[by % registries.length]!.change(path, from, to)
    if (from !== version) expect(made).toBeUndefined()
    else {
      expect(made).toBeGreaterThan(last)
      last = made!
      if (to === undefined) model.delete(path)
      else model.set(path, { version: last, created: known?.created ?? last, to })
    }
    const expected = [...model].toSorted(([, one], [, other]) => one.created - other.created)
      .map(([path, { created, to, version }]) => [path, version, created, ...texts(to)])
    for (const registry of registries) {
      const all = [...yield* registry.load].filter(([path]) => path.startsWith(prefix))
      expect(all.map(([path, { created, version, ...to }]) => [path, version, created, ...texts(to)])).toEqual(expected)
    }
  }
})

/** Declares the tests. */
export const vhostsContract = (make: Make): void => {
  it.live("equals a model, whoever changes it in whatever order", () =>
    Effect.gen(function*() {
      const registries = yield* make
      let runs = 0
      const checked = yield* Arbitrary.checkEffect(
        Arbitrary.array(step, { minLength: 1, maxLength: 30 }),
        (steps) => Effect.as(Effect.catchDefect(check(registries, `/v${runs++}`, steps), Effect.fail), true),
        { runs: 30, size: 30, replay: process.env["REPLAY"] }
      )
      expect(checked).toMatchObject({ _tag: "Passed" })
    }))

  it.live("lets one of many change a version", () =>
    Effect.gen(function*() {
      const registries = yield* make
      const tokens = Array.from({ length: 20 }, (_, number) => `${number}`)
      const added = yield* Effect.forEach(
        tokens,
        (token, index) => registries[index % registries.length]!.change("/a", 0, settings(undefined, token)),
        { concurrency: "unbounded" }
      )
      const winners = tokens.filter((_, index) => added[index] !== undefined)
      expect(winners).toHaveLength(1)
      expect([...yield* registries[0]!.load].map(([path, vhost]) => [path, ...texts(vhost)])).toEqual([
        ["/a", undefined, ...winners]
      ])
    }))
}
