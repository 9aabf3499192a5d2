import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import { BrowserNotFoundError } from "../../../src/protocol/KosmonautError.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import type { Event } from "../../../src/protocol/Trigger.ts"
import * as Browsers from "../../../src/server/engine/Browsers.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { pick } from "../../protocol/arbitraries.ts"

/** A register, what it announces, and browsers on it. */
const make = <const Sids extends ReadonlyArray<string>>(...sids: Sids) => {
  const announced: Array<Event> = []
  const browsers = Browsers.make((event) => announced.push(event), { maxMessageSize: 1000 })
  const all = sids.map((sid) => FakeBrowser.make(sid)) as { readonly [Index in keyof Sids]: FakeBrowser.FakeBrowser }
  all.forEach(browsers.enterUnsafe)
  announced.length = 0
  return { announced, browsers, all }
}

describe("Browsers", () => {
  it("counts connected browsers, and emits their connecting and disconnecting once each", () => {
    const { announced, browsers } = make()
    const [a, b] = [FakeBrowser.make("a"), FakeBrowser.make("b")]
    expect(browsers.count()).toBe(0)
    browsers.enterUnsafe(a)
    browsers.enterUnsafe(b)
    browsers.identifyUnsafe(b, "joe")
    expect(browsers.count()).toBe(2)
    for (const browser of [a, b, b, a]) browsers.leaveUnsafe(browser)
    expect(browsers.count()).toBe(0)
    expect(announced).toStrictEqual([
      Lifecycle.browserConnected("a"),
      Lifecycle.browserConnected("b"),
      Lifecycle.browserDisconnected("a", undefined),
      Lifecycle.browserDisconnected("b", "joe")
    ])
  })

  it("sends nothing to a browser by itself", () => {
    const { all: [a], browsers } = make("a")
    browsers.identifyUnsafe(a, "joe")
    browsers.leaveUnsafe(a)
    expect(a.received()).toEqual([])
  })

  it.effect("forgets a browser that has disconnected, even if it authenticates afterwards", () =>
    Effect.gen(function*() {
      const { all: [a], browsers } = make("a")
      browsers.leaveUnsafe(a)
      browsers.identifyUnsafe(a, "joe")
      expect(yield* browsers.disconnect("uid", "joe")).toBe(0)
    }))

  describe("sendTo", () => {
    it.effect("sends the event to one browser, with its data unchanged", () =>
      Effect.gen(function*() {
        const { all: [a, b], browsers } = make("a", "b")
        const data = JSON.parse(`{"sid":"s","channel":"c","__proto__":{"x":1}}`) as JsonObject
        yield* browsers.sendTo("b", "hello", data)
        expect([a.received(), JSON.stringify(b.received())]).toEqual([[], `[{"hello":${JSON.stringify(data)}}]`])
      }))

    it.effect.each(["gone", "nobody", "", "__proto__", "constructor", "joe"])(
      "fails if there is no browser %j",
      (sid) =>
        Effect.gen(function*() {
          const { all: [a, gone], browsers } = make("a", "gone")
          browsers.identifyUnsafe(a, "joe")
          browsers.leaveUnsafe(gone)
          const failure = yield* Effect.flip(browsers.sendTo(sid, "hello", {}))
          expect(failure).toBeInstanceOf(BrowserNotFoundError)
          expect(failure).toMatchObject({ code: 455, sid })
          expect([a.received(), gone.received()]).toEqual([[], []])
        })
    )
  })

  describe("disconnect", () => {
    it.effect("closes one browser's connection, and sends `:closed` before", () =>
      Effect.gen(function*() {
        const { all: [a, b], browsers } = make("a", "b")
        const order: Array<unknown> = []
        const c = FakeBrowser.make("c", (message) => order.push(message))
        browsers.enterUnsafe({ ...c, closeUnsafe: (code) => order.push(code) })
        expect(yield* browsers.disconnect("sid", "b")).toBe(1)
        expect([b.received(), b.closedWith()]).toEqual([[{ ":closed": { sid: "b" } }], 4403])
        expect([a.received(), a.closedWith()]).toEqual([[], undefined])
        expect(yield* browsers.disconnect("sid", "c")).toBe(1)
        expect(order).toEqual([`{":closed":{"sid":"c"}}`, 4403])
      }))

    it.effect("closes the connections of all browsers of a user, and no others", () =>
      Effect.gen(function*() {
        const { all: [a, b, c, stranger], browsers } = make("a", "b", "c", "stranger")
        browsers.identifyUnsafe(a, "joe")
        browsers.identifyUnsafe(b, "ann")
        browsers.identifyUnsafe(c, "joe")
        expect(yield* browsers.disconnect("uid", "joe")).toBe(2)
        expect([a, b, c, stranger].map((browser) => browser.closedWith())).toEqual([4403, undefined, 4403, undefined])
        expect(c.received()).toEqual([{ ":closed": { sid: "c" } }])
      }))

    it.effect("finds no user by a sid, no browser by a uid, and none that has disconnected", () =>
      Effect.gen(function*() {
        const { all: [a, gone], browsers } = make("a", "gone")
        browsers.identifyUnsafe(a, "joe")
        browsers.identifyUnsafe(gone, "joe")
        browsers.leaveUnsafe(gone)
        const asked = [["sid", "joe"], ["uid", "a"], ["sid", "gone"], ["uid", ""], ["uid", "__proto__"]] as const
        for (const [by, who] of asked) expect(yield* browsers.disconnect(by, who)).toBe(0)
        expect(yield* browsers.disconnect("uid", "joe")).toBe(1)
        expect(gone.closedWith()).toBe(undefined)
      }))

    it.effect("finds a browser that has authenticated again by its current user", () =>
      Effect.gen(function*() {
        const { all: [a], announced, browsers } = make("a")
        browsers.identifyUnsafe(a, "joe")
        browsers.identifyUnsafe(a, "joe")
        browsers.identifyUnsafe(a, "ann")
        expect(yield* browsers.disconnect("uid", "joe")).toBe(0)
        expect(yield* browsers.disconnect("uid", "ann")).toBe(1)
        browsers.leaveUnsafe(a)
        expect(announced).toEqual([Lifecycle.browserDisconnected("a", "ann")])
        expect(yield* browsers.disconnect("uid", "ann")).toBe(0)
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
      const { announced, browsers } = make()
      const all = new Map(["a", "b", "c"].map((sid) => [sid, FakeBrowser.make(sid)]))
      // The sids of those that are there, and who they are.
      const model = new Map<string, string | undefined>()
      const expected: Array<Event> = []
      for (const { does, sid, uid } of steps) {
        const browser = all.get(sid)!
        if (does === "enter" && !model.has(sid)) {
          browsers.enterUnsafe(browser)
          model.set(sid, undefined)
          expected.push(Lifecycle.browserConnected(sid))
        }
        if (does === "identify" && model.has(sid)) {
          browsers.identifyUnsafe(browser, uid)
          model.set(sid, uid)
        }
        if (does === "leave") {
          browsers.leaveUnsafe(browser)
          if (model.has(sid)) expected.push(Lifecycle.browserDisconnected(sid, model.get(sid)))
          model.delete(sid)
        }
        expect(browsers.count()).toBe(model.size)
        for (const uid of ["joe", "ann"]) {
          const theirs = [...model].flatMap(([sid, who]) => who === uid ? [sid] : [])
          expect(yield* browsers.disconnect("uid", uid)).toBe(theirs.length)
          const told = [...all].flatMap(([sid, browser]) => browser.received().length === 1 ? [sid] : [])
          expect(told.toSorted()).toEqual(theirs.toSorted())
        }
        for (const sid of all.keys()) expect(yield* browsers.disconnect("sid", sid)).toBe(model.has(sid) ? 1 : 0)
        for (const browser of all.values()) browser.received()
      }
      expect(announced).toEqual(expected)
    }))
})
