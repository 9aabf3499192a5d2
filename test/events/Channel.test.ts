import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { RE2JS } from "re2js"
import { Channel, Event, EventGroup } from "../../src/index.ts"
import * as ChannelName from "../../src/protocol/ChannelName.ts"

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
class Game extends EventGroup.make("game", Event.make("moved")) {}

const News = Channel.make("news", { events: Talk })
const Room = Channel.make("room", { kind: "presence", params: { id: Schema.String }, events: [Talk, Game] })
const Seat = Channel.make("seat", { params: { row: Schema.Int, name: Schema.String }, events: Game })

const matches = (pattern: string, name: string) => RE2JS.compile(pattern).matches(name)

describe("Channel", () => {
  it("has a name, a kind and the events of its groups", () => {
    expect(News).toMatchObject({ name: "news", kind: "normal", events: Talk.events })
    expect(Room({ id: "42" })).toMatchObject({
      name: "presence-room-42",
      kind: "presence",
      events: { ...Talk.events, ...Game.events }
    })
    expect(Seat({ row: 3, name: "a" })).toMatchObject({ name: "seat-3..a", kind: "normal" })
    expect(Channel.make("inbox", { kind: "private", events: Talk })).toMatchObject({
      name: "private-inbox",
      kind: "private"
    })
    expect(Channel.make("presence-old", { events: Talk })).toMatchObject({ name: "presence-old", kind: "presence" })
  })

  it("cannot have an event of two groups", () => {
    const Other = EventGroup.make("other", Event.make("said"))
    expect(() => Channel.make("room", { events: [Talk, Other] })).toThrow(`the event "said" of two groups`)
  })

  it.each(["room-vip", "", "a.b", "presence-room"])("with parameters cannot be called %j", (name) => {
    expect(() => Channel.make(name, { params: { id: Schema.String }, events: Talk })).toThrow("cannot be called")
  })

  it("has patterns for itself, for one of its channels and for all of them", () => {
    expect(matches(News.pattern(), "news")).toBe(true)
    expect(matches(News.pattern(), "newsx")).toBe(false)
    expect(matches(Room.pattern({ id: "a.b" }), Room({ id: "a.b" }).name)).toBe(true)
    expect(matches(Room.pattern({ id: "a.b" }), Room({ id: "axb" }).name)).toBe(false)
    expect(matches(Room.pattern(), Room({ id: "joe@example.com" }).name)).toBe(true)
    expect(matches(Room.pattern(), News.name)).toBe(false)
    expect(matches(Seat.pattern({ row: 3 }), Seat({ row: 3, name: "b" }).name)).toBe(true)
    expect(matches(Seat.pattern({ row: 3 }), Seat({ row: 4, name: "b" }).name)).toBe(false)
  })

  it("quotes any name, also one that no channel can have", () => {
    for (const name of ["a.b", "a b", "a\\b", "żółw", "😀", "(?i)a", "a|b", "\n"]) {
      expect(matches(Channel.quote(name), name)).toBe(true)
      expect(matches(Channel.quote(name), "a")).toBe(false)
    }
  })

  it("gives halves of characters names of their own", () => {
    const names = ["\ud800", "\udfff", "\ufffd"].map((id) => Room({ id }).name)
    assert.isTrue(names.every(ChannelName.isValid))
    assert.strictEqual(new Set(names).size, 3)
  })

  it.effect.prop(
    "gives different values different names, and all of them valid ones",
    [Schema.String, Schema.String],
    ([one, other]) =>
      Effect.sync(() => {
        const values = [[one, other], [other, one], [one, one], [`${one}-${other}`, ""], ["", `${one}-${other}`]]
        const Pair = Channel.make("pair", { params: { a: Schema.String, b: Schema.String }, events: Talk })
        const names = values.map(([a, b]) => Pair({ a: a!, b: b! }).name)
        for (const name of names) if (name.length <= 255) assert.isTrue(ChannelName.isValid(name))
        assert.strictEqual(new Set(names).size, new Set(values.map((pair) => JSON.stringify(pair))).size)
        for (const [a, b] of values) {
          const { name } = Pair({ a: a!, b: b! })
          assert.isTrue(matches(Pair.pattern({ a: a! }), name) && matches(Pair.pattern({ b: b! }), name))
        }
      })
  )
})
