/**
 * What the compiler promises about events, their groups and channels. `tsc` checks this file; nothing runs it.
 */
// @effect-diagnostics missingEffectError:off
import { Context, Effect, type Layer, type Option, type Result, Schema } from "effect"
import { expectTypeOf } from "vitest"
import type { Message } from "../../src/events/Message.ts"
import { Channel, Event, EventGroup, type KosmonautError } from "../../src/index.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { room: Schema.String, text: Schema.String, at: Schema.optionalKey(Schema.Date) } }),
  Event.make("rename", {
    payload: Schema.Struct({ to: Schema.Option(Schema.String), seen: Schema.BigInt }),
    success: Schema.Date,
    error: Schema.Literals(["taken", "too long"])
  }),
  Event.make("left")
) {}

class Point extends Schema.Class<Point>("Point")({ x: Schema.Number }) {}
const Game = EventGroup.make("game", Event.make("move", { payload: Point, primaryKey: ({ x }) => String(x) }))

// --- What is inferred ------------------------------------------------------------------------------------------------

expectTypeOf(Chat.identifier).toEqualTypeOf<"chat">()
expectTypeOf<keyof typeof Chat.events>().toEqualTypeOf<"say" | "rename" | "left">()
expectTypeOf(Chat.events.say._tag).toEqualTypeOf<"chat/say">()
expectTypeOf(Chat.prefix("v2.").events.say._tag).toEqualTypeOf<"v2.chat/say">()
expectTypeOf(Chat.add(Event.make("joined")).events.joined._tag).toEqualTypeOf<"chat/joined">()
expectTypeOf<keyof ReturnType<typeof merged>["events"]>().toEqualTypeOf<
  "chat/say" | "chat/rename" | "chat/left" | "game/move"
>()
const merged = () => Chat.merge(Game)

type Say = Event.Payload<typeof Chat.events.say>
expectTypeOf<Say>().toEqualTypeOf<{ readonly room: string; readonly text: string; readonly at?: Date }>()
expectTypeOf<Event.Payload<typeof Chat.events.rename>>().toEqualTypeOf<
  { readonly to: Option.Option<string>; readonly seen: bigint }
>()
expectTypeOf<Event.Payload<typeof Chat.events.left>>().toEqualTypeOf<{}>()
expectTypeOf<Event.Payload<typeof Game.events.move>>().toEqualTypeOf<Point>()
expectTypeOf<Event.Success<typeof Chat.events.rename>>().toEqualTypeOf<Date>()
expectTypeOf<Event.Error<typeof Chat.events.rename>>().toEqualTypeOf<"taken" | "too long">()
expectTypeOf<Event.IsRequest<typeof Chat.events.rename>>().toEqualTypeOf<true>()
expectTypeOf<Event.IsRequest<typeof Chat.events.say>>().toEqualTypeOf<false>()

expectTypeOf(Event.decode(Chat.events.say, {})).toEqualTypeOf<
  Result.Result<Say, KosmonautError.MessageDecodeError>
>()
expectTypeOf(Event.encode(Chat.events.say, { room: "a", text: "b", at: new Date() })).toEqualTypeOf<
  Result.Result<string, KosmonautError.MessageEncodeError>
>()

const anyGroup: ReadonlyArray<EventGroup.Any> = [Chat, Game]
const anyEvent: ReadonlyArray<Event.Any> = [Chat.events.say, Chat.events.rename, Game.events.move]
expectTypeOf(anyGroup[0]!.events["x"]!).toEqualTypeOf<Event.Any>()
expectTypeOf(anyEvent[0]!._tag).toEqualTypeOf<string>()

const News = Channel.make("news", { events: Chat })
expectTypeOf(News.events.say).toEqualTypeOf<typeof Chat.events.say>()
const Room = Channel.make("room", { kind: "presence", params: { id: Schema.Int }, events: [Chat, Game] })
expectTypeOf(Room).parameter(0).toEqualTypeOf<{ readonly id: number }>()
expectTypeOf(Room({ id: 1 }).events.move).toEqualTypeOf<typeof Game.events.move>()
const anyChannel: ReadonlyArray<Channel.Any> = [News, Room({ id: 1 })]
expectTypeOf(anyChannel[0]!.name).toEqualTypeOf<string>()

// Names that the compiler does not know are checked when the group is made.
const name: string = "chat"
expectTypeOf(EventGroup.make(name, Event.make(name)).identifier).toEqualTypeOf<string>()

class Names extends Context.Service<Names, { readonly free: (name: string) => boolean }>()("test/Names") {}

// What handlers need and fail with is the layer's; a Scope is each event's own.
const ChatLive = Chat.toLayer(Effect.gen(function*() {
  yield* Effect.addFinalizer(() => Effect.void)
  if (name === "") return yield* Effect.fail("no names" as const)
  return Chat.of({
    say: (data, message) => {
      expectTypeOf(data).toEqualTypeOf<Say>()
      expectTypeOf(message).toEqualTypeOf<Message<Say>>()
      return Effect.fail("whatever")
    },
    rename: ({ seen }) =>
      Names.use(({ free }) => free(String(seen)) ? Effect.succeed(new Date()) : Effect.fail("taken")),
    left: () => Effect.asVoid(Effect.scope)
  })
}))
expectTypeOf(ChatLive).toEqualTypeOf<
  Layer.Layer<
    Event.Handler<"chat/say"> | Event.Handler<"chat/rename"> | Event.Handler<"chat/left">,
    "no names",
    Names
  >
>()
expectTypeOf(Game.toLayer({ move: (point) => Effect.log(point.x) })).toEqualTypeOf<
  Layer.Layer<Event.Handler<"game/move">>
>()

// --- What is refused -------------------------------------------------------------------------------------------------

// @ts-expect-error a group's name is not empty
EventGroup.make("")
// @ts-expect-error a group's name has no slash
EventGroup.make("chat/room")
// @ts-expect-error a group's name does not begin with a colon
EventGroup.make(":chat")
// @ts-expect-error an event's name is not empty
EventGroup.make("chat", Event.make(""))
// @ts-expect-error an event's name has no slash
EventGroup.make("chat", Event.make("say/loud"))
// @ts-expect-error an event's name does not begin with a colon
EventGroup.make("chat", Event.make(":say"))

// @ts-expect-error a payload is an object in JSON
Event.make("say", { payload: Schema.String })
// @ts-expect-error a payload's fields are Schemas
Event.make("say", { payload: { text: "string" } })

class Translator extends Context.Service<Translator, { readonly to: string }>()("test/Translator") {}
declare const needsServices: Schema.Codec<{ readonly text: string }, { readonly text: string }, Translator>
// @ts-expect-error a payload's Schema needs no services
Event.make("say", { payload: needsServices })
// @ts-expect-error nor do those of its fields
Event.make("say", { payload: { text: needsServices } })
// @ts-expect-error nor does that of a response
Event.make("say", { success: needsServices })

// @ts-expect-error there is no such event
void Chat.events.sey
// @ts-expect-error a field is missing
Event.encode(Chat.events.say, { room: "a" })
// @ts-expect-error a field has another type
Event.encode(Chat.events.say, { room: "a", text: 1 })
// @ts-expect-error a field is too many
Event.encode(Chat.events.say, { room: "a", text: "b", colour: "red" })
// @ts-expect-error data are as a program has them, not as they travel
Event.encode(Chat.events.say, { room: "a", text: "b", at: "2026-01-01T00:00:00.000Z" })

const rename = () => Effect.succeed(new Date())
// @ts-expect-error a handler is missing
Chat.of({ say: () => Effect.void, rename })
// @ts-expect-error a handler is misspelt
Chat.of({ say: () => Effect.void, rename, lefft: () => Effect.void })
// @ts-expect-error a handler is of no event
Chat.of({ say: () => Effect.void, rename, left: () => Effect.void, sayy: () => Effect.void })
// @ts-expect-error an event has no response
Chat.of({ say: () => Effect.succeed(1), rename, left: () => Effect.void })
// @ts-expect-error a request has one of another type
Chat.of({ say: () => Effect.void, rename: () => Effect.succeed("now"), left: () => Effect.void })
// @ts-expect-error a request fails with its declared error alone
Chat.of({ say: () => Effect.void, rename: () => Effect.fail("other"), left: () => Effect.void })
// @ts-expect-error a handler's data have other fields
Chat.of({ say: (data) => Effect.log(data.txt), rename, left: () => Effect.void })
// @ts-expect-error handlers that an effect makes are checked as well
Chat.toLayer(Effect.succeed({ say: () => Effect.void, rename }))

// @ts-expect-error a channel has events of groups
Channel.make("room", { events: { say: {} } })
// @ts-expect-error a parameter is missing
Room({})
// @ts-expect-error a parameter has another type
Room({ id: "1" })
// @ts-expect-error a parameter is a string or a number in a name
Channel.make("room", { params: { at: Schema.Array(Schema.String) }, events: Chat })
