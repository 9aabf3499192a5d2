/**
 * What the compiler promises of the script. `tsc` checks this file; nothing runs it.
 */
import { type Duration, type Option, Schema } from "effect"
import { expectTypeOf } from "vitest"
import type * as Script from "../../src/browser/script.ts"
import { Channel, Event, EventGroup } from "../../src/events/index.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String, at: Schema.Date } }),
  Event.make("ping"),
  Event.make("rename", {
    payload: { to: Schema.String },
    success: Schema.DateTimeUtc,
    error: Schema.Literals(["taken"])
  }),
  Event.make("forget", { error: Schema.Literals(["unknown"]) })
) {}

class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: { text: Schema.String, at: Schema.DateTimeUtc, tags: Schema.Array(Schema.BigInt) } })
) {}

const Room = Channel.make("room", { kind: "presence", params: { id: Schema.Int }, events: Talk })

declare const connect: typeof Script.connect
const connection = connect<typeof Chat>("wss://example.com/chat", { token: async () => "token", callTimeout: 1000 })
const room = connection.subscribe<typeof Room>("presence-room-1", { data: { name: "Joe" } })
const untyped = connect("wss://example.com/chat")
const at = "2026-01-01T00:00:00Z"

// --- What is inferred ------------------------------------------------------------------------------------------------

expectTypeOf(connection.trigger("chat/say", { text: "hello", at })).toEqualTypeOf<Promise<void>>()
expectTypeOf(connection.trigger("chat/ping", {}, { timeout: 100 })).toEqualTypeOf<Promise<void>>()
expectTypeOf(connection.request("chat/rename", { to: "ann" })).toEqualTypeOf<Promise<string>>()
expectTypeOf(connection.request("chat/forget", {}, { signal: new AbortController().signal })).toEqualTypeOf<
  Promise<null>
>()
expectTypeOf(connection.state).toEqualTypeOf<Script.ConnectionState>()
expectTypeOf(room.state).toEqualTypeOf<Script.SubscriptionState>()
expectTypeOf(room.members).toEqualTypeOf<ReadonlyArray<Script.Member>>()
expectTypeOf(room.broadcast("talk/said", { text: "hello", at, tags: ["1"] })).toEqualTypeOf<Promise<void>>()

room.on("talk/said", (data) => {
  expectTypeOf(data.text).toEqualTypeOf<string>()
  expectTypeOf(data.at).toEqualTypeOf<string>()
  expectTypeOf(data.tags).toEqualTypeOf<ReadonlyArray<string>>()
  expectTypeOf(data.channel).toEqualTypeOf<string>()
  expectTypeOf(data.sid).toEqualTypeOf<string | undefined>()
})

connection.inbox<typeof Talk>({ rewind: 2 }).on("talk/said", (data, cursor) => {
  expectTypeOf(data.at).toEqualTypeOf<string>()
  expectTypeOf(cursor).toEqualTypeOf<Script.Cursor | undefined>()
  // @ts-expect-error it was broadcast on no channel
  void data.channel
})
connection.inbox().on("anything", (data) => data)

// Without a declaration there is any event, and any data.
void untyped.trigger("anything", { n: 1 }, { dedupeKey: "anything/1", traceparent: "00-" })
void untyped.request("anything", { n: 1 })
declare const name: "chat/say" | "chat/ping"
void connection.trigger(name, { text: "hello", at }, { dedupeKey: "chat/1" })
untyped.subscribe("room").on("anything", ({ channel }) => channel)

// The JSON form is the one that `Schema.toCodecJson` has.
expectTypeOf<Script.Json<Date | bigint | URL | Uint8Array>>().toEqualTypeOf<string>()
expectTypeOf<Script.Json<Option.Option<Date>>>().toEqualTypeOf<
  { readonly _tag: "Some"; readonly value: string } | { readonly _tag: "None" }
>()
expectTypeOf<Script.Json<ReadonlyMap<string, Date>>>().toEqualTypeOf<ReadonlyArray<readonly [string, string]>>()
expectTypeOf<Script.Json<ReadonlySet<number>>>().toEqualTypeOf<ReadonlyArray<number>>()
expectTypeOf<Script.Json<Duration.Duration>["_tag"]>().toEqualTypeOf<
  "Millis" | "Nanos" | "Infinity" | "NegativeInfinity"
>()
expectTypeOf<Script.Json<{ readonly a?: Date; readonly b: readonly [1, Date] }>>().toEqualTypeOf<
  { readonly a?: string; readonly b: readonly [1, string] }
>()
expectTypeOf<Script.Json<unknown>>().toEqualTypeOf<unknown>()

// --- What is an error ------------------------------------------------------------------------------------------------

// @ts-expect-error the group has no such event
void connection.trigger("chat/sayd", { text: "hello", at })
// @ts-expect-error an event has its name on the wire
void connection.trigger("say", { text: "hello", at })
// @ts-expect-error data have the Schema of the event
void connection.trigger("chat/say", { text: 1, at })
// @ts-expect-error data are complete
void connection.trigger("chat/say", { text: "hello" })
// @ts-expect-error a date is text in JSON
void connection.trigger("chat/say", { text: "hello", at: new Date(0) })
// @ts-expect-error data are required
void connection.trigger("chat/say")
// @ts-expect-error the group has no such event
void connection.request("chat/rename2", { to: "ann" })
// @ts-expect-error data have the Schema of the event
void connection.request("chat/rename", { to: 1 })
// @ts-expect-error a request has a response: it is not triggered
void connection.trigger("chat/rename", { to: "ann" })
// @ts-expect-error a request may have only an error
void connection.trigger("chat/forget", {})
// @ts-expect-error what has no response is no request
void connection.request("chat/ping", {})
// @ts-expect-error a key is text
void connection.trigger("chat/ping", {}, { dedupeKey: 1 })
// @ts-expect-error a request has no key
void connection.request("chat/forget", {}, { dedupeKey: "a" })
// @ts-expect-error the channel has no such event
room.on("talk/sayd", () => {})
// @ts-expect-error the channel has no such event
void room.broadcast("chat/say", { text: "hello", at })
// @ts-expect-error a date is text in JSON
void room.broadcast("talk/said", { text: "hello", at: new Date(0), tags: [] })
// @ts-expect-error data of a subscription are an object
void connection.subscribe("presence-room", { data: "Joe" })
// @ts-expect-error a token is text, or an object with one
void connect("wss://example.com/chat", { token: () => 1 })
// @ts-expect-error a timeout is a number of milliseconds
void connection.request("chat/forget", {}, { timeout: "1 second" })
// @ts-expect-error the group has no such event
connection.inbox<typeof Talk>().on("talk/sayd", () => {})
// @ts-expect-error a group is no channel
void connection.subscribe<number>("room")
