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
  const pages = Browsers.make((event) => announced.push(event), { maxMessageSize: 1000 })
  const all = sids.map((sid) => FakeBrowser.make(sid)) as { readonly [Index in keyof Sids]: FakeBrowser.FakeBrowser }
  all.forEach(pages.enterUnsafe)
  announced.length = 0
  return { announced, pages, all }
}

describe("Browsers", () => {
  it("counts connected browsers, and emits their connecting and disconnecting once each", () => {
    const { announced, pages } = make()
    const [a, b] = [FakeBrowser.make("a"), FakeBrowser.make("b")]
    expect(pages.count()).toBe(0)
    pages.enterUnsafe(a)
    pages.enterUnsafe(b)
    pages.identifyUnsafe(b, "joe")
    expect(pages.count()).toBe(2)
    for (const page of [a, b, b, a]) pages.leaveUnsafe(page)
    expect(pages.count()).toBe(0)
    expect(announced).toStrictEqual([
      Lifecycle.browserConnected("a"),
      Lifecycle.browserConnected("b"),
      Lifecycle.browserDisconnected("a", undefined),
      Lifecycle.browserDisconnected("b", "joe")
    ])
  })

  it("sends nothing to a browser by itself", () => {
    const { all: [a], pages } = make("a")
    pages.identifyUnsafe(a, "joe")
    pages.leaveUnsafe(a)
    expect(a.heard()).toEqual([])
  })

  it.effect("forgets a browser that has disconnected, even if it authenticates afterwards", () =>
    Effect.gen(function*() {
      const { all: [a], pages } = make("a")
      pages.leaveUnsafe(a)
      pages.identifyUnsafe(a, "joe")
      expect(yield* pages.disconnect("uid", "joe")).toBe(0)
    }))

  describe("sendTo", () => {
    it.effect("sends the event to one browser, with its data unchanged", () =>
      Effect.gen(function*() {
        const { all: [a, b], pages } = make("a", "b")
        const data = JSON.parse(`{"sid":"s","channel":"c","__proto__":{"x":1}}`) as JsonObject
        yield* pages.sendTo("b", "hello", data)
        expect([a.heard(), JSON.stringify(b.heard())]).toEqual([[], `[{"hello":${JSON.stringify(data)}}]`])
      }))

    it.effect.each(["gone", "nobody", "", "__proto__", "constructor", "joe"])(
      "fails if there is no browser %j",
      (sid) =>
        Effect.gen(function*() {
          const { all: [a, gone], pages } = make("a", "gone")
          pages.identifyUnsafe(a, "joe")
          pages.leaveUnsafe(gone)
          const failure = yield* Effect.flip(pages.sendTo(sid, "hello", {}))
          expect(failure).toBeInstanceOf(BrowserNotFoundError)
          expect(failure).toMatchObject({ code: 455, sid })
          expect([a.heard(), gone.heard()]).toEqual([[], []])
        })
    )
  })

  describe("disconnect", () => {
    it.effect("closes one browser's connection, and sends `:closed` before", () =>
      Effect.gen(function*() {
        const { all: [a, b], pages } = make("a", "b")
        const order: Array<unknown> = []
        const c = FakeBrowser.make("c", (message) => order.push(message))
        pages.enterUnsafe({ ...c, closeUnsafe: (code) => order.push(code) })
        expect(yield* pages.disconnect("sid", "b")).toBe(1)
        expect([b.heard(), b.closedWith()]).toEqual([[{ ":closed": { sid: "b" } }], 4403])
        expect([a.heard(), a.closedWith()]).toEqual([[], undefined])
        expect(yield* pages.disconnect("sid", "c")).toBe(1)
        expect(order).toEqual([`{":closed":{"sid":"c"}}`, 4403])
      }))

    it.effect("closes the connections of all browsers of a user, and no others", () =>
      Effect.gen(function*() {
        const { all: [a, b, c, stranger], pages } = make("a", "b", "c", "stranger")
        pages.identifyUnsafe(a, "joe")
        pages.identifyUnsafe(b, "ann")
        pages.identifyUnsafe(c, "joe")
        expect(yield* pages.disconnect("uid", "joe")).toBe(2)
        expect([a, b, c, stranger].map((page) => page.closedWith())).toEqual([4403, undefined, 4403, undefined])
        expect(c.heard()).toEqual([{ ":closed": { sid: "c" } }])
      }))

    it.effect("finds no user by a sid, no browser by a uid, and none that has disconnected", () =>
      Effect.gen(function*() {
        const { all: [a, gone], pages } = make("a", "gone")
        pages.identifyUnsafe(a, "joe")
        pages.identifyUnsafe(gone, "joe")
        pages.leaveUnsafe(gone)
        const asked = [["sid", "joe"], ["uid", "a"], ["sid", "gone"], ["uid", ""], ["uid", "__proto__"]] as const
        for (const [by, who] of asked) expect(yield* pages.disconnect(by, who)).toBe(0)
        expect(yield* pages.disconnect("uid", "joe")).toBe(1)
        expect(gone.closedWith()).toBe(undefined)
      }))

    it.effect("finds a browser that has authenticated again by its current user", () =>
      Effect.gen(function*() {
        const { all: [a], announced, pages } = make("a")
        pages.identifyUnsafe(a, "joe")
        pages.identifyUnsafe(a, "joe")
        pages.identifyUnsafe(a, "ann")
        expect(yield* pages.disconnect("uid", "joe")).toBe(0)
        expect(yield* pages.disconnect("uid", "ann")).toBe(1)
        pages.leaveUnsafe(a)
        expect(announced).toEqual([Lifecycle.browserDisconnected("a", "ann")])
        expect(yield* pages.disconnect("uid", "ann")).toBe(0)
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
      const { announced, pages } = make()
      const all = new Map(["a", "b", "c"].map((sid) => [sid, FakeBrowser.make(sid)]))
      // The sids of those that are there, and who they are.
      const model = new Map<string, string | undefined>()
      const expected: Array<Event> = []
      for (const { does, sid, uid } of steps) {
        const page = all.get(sid)!
        if (does === "enter" && !model.has(sid)) {
          pages.enterUnsafe(page)
          model.set(sid, undefined)
          expected.push(Lifecycle.browserConnected(sid))
        }
        if (does === "identify" && model.has(sid)) {
          pages.identifyUnsafe(page, uid)
          model.set(sid, uid)
        }
        if (does === "leave") {
          pages.leaveUnsafe(page)
          if (model.has(sid)) expected.push(Lifecycle.browserDisconnected(sid, model.get(sid)))
          model.delete(sid)
        }
        expect(pages.count()).toBe(model.size)
        for (const uid of ["joe", "ann"]) {
          const theirs = [...model].flatMap(([sid, who]) => who === uid ? [sid] : [])
          expect(yield* pages.disconnect("uid", uid)).toBe(theirs.length)
          const told = [...all].flatMap(([sid, page]) => page.heard().length === 1 ? [sid] : [])
          expect(told.toSorted()).toEqual(theirs.toSorted())
        }
        for (const sid of all.keys()) expect(yield* pages.disconnect("sid", sid)).toBe(model.has(sid) ? 1 : 0)
        for (const page of all.values()) page.heard()
      }
      expect(announced).toEqual(expected)
    }))
})
