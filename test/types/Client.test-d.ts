/**
 * What the compiler promises of typed events that go out. Checked by the compiler alone: nothing here runs.
 */
import { Effect, Schema, type Stream } from "effect"
import { expectTypeOf } from "vitest"
import {
  Channel,
  type Client,
  type DeadLetter,
  EventGroup,
  EventRouter,
  type KosmonautError,
  Lifecycle,
  type Message
} from "../../src/index.ts"

declare const client: Client.Client["Service"]
declare const message: Message.Message

class Chat extends EventGroup.make("chat", { said: { text: Schema.String, at: Schema.Date }, left: {} }) {}

const Room = Channel.make("room", Chat)
const data = { text: "hello", at: new Date(0) }

// A channel that is defined gives the typed way to it, a name asks for it.
expectTypeOf(client.channel(Room)).toEqualTypeOf<Client.TypedChannel<typeof Chat>>()
expectTypeOf(client.channel("room")).toEqualTypeOf<
  Effect.Effect<Client.ChannelInfo, Client.RequestError | KosmonautError.ChannelNotFoundError>
>()
expectTypeOf(client.channel(Room).broadcast("said", data)).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.ChannelNotFoundError>
>()

// What is asked of dead letters fails with what can happen to it, and nothing else.
expectTypeOf(client.deadLetters).toEqualTypeOf<Stream.Stream<DeadLetter.DeadLetter, Client.RequestError>>()
expectTypeOf(client.deadLetters.replayAll).toEqualTypeOf<Effect.Effect<DeadLetter.Replayed, Client.RequestError>>()
expectTypeOf(client.deadLetters.discardAll).toEqualTypeOf<Effect.Effect<number, Client.RequestError>>()
expectTypeOf(client.deadLetters.replay("id")).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.DeadLetterNotFoundError>
>()
expectTypeOf(client.deadLetters.discard("id")).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.DeadLetterNotFoundError>
>()

// Untyped use stays as easy.
void client.broadcast("room", "hello")
void client.broadcast("room", "hello", { what: "world" }, { exceptSid: "sid" })
void client.sendTo("sid", "hello", { what: "world" })
void message.directReply("hello")

// Defined events, wherever an event is said.
void client.broadcast("room", Chat.events.said, data)
void client.sendTo("sid", Chat.events.left, {})
void message.directReply(Chat.events.said, data)
void message.broadcastReply("room", Chat.events.said, data)

// @ts-expect-error the channel has no such event
void client.channel(Room).broadcast("siad", data)
// @ts-expect-error the data are another event's
void client.channel(Room).broadcast("said", { text: "hello", at: "today" })
// @ts-expect-error the data are missing
void client.channel(Room).broadcast("said")
// @ts-expect-error the data do not fit the event's Schema
void client.broadcast("room", Chat.events.said, { text: 1, at: new Date(0) })
// @ts-expect-error the data of a defined event are missing
void client.broadcast("room", Chat.events.said)
// @ts-expect-error the data do not fit the event's Schema
void client.sendTo("sid", Chat.events.said, {})
// @ts-expect-error the data do not fit the event's Schema
void message.directReply(Chat.events.said, { text: "hello" })
// @ts-expect-error the data do not fit the event's Schema
void message.broadcastReply("room", Chat.events.said, { text: "hello" })
// @ts-expect-error data are an object
void client.broadcast("room", "hello", "world")

// Lifecycle events are events.
void EventRouter.layer(Lifecycle.Members, {
  memberJoined: ({ data }) => {
    expectTypeOf(data.uid).toEqualTypeOf<string>()
    return Effect.void
  },
  memberLeft: () => Effect.void
})
// @ts-expect-error a handler is missing
void EventRouter.layer(Lifecycle.Members, { memberJoined: () => Effect.void })
