import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import { BrowserNotFoundError } from "../../../src/protocol/KosmonautError.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import type { Event } from "../../../src/protocol/Trigger.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"
import { pick } from "../../protocol/arbitraries.ts"

/** A registry, the lifecycle events that it emits, and browsers in it. */
const make = <const Sids extends ReadonlyArray<string>>(...sids: Sids) => {
  const announced: Array<Event> = []
  const registry = Vhost.make({ emit: (event) => announced.push(event), maxMessageSize: 1000 }).browsers
  const all = sids.map((sid) => FakeBrowser.make(sid)) as { readonly [Index in keyof Sids]: FakeBrowser.FakeBrowser }
  all.forEach(registry.enterUnsafe)
  announced.length = 0
  return { announced, registry, all }
}

describe("Browsers", () => {
  it("counts connected browsers, and emits an event when one connects and disconnects", () => {
    const { announced, registry } = make()
    const [a, b] = [FakeBrowser.make("a"), FakeBrowser.make("b")]
    expect(registry.count()).toBe(0)
    registry.enterUnsafe(a)
    registry.enterUnsafe(b)
    Effect.runSync(registry.identify(b, "joe"))
    expect(registry.count()).toBe(2)
    for (const browser of [a, b, b, a]) Effect.runSync(registry.leave(browser, false))
    expect(registry.count()).toBe(0)
    expect(announced).toStrictEqual([
      Lifecycle.browserConnected("a"),
      Lifecycle.browserConnected("b"),
      Lifecycle.browserDisconnected("a", undefined),
      Lifecycle.browserDisconnected("b", "joe")
    ])
  })

  it("sends nothing to a browser by itself", () => {
    const { all: [a], registry } = make("a")
    Effect.runSync(registry.identify(a, "joe"))
    Effect.runSync(registry.leave(a, false))
    expect(a.received()).toEqual([])
  })

  it.effect("ignores the user of a browser that has disconnected", () =>
    Effect.gen(function*() {
      const { all: [a], registry } = make("a")
      Effect.runSync(registry.leave(a, false))
      Effect.runSync(registry.identify(a, "joe"))
      expect(yield* registry.disconnect("uid", "joe")).toBe(0)
    }))

  describe("sendTo", () => {
    it.effect("reaches one browser, with its data as they are", () =>
      Effect.gen(function*() {
        const { all: [a, b], registry } = make("a", "b")
        const data = JSON.parse(`{"sid":"s","channel":"c","__proto__":{"x":1}}`) as JsonObject
        yield* registry.sendTo("b", "hello", data)
        expect([a.received(), JSON.stringify(b.received())]).toEqual([[], `[{"hello":${JSON.stringify(data)}}]`])
      }))

    it.effect.each(["gone", "nobody", "", "__proto__", "constructor", "joe"])(
      "fails for %j, which is not connected",
      (sid) =>
        Effect.gen(function*() {
          const { all: [a, gone], registry } = make("a", "gone")
          Effect.runSync(registry.identify(a, "joe"))
          Effect.runSync(registry.leave(gone, false))
          const failure = yield* Effect.flip(registry.sendTo(sid, "hello", {}))
          expect(failure).toBeInstanceOf(BrowserNotFoundError)
          expect(failure).toMatchObject({ code: 455, sid })
          expect([a.received(), gone.received()]).toEqual([[], []])
        })
    )
  })

  describe("disconnect", () => {
    it.effect("sends :closed to one browser, and closes it", () =>
      Effect.gen(function*() {
        const { all: [a, b], registry } = make("a", "b")
        const order: Array<unknown> = []
        const c = FakeBrowser.make("c", (message) => order.push(message))
        registry.enterUnsafe({ ...c, closeUnsafe: (code) => order.push(code) })
        expect(yield* registry.disconnect("sid", "b")).toBe(1)
        expect([b.received(), b.closedWith()]).toEqual([[{ ":closed": { sid: "b" } }], 4403])
        expect([a.received(), a.closedWith()]).toEqual([[], undefined])
        expect(yield* registry.disconnect("sid", "c")).toBe(1)
        expect(order).toEqual([`{":closed":{"sid":"c"}}`, 4403])
      }))

    it.effect("closes all browsers of a user, and no others", () =>
      Effect.gen(function*() {
        const { all: [a, b, c, stranger], registry } = make("a", "b", "c", "stranger")
        Effect.runSync(registry.identify(a, "joe"))
        Effect.runSync(registry.identify(b, "ann"))
        Effect.runSync(registry.identify(c, "joe"))
        expect(yield* registry.disconnect("uid", "joe")).toBe(2)
        expect([a, b, c, stranger].map((browser) => browser.closedWith())).toEqual([4403, undefined, 4403, undefined])
        expect(c.received()).toEqual([{ ":closed": { sid: "c" } }])
      }))

    it.effect("does not mix up sids and uids, and finds no browser that has disconnected", () =>
      Effect.gen(function*() {
        const { all: [a, gone], registry } = make("a", "gone")
        Effect.runSync(registry.identify(a, "joe"))
        Effect.runSync(registry.identify(gone, "joe"))
        Effect.runSync(registry.leave(gone, false))
        const asked = [["sid", "joe"], ["uid", "a"], ["sid", "gone"], ["uid", ""], ["uid", "__proto__"]] as const
        for (const [by, who] of asked) expect(yield* registry.disconnect(by, who)).toBe(0)
        expect(yield* registry.disconnect("uid", "joe")).toBe(1)
        expect(gone.closedWith()).toBe(undefined)
      }))

    it.effect("finds a browser by the user that it authenticated as last", () =>
      Effect.gen(function*() {
        const { all: [a], announced, registry } = make("a")
        Effect.runSync(registry.identify(a, "joe"))
        Effect.runSync(registry.identify(a, "joe"))
        Effect.runSync(registry.identify(a, "ann"))
        expect(yield* registry.disconnect("uid", "joe")).toBe(0)
        expect(yield* registry.disconnect("uid", "ann")).toBe(1)
        Effect.runSync(registry.leave(a, false))
        expect(announced).toEqual([Lifecycle.browserDisconnected("a", "ann")])
        expect(yield* registry.disconnect("uid", "ann")).toBe(0)
      }))
  })

  it.effect.prop("finds exactly the connected browsers, by sid and by uid, after any sequence", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["enter", "enter", "identify", "identify", "leave"]),
        sid: pick(["a", "b", "c"]),
        uid: pick(["joe", "ann"])
      }),
      { maxLength: 30 }
    )
  ], ([steps]) =>
    Effect.gen(function*() {
      const { announced, registry } = make()
      const all = new Map(["a", "b", "c"].map((sid) => [sid, FakeBrowser.make(sid)]))
      // The sids of those that are there, and who they are.
      const model = new Map<string, string | undefined>()
      const expected: Array<Event> = []
      for (const { does, sid, uid } of steps) {
        const browser = all.get(sid)!
        if (does === "enter" && !model.has(sid)) {
          registry.enterUnsafe(browser)
          model.set(sid, undefined)
          expected.push(Lifecycle.browserConnected(sid))
        }
        if (does === "identify" && model.has(sid)) {
          Effect.runSync(registry.identify(browser, uid))
          model.set(sid, uid)
        }
        if (does === "leave") {
          Effect.runSync(registry.leave(browser, false))
          if (model.has(sid)) expected.push(Lifecycle.browserDisconnected(sid, model.get(sid)))
          model.delete(sid)
        }
        expect(registry.count()).toBe(model.size)
        for (const uid of ["joe", "ann"]) {
          const theirs = [...model].flatMap(([sid, who]) => who === uid ? [sid] : [])
          expect(yield* registry.disconnect("uid", uid)).toBe(theirs.length)
          const told = [...all].flatMap(([sid, browser]) => browser.received().length === 1 ? [sid] : [])
          expect(told.toSorted()).toEqual(theirs.toSorted())
        }
        for (const sid of all.keys()) expect(yield* registry.disconnect("sid", sid)).toBe(model.has(sid) ? 1 : 0)
        for (const browser of all.values()) browser.received()
      }
      expect(announced).toEqual(expected)
    }))
})
