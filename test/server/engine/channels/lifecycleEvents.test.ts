/** What workers are told of channels and members. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Lifecycle from "../../../../src/protocol/Lifecycle.ts"
import type { Event } from "../../../../src/protocol/Trigger.ts"
import { ann, browsers, joe, join, makeWith, permit } from "../../../harness/channels.ts"

describe("Channels", () => {
  describe("emitting lifecycle events", () => {
    /** Channels with `names` open, and what they announce since the last look. */
    const announcing = Effect.fnUntraced(function*(...names: ReadonlyArray<string>) {
      const announced: Array<Event> = []
      const channels = makeWith({
        maxChannels: 100,
        memberDataSize: 4096,
        emit: (event) => announced.push(event)
      })
      yield* Effect.forEach(names, channels.open)
      return { channels, announced: () => announced.splice(0) }
    })
    const { channelOccupied, channelVacated, memberJoined, memberLeft } = Lifecycle

    it.effect("emits them for a channel's first and last browser, hidden ones included", () =>
      Effect.gen(function*() {
        for (const name of ["room", "private-a"]) {
          const { announced, channels } = yield* announcing(name)
          const [a, b] = browsers("a", "b")
          expect(announced()).toEqual([])
          yield* join(channels, name, a, joe, { hidden: true })
          expect(announced()).toEqual([channelOccupied(name)])
          yield* join(channels, name, a, joe)
          yield* join(channels, name, b, joe)
          yield* channels.unsubscribe(name, a, {})
          expect(announced()).toEqual([])
          yield* channels.unsubscribe(name, b, {})
          expect(announced()).toEqual([channelVacated(name)])
          yield* Effect.flip(channels.unsubscribe(name, b, {}))
          yield* channels.leave(b)
          yield* channels.close(name)
          expect(announced()).toEqual([])
        }
      }))

    it.effect("emits them for a user's first and last browser that is not hidden, with that browser's data", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a")
        const [a, b, c, d] = browsers("a", "b", "c", "d")
        yield* join(channels, "presence-a", a, joe, { hidden: true, data: { n: 1 } })
        expect(announced()).toEqual([channelOccupied("presence-a")])
        yield* join(channels, "presence-a", b, joe, { data: { n: 2 } })
        expect(announced()).toEqual([memberJoined("presence-a", "joe", { n: 2 })])
        yield* join(channels, "presence-a", c, joe, { data: { n: 3 } })
        expect(announced()).toEqual([])
        yield* join(channels, "presence-a", d, ann)
        expect(announced()).toEqual([memberJoined("presence-a", "ann", {})])
        yield* channels.unsubscribe("presence-a", b, { bye: true })
        yield* channels.unsubscribe("presence-a", a, {})
        expect(announced()).toEqual([])
        yield* channels.unsubscribe("presence-a", c, { bye: true })
        expect(announced()).toEqual([memberLeft("presence-a", "joe", { n: 3 })])
        yield* channels.leave(d)
        expect(announced()).toEqual([memberLeft("presence-a", "ann", {}), channelVacated("presence-a")])
      }))

    it.effect("emits them for each member of a closed channel, once, and last for the channel", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a", "presence-b")
        const [a, b, c, hidden] = browsers("a", "b", "c", "hidden")
        for (const [browser, who] of [[a, joe], [b, ann], [c, joe]] as const) {
          yield* join(channels, "presence-a", browser, who, { data: { sid: browser.sid } })
        }
        yield* join(channels, "presence-a", hidden, permit("spy"), { hidden: true })
        yield* join(channels, "presence-b", a, joe)
        announced()
        yield* channels.close("presence-a")
        expect(announced()).toEqual([
          memberLeft("presence-a", "ann", { sid: "b" }),
          memberLeft("presence-a", "joe", { sid: "c" }),
          channelVacated("presence-a")
        ])
        // They are not told of again when they go.
        for (const browser of [a, b, c, hidden]) yield* channels.leave(browser)
        expect(announced()).toEqual([memberLeft("presence-b", "joe", {}), channelVacated("presence-b")])
      }))

    it.effect("emits them for all channels that a browser leaves at once", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("room", "presence-a", "private-a")
        const [a, b] = browsers("a", "b")
        for (const name of ["room", "presence-a", "private-a"]) yield* join(channels, name, a, joe)
        yield* join(channels, "private-a", b, joe)
        announced()
        yield* channels.leave(a)
        yield* channels.leave(a)
        expect(announced()).toEqual([
          channelVacated("room"),
          memberLeft("presence-a", "joe", {}),
          channelVacated("presence-a")
        ])
      }))

    it.effect("emits none for what was rejected", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a")
        const [a] = browsers("a")
        const options = { hidden: false, data: {} }
        yield* Effect.flip(channels.subscribe("presence-a", a, { permission: undefined, ...options }))
        yield* Effect.flip(channels.subscribe("nope", a, { permission: joe, ...options }))
        yield* Effect.flip(
          channels.subscribe("presence-a", a, { permission: joe, hidden: false, data: { x: "x".repeat(5000) } })
        )
        yield* Effect.flip(channels.close("nope"))
        expect(announced()).toEqual([])
      }))
  })
})
