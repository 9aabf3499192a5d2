import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Equal, Option, Result, Schema } from "effect"
import { Event, EventGroup } from "../../src/index.ts"
import * as Json from "../../src/protocol/Json.ts"
import { hasReadableKeys } from "../protocol/arbitraries.ts"

class Point extends Schema.Class<Point>("Point")({ x: Schema.Finite, label: Schema.optionalKey(Schema.String) }) {}

interface Tree {
  readonly value: string
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Codec<Tree> = Schema.Struct({
  value: Schema.String,
  children: Schema.Array(Schema.suspend(() => Tree))
})

const Everything = EventGroup.make(
  "all",
  Event.make("fields", {
    payload: {
      text: Schema.String,
      number: Schema.Number,
      flag: Schema.Boolean,
      at: Schema.Date,
      maybe: Schema.Option(Schema.BigInt),
      optional: Schema.optional(Schema.String),
      list: Schema.Array(Schema.NullOr(Schema.String)),
      either: Schema.Literals(["a", "b"]),
      set: Schema.ReadonlySet(Schema.String),
      bytes: Schema.Uint8Array
    }
  }),
  Event.make("empty"),
  Event.make("schema", {
    payload: Schema.Union([Schema.TaggedStruct("A", { n: Schema.Int }), Schema.TaggedStruct("B", { s: Schema.String })])
  }),
  Event.make("class", { payload: Point }),
  Event.make("tree", { payload: Tree }),
  Event.make("record", { payload: Schema.Record(Schema.String, Schema.String) }),
  Event.make("json", { payload: Schema.JsonObject }),
  Event.make("option", { payload: Schema.Option(Schema.String) })
)

/** What a receiver has of what a sender says, after it has been a text. */
const travelled = <E extends Event.Any>(event: E, data: Event.Payload<E>) =>
  Result.flatMap(Event.encode(event, data), (text) => Event.decode(event, Json.parseObjectOrEmpty(text)))

const messageOf = (result: Result.Result<unknown, Error>) => Result.isFailure(result) ? result.failure.message : "none"

describe("Event", () => {
  describe.each(Object.values<Event.Any>(Everything.events))("$_tag", (event) => {
    const data = Arbitrary.filter(Arbitrary.schema(Schema.toType(event.payloadSchema)), hasReadableKeys)

    it.effect.prop("arrives as what it was, whatever its data", [data], ([data]) =>
      // JSON has no -0, which is equal to 0 for `Equal`.
      Effect.sync(() => assert.isTrue(Equal.equals(travelled(event, data), Result.succeed(data)))))

    it.effect.prop(
      "reads any JSON or refuses it, and never throws",
      [Schema.MutableJson],
      ([json]) =>
        Effect.sync(() => {
          const read = Event.decode(event, json as Json.JsonObject)
          if (Result.isFailure(read)) assert.include(read.failure.message, event._tag)
        })
    )
  })

  it("is what it was defined as", () => {
    const { class: point, fields } = Everything.events
    expect([fields._tag, fields.key]).toEqual(["all/fields", "kosmonaut/events/Event/all/fields"])
    expect(point.payloadSchema).toBe(Point)
    expect([point.successSchema, point.errorSchema, point.primaryKey]).toEqual([Schema.Void, Schema.Never, undefined])
    const rename = Event.make("rename", {
      payload: { id: Schema.String },
      success: Schema.String,
      error: Schema.Date,
      primaryKey: ({ id }) => id
    })
    expect([rename.successSchema, rename.errorSchema]).toEqual([Schema.String, Schema.Date])
    expect(rename.prefix("v2.").primaryKey).toBe(rename.primaryKey)
  })

  it("has a response and an error as JSON, if it is a request", () => {
    const { find, ping } = EventGroup.make(
      "a",
      Event.make("find", { success: Schema.Option(Schema.Date), error: Schema.Literals(["gone", "secret"]) }),
      Event.make("ping")
    ).events
    expect([Event.isRequest(find), Event.isRequest(ping)]).toEqual([true, false])
    expect(
      [Event.make("e", { success: Schema.String }), Event.make("e", { error: Schema.String })].map(Event.isRequest)
    )
      .toEqual([true, true])
    expect(Event.encodeSuccess(find, Option.some(new Date(0)))).toEqual(
      Result.succeed(`{"_tag":"Some","value":"1970-01-01T00:00:00.000Z"}`)
    )
    expect(Event.decodeSuccess(find, { _tag: "None" })).toEqual(Result.succeed(Option.none()))
    expect(Event.encodeError(find, "gone")).toEqual(Result.succeed(`"gone"`))
    expect(Event.decodeError(find, "gone")).toEqual(Result.succeed("gone"))
    expect(Event.encodeSuccess(ping, undefined)).toEqual(Result.succeed("null"))
    expect(Event.decodeSuccess(ping, null)).toEqual(Result.succeed(undefined))
    const wrong: ReadonlyArray<Result.Result<unknown, unknown>> = [
      Event.encodeSuccess(find, "gone" as never),
      Event.encodeError(find, new Error("gone")),
      Event.encodeError(ping, undefined),
      Event.decodeSuccess(find, 1),
      Event.decodeError(find, "lost"),
      Event.decodeError(ping, null)
    ]
    expect(wrong.map(Result.isFailure)).toEqual(wrong.map(() => true))
  })

  it("travels as plain JSON, without what is not in its Schema", () => {
    const { meet } = EventGroup.make(
      "a",
      Event.make("meet", { payload: { at: Schema.Date, who: Schema.Option(Schema.String) } })
    ).events
    const more = { at: new Date(0), who: Option.some("joe"), secret: 1 }
    expect(Event.encode(meet, more)).toEqual(
      Result.succeed(`{"at":"1970-01-01T00:00:00.000Z","who":{"_tag":"Some","value":"joe"}}`)
    )
  })

  it("travels as the empty object where it has no fields", () => {
    const secret = { password: "secret" }
    expect(Event.encode(Everything.events.empty, secret)).toEqual(Result.succeed("{}"))
    expect(Event.decode(Everything.events.empty, secret)).toEqual(Result.succeed({}))
  })

  it("leaves out what the broker adds, unless its Schema asks for it", () => {
    const { deaf, keen } = EventGroup.make(
      "a",
      Event.make("deaf", { payload: { text: Schema.String } }),
      Event.make("keen", { payload: { text: Schema.String, sid: Schema.String } })
    ).events
    const data = { text: "hi", sid: "1", channel: "room" }
    expect(Event.decode(deaf, data)).toEqual(Result.succeed({ text: "hi" }))
    expect(Event.decode(keen, data)).toEqual(Result.succeed({ text: "hi", sid: "1" }))
  })

  it("says which event, which field and what was expected, and not what came", () => {
    const read = Event.decode(Everything.events.class, { x: "secret" })
    assert.strictEqual(
      messageOf(read),
      "Cannot read a message: the data of all/class do not fit its schema (Expected number\n  at [\"x\"])"
    )
    const written = Event.encode(Everything.events.class, { x: Infinity } as Point)
    assert.include(messageOf(written), "Cannot send the data of all/class: they do not fit its schema (Expected")
    assert.isTrue(Result.isFailure(written) && Schema.isSchemaError(written.failure.cause))
  })

  it("takes __proto__ for a key like any other", () => {
    const data = Json.parseObjectOrEmpty(`{"__proto__":"x","text":"y"}`)
    const read = Result.getOrThrow(Event.decode(Everything.events.record, data))
    expect(Object.entries(read)).toEqual([["__proto__", "x"], ["text", "y"]])
    expect(Event.encode(Everything.events.record, read)).toEqual(Result.succeed(`{"__proto__":"x","text":"y"}`))
    const polluted = Json.parseObjectOrEmpty(`{"__proto__":{"x":1}}`)
    assert.isTrue(Result.isFailure(Event.decode(Everything.events.class, polluted)))
  })

  it("refuses what is too deep, what throws and what is no object, without throwing itself", () => {
    let deep: Tree = { value: "", children: [] }
    for (let n = 0; n < 100_000; n++) deep = { value: "", children: [deep] }
    const trap = {
      get x(): number {
        return JSON.parse("{")
      }
    } // dprint-ignore
    const anything = Event.make("anything", { payload: Schema.declare((_): _ is object => true) })
    const cyclic: Record<string, unknown> = {}
    cyclic["self"] = cyclic
    const refused: ReadonlyArray<Result.Result<unknown, { readonly _tag: string }>> = [
      Event.encode(Everything.events.tree, deep),
      Event.decode(Everything.events.tree, deep as never),
      Event.encode(Everything.events.json, cyclic as never),
      Event.encode(Everything.events.class, Object.setPrototypeOf(trap, Point.prototype)),
      Event.decode(Everything.events.class, trap),
      Event.encode(anything, [1]),
      Event.encode(anything, () => 1)
    ]
    expect(refused.map((result) => Result.isFailure(result) && result.failure._tag)).toEqual([
      "MessageEncodeError",
      "MessageDecodeError",
      "MessageEncodeError",
      "MessageEncodeError",
      "MessageDecodeError",
      "MessageEncodeError",
      "MessageEncodeError"
    ])
  })

  it("shows of an overlong key only the beginning", () => {
    const read = Event.decode(Everything.events.record, { ["k".repeat(100_000)]: 1 })
    assert.isBelow(messageOf(read).length, 1000)
    assert.include(messageOf(read), "kkkk")
  })
})
