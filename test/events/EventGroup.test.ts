import { assert, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import type { Implemented } from "../../src/events/EventGroup.ts"
import { Event, EventGroup } from "../../src/index.ts"

const say = Event.make("say", { payload: { text: Schema.String } })
const left = Event.make("left")
class Chat extends EventGroup.make("chat", say, left) {}

const tags = (group: EventGroup.Any) =>
  Object.fromEntries(Object.entries(group.events).map(([name, { _tag }]) => [name, _tag]))

describe("EventGroup", () => {
  it("has its events by name", () => {
    expect(Chat.identifier).toBe("chat")
    expect(tags(Chat)).toEqual({ say: "chat/say", left: "chat/left" })
  })

  it("takes more events, and replaces one with the same name", () => {
    const more = Chat.add(Event.make("joined"), Event.make("say", { payload: { line: Schema.Int } }))
    expect(tags(more)).toEqual({ say: "chat/say", left: "chat/left", joined: "chat/joined" })
    expect(Event.encode(more.events.say, { line: 1 })).toMatchObject({ success: `{"line":1}` })
    expect(tags(Chat)).toEqual({ say: "chat/say", left: "chat/left" })
  })

  it("merges with others, and names events as they are on the wire", () => {
    const merged = Chat.merge(EventGroup.make("game", Event.make("say"))).add(Event.make("bare"))
    expect(tags(merged)).toEqual({
      "chat/say": "chat/say",
      "chat/left": "chat/left",
      "game/say": "game/say",
      bare: "bare"
    })
    expect(merged.events["chat/say"].payloadSchema).toBe(Chat.events.say.payloadSchema)
  })

  it("takes a prefix to its name", () => {
    expect(tags(Chat.prefix("v2."))).toEqual({ say: "v2.chat/say", left: "v2.chat/left" })
    expect(tags(Chat.prefix("v2.").add(Event.make("joined")))).toMatchObject({ joined: "v2.chat/joined" })
  })

  it("takes names that objects have for names", () => {
    const names = ["__proto__", "constructor", "toString"]
    const group = EventGroup.make("odd", ...names.map((name) => Event.make(name)))
    expect(names.map((name) => group.events[name]?._tag)).toEqual(names.map((name) => `odd/${name}`))
  })

  it.each(["", "chat/say", "/", ":chat"])("cannot be called %j, and neither can an event", (name: string) => {
    expect(() => EventGroup.make(name)).toThrow(`can be called ${JSON.stringify(name)}`)
    expect(() => EventGroup.make("chat", Event.make(name))).toThrow(`can be called ${JSON.stringify(name)}`)
  })

  it.each([Schema.Date, Schema.ReadonlySet(Schema.String), Schema.Array(Schema.String)])(
    "does not begin with a payload that is never an object in JSON",
    (payload) => {
      expect(() => Event.make("say", { payload })).toThrow(`The payload of the event "say" is not an object in JSON`)
    }
  )

  it.effect("puts each handler under its event's key, with the services that were there", () =>
    Effect.gen(function*() {
      class Room extends Context.Service<Room, string>()("test/Room") {}
      const acquired: Array<string> = []
      const ChatLive = Chat.toLayer(Effect.gen(function*() {
        yield* Effect.acquireRelease(
          Effect.sync(() => acquired.push("acquired")),
          () => Effect.sync(() => acquired.push("released"))
        )
        return Chat.of({
          say: ({ text }) =>
            Effect.asVoid(Effect.scoped(Effect.map(Room, (room) => acquired.push(`${room}: ${text}`)))),
          left: () => Effect.void
        })
      }))
      yield* Effect.scoped(Effect.gen(function*() {
        const context = yield* Layer.build(Layer.provide(ChatLive, Layer.succeed(Room, "42")))
        const { context: own, handler } = context.mapUnsafe.get(Chat.events.say.key) as Implemented
        yield* Effect.ignore(Effect.provideContext(handler({ text: "hi" }, {} as never), own))
        assert.includeMembers([...context.mapUnsafe.keys()], [Chat.events.say.key, Chat.events.left.key])
      }))
      assert.deepStrictEqual(acquired, ["acquired", "42: hi", "released"])
    }))
})
