import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { Channel, EventGroup } from "../../src/index.ts"

class Chat extends EventGroup.make("chat", { say: { text: Schema.String }, left: {} }) {}

describe("EventGroup", () => {
  it("has its events by name", () => {
    expect(Chat.identifier).toBe("chat")
    expect(Object.values(Chat.events).map(({ wireName }) => wireName)).toEqual(["chat/say", "chat/left"])
  })

  it("takes names that objects have for names", () => {
    const names = ["__proto__", "constructor", "toString"]
    const group = EventGroup.make("odd", Object.fromEntries(names.map((name) => [name, {}])))
    expect(names.map((name) => group.events[name]?.wireName)).toEqual(names.map((name) => `odd/${name}`))
  })

  it.each(["", "chat/say", "/", ":chat"])("cannot be called %j, and neither can an event", (name: string) => {
    expect(() => EventGroup.make(name, {})).toThrow(`can be called ${JSON.stringify(name)}`)
    expect(() => EventGroup.make("chat", { [name]: {} })).toThrow(`can be called ${JSON.stringify(name)}`)
  })

  it.each([Schema.Date, Schema.ReadonlySet(Schema.String), Schema.Array(Schema.String)])(
    "does not begin with a payload that is never an object in JSON",
    (payload) => {
      expect(() => EventGroup.make("chat", { say: payload })).toThrow(
        `The payload of the event "chat/say" is not an object in JSON`
      )
    }
  )
})

describe("Channel", () => {
  it("is a name and its events", () => {
    const Inbox = (user: string) => Channel.make(`private-inbox-${user}`, Chat)
    expect(Inbox("joe")).toEqual({ name: "private-inbox-joe", groups: [Chat], events: Chat.events })
  })

  it("has the events of several groups, by their names there", () => {
    const Game = EventGroup.make("game", { move: {} })
    const both = Channel.make("room", Chat, Game)
    expect(both.events).toEqual({ ...Chat.events, ...Game.events })
    expect(both.events.move.wireName).toBe("game/move")
  })

  it("is an error at once if two of its groups have an event of the same name", () => {
    const Other = EventGroup.make("other", { say: {} })
    expect(() => Channel.make("room", Chat, Other)).toThrow("A channel cannot have both chat/say and other/say")
  })
})
