/**
 * What the compiler promises about events and their groups. `tsc` checks this file; nothing runs it.
 */
import { Context, type Option, type Result, Schema } from "effect"
import { expectTypeOf } from "vitest"
import { Channel, Event, EventGroup, type KosmonautError } from "../../src/index.ts"

class Chat extends EventGroup.make("chat", {
  say: { room: Schema.String, text: Schema.String, at: Schema.optionalKey(Schema.Date) },
  rename: Schema.Struct({ to: Schema.Option(Schema.String), seen: Schema.BigInt }),
  left: {}
}) {}

class Point extends Schema.Class<Point>("Point")({ x: Schema.Number }) {}
const Game = EventGroup.make("game", { move: Point })

// --- What is inferred ------------------------------------------------------------------------------------------------

expectTypeOf(Chat.identifier).toEqualTypeOf<"chat">()
expectTypeOf<keyof typeof Chat.events>().toEqualTypeOf<"say" | "rename" | "left">()
expectTypeOf(Chat.events.say.wireName).toEqualTypeOf<"chat/say">()
expectTypeOf(Chat.events.say.name).toEqualTypeOf<"say">()
expectTypeOf(Chat.events.say.group).toEqualTypeOf<"chat">()

type Say = Event.Data<typeof Chat.events.say>
expectTypeOf<Say>().toEqualTypeOf<{ readonly room: string; readonly text: string; readonly at?: Date }>()
expectTypeOf<Event.Data<typeof Chat.events.rename>>().toEqualTypeOf<
  { readonly to: Option.Option<string>; readonly seen: bigint }
>()
expectTypeOf<Event.Data<typeof Chat.events.left>>().toEqualTypeOf<{}>()
expectTypeOf<Event.Data<typeof Game.events.move>>().toEqualTypeOf<Point>()

expectTypeOf(Event.decode(Chat.events.say, {})).toEqualTypeOf<
  Result.Result<Say, KosmonautError.MessageDecodeError>
>()
expectTypeOf(Event.encode(Chat.events.say, { room: "a", text: "b", at: new Date() })).toEqualTypeOf<
  Result.Result<string, KosmonautError.MessageEncodeError>
>()

const anyGroup: ReadonlyArray<EventGroup.Any> = [Chat, Game]
const anyEvent: ReadonlyArray<Event.Any> = [Chat.events.say, Chat.events.left, Game.events.move]
expectTypeOf(anyGroup[0]!.events["x"]!).toEqualTypeOf<Event.Any>()
expectTypeOf(anyEvent[0]!.wireName).toEqualTypeOf<`${string}/${string}`>()

const Room = Channel.make("room", Chat)
expectTypeOf(Room.events.say).toEqualTypeOf<typeof Chat.events.say>()
const Both = Channel.make("both", Chat, Game)
expectTypeOf(Both).toEqualTypeOf<Channel.Channel<typeof Chat | typeof Game>>()
expectTypeOf<keyof typeof Both.events>().toEqualTypeOf<"say" | "rename" | "left" | "move">()
expectTypeOf(Both.events.move).toEqualTypeOf<typeof Game.events.move>()
const RoomOf = (id: string) => Channel.make(`room-${id}`, Chat)
expectTypeOf(RoomOf("1")).toEqualTypeOf<Channel.Channel<typeof Chat>>()

// Names that the compiler does not know are checked when the group is made.
const name: string = "chat"
expectTypeOf(EventGroup.make(name, { [name]: {} }).identifier).toEqualTypeOf<string>()

// --- What is refused -------------------------------------------------------------------------------------------------

// @ts-expect-error a group's name is not empty
EventGroup.make("", {})
// @ts-expect-error a group's name has no slash
EventGroup.make("chat/room", {})
// @ts-expect-error a group's name does not begin with a colon
EventGroup.make(":chat", {})
// @ts-expect-error an event's name is not empty
EventGroup.make("chat", { "": {} })
// @ts-expect-error an event's name has no slash
EventGroup.make("chat", { "say/loud": {} })
// @ts-expect-error an event's name does not begin with a colon
EventGroup.make("chat", { ":say": {} })

// @ts-expect-error a payload is an object in JSON
EventGroup.make("chat", { say: Schema.String })
// @ts-expect-error a payload's fields are Schemas
EventGroup.make("chat", { say: { text: "string" } })

class Translator extends Context.Service<Translator, { readonly to: string }>()("test/Translator") {}
declare const needsServices: Schema.Codec<{ readonly text: string }, { readonly text: string }, Translator>
// @ts-expect-error a payload's Schema needs no services
EventGroup.make("chat", { say: needsServices })
// @ts-expect-error nor do those of its fields
EventGroup.make("chat", { say: { text: needsServices } })

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
// @ts-expect-error a channel is of a group
Channel.make("room", { say: {} })
