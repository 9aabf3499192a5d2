/**
 * What the compiler promises of Clients and Workers. `tsc` checks this file; nothing runs it.
 */
// @effect-diagnostics missingEffectError:off missingEffectContext:off
import { Effect, type Redacted, type Result, Schema, Stream } from "effect"
import { expectTypeOf } from "vitest"
import {
  Channel,
  Client,
  type DeadLetter,
  Event,
  EventGroup,
  KosmonautError,
  Message,
  type Worker
} from "../../src/index.ts"

declare const client: Client.Client["Service"]
declare const worker: Worker.Worker["Service"]
declare const message: Message.Message

class Chat extends EventGroup.make(
  "chat",
  Event.make("said", { payload: { text: Schema.String, at: Schema.Date } }),
  Event.make("left")
) {}

const Lobby = Channel.make("lobby", { events: Chat })
const Room = Channel.make("room", { params: { id: Schema.Int }, events: Chat })
const data = { text: "hello", at: new Date(0) }

type OnChannel = Client.RequestError | KosmonautError.ChannelNotFoundError

// --- What is inferred ------------------------------------------------------------------------------------------------

expectTypeOf<Client.RequestError>().toEqualTypeOf<
  | KosmonautError.UnauthorizedError
  | KosmonautError.ConnectionError
  | KosmonautError.RequestTimeoutError
  | KosmonautError.ProtocolError
>()

expectTypeOf(client.openChannel(Room({ id: 1 }))).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.InvalidChannelNameError>
>()
expectTypeOf(client.closeChannel(Lobby)).toEqualTypeOf<Effect.Effect<void, OnChannel>>()
expectTypeOf(client.channel(Lobby)).toEqualTypeOf<Effect.Effect<Client.ChannelInfo, OnChannel>>()
expectTypeOf(client.channels({ prefix: "room-" })).toEqualTypeOf<
  Stream.Stream<Client.ChannelInfo, Client.RequestError>
>()
expectTypeOf(client.subscribers(Room({ id: 1 }))).toEqualTypeOf<Stream.Stream<Client.Subscriber, OnChannel>>()
expectTypeOf(client.members("room")).toEqualTypeOf<Effect.Effect<ReadonlyArray<Client.Member>, OnChannel>>()
expectTypeOf(client.broadcast(Room({ id: 1 }), "said", data)).toEqualTypeOf<Effect.Effect<void, OnChannel>>()
expectTypeOf(client.requestSingleAccessToken({ uid: "joe", channels: [Room({ id: 1 }), "news"] })).toEqualTypeOf<
  Effect.Effect<Redacted.Redacted, Client.RequestError>
>()

// What is requested of dead letters fails with what can happen to it, and nothing else.
expectTypeOf(client.deadLetters.list).toEqualTypeOf<Stream.Stream<DeadLetter.DeadLetter, Client.RequestError>>()
expectTypeOf(client.deadLetters.replayAll).toEqualTypeOf<Effect.Effect<DeadLetter.Replayed, Client.RequestError>>()
expectTypeOf(client.deadLetters.discardAll).toEqualTypeOf<Effect.Effect<number, Client.RequestError>>()
expectTypeOf(client.deadLetters.replay("id")).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.DeadLetterNotFoundError>
>()
expectTypeOf(client.deadLetters.discard("id")).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.DeadLetterNotFoundError>
>()

// A reason is handled by its tag.
void client.broadcast("room", "hello").pipe(
  Effect.catchReason("ProtocolError", "BadRequestError", (reason) => {
    expectTypeOf(reason).toEqualTypeOf<KosmonautError.BadRequestError>()
    return Effect.void
  })
)
expectTypeOf<KosmonautError.ProtocolError["reason"]["_tag"]>().toEqualTypeOf<
  | "BadRequestError"
  | "InternalError"
  | "TooManyRequestsError"
  | "EndOfFileError"
  | "UnknownServerError"
  | "MessageDecodeError"
  | "MessageEncodeError"
>()
void client.broadcast("room", "hello").pipe(
  Effect.catchReason("ConnectionError", "ConnectionRefusedError", (reason) => {
    expectTypeOf(reason.wasSent).toEqualTypeOf<"no">()
    return Effect.void
  })
)
expectTypeOf<KosmonautError.ConnectionError["reason"]["_tag"]>().toEqualTypeOf<
  "ConnectionRefusedError" | "ConnectionClosedError" | "ConnectionTimeoutError" | "MalformedMessageError"
>()
declare const late: KosmonautError.RequestTimeoutError
expectTypeOf(late.wasSent).toEqualTypeOf<"no" | "maybe">()
expectTypeOf(late.isRetryable).toEqualTypeOf<boolean>()
declare const lost: KosmonautError.ConnectionError
expectTypeOf(lost.wasSent).toEqualTypeOf<"no" | "maybe">()
expectTypeOf(lost.isRetryable).toEqualTypeOf<boolean>()

expectTypeOf(client.broadcastAll([])).toEqualTypeOf<
  Effect.Effect<
    ReadonlyArray<Result.Result<void, KosmonautError.ChannelNotFoundError | KosmonautError.ProtocolError>>,
    Client.RequestError
  >
>()

// A request has the response and the error of its declaration, and what can happen to every request of a worker.
class Taken extends Schema.TaggedError<Taken>("test/types/Taken")("Taken", {}) {}
class Requests extends EventGroup.make(
  "requests",
  Event.make("rename", { payload: { to: Schema.String }, success: Schema.Date, error: Taken }),
  Event.make("count", { success: Schema.Int }),
  Event.make("touch", { error: Taken })
) {}
expectTypeOf<Client.CallError>().toEqualTypeOf<
  | Client.RequestError
  | KosmonautError.NoWorkerError
  | KosmonautError.HandlerFailedError
  | KosmonautError.DeadlineExceededError
>()
expectTypeOf(client.request(Requests.events.rename, { to: "ann" }, { timeout: "1 second" })).toEqualTypeOf<
  Effect.Effect<Date, Taken | Client.CallError>
>()
expectTypeOf(client.request(Requests.events.count, {})).toEqualTypeOf<Effect.Effect<number, Client.CallError>>()
expectTypeOf(client.request(Requests.events.touch, {})).toEqualTypeOf<Effect.Effect<void, Taken | Client.CallError>>()
expectTypeOf(client.request("rename", { to: "ann" })).toEqualTypeOf<
  Effect.Effect<Schema.Json, KosmonautError.ResponseError | Client.CallError>
>()
expectTypeOf(client.trigger(Chat.events.said, data, { delay: "1 minute", dedupeKey: "a" })).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError>
>()
expectTypeOf(client.trigger("said", data)).toEqualTypeOf<Effect.Effect<void, Client.RequestError>>()

// Names stay as easy.
void client.broadcast("room", "hello")
void client.broadcast("room", "hello", { what: "world" }, { exceptSid: "sid" })
void client.sendTo("sid", "hello", { what: "world" })
void client.requestSingleAccessToken("joe", `${Channel.quote("room")}-.*`)
void client.requestSingleAccessToken("joe", Room.pattern())

// A declared event may be sent wherever an event is sent.
void client.broadcast("room", Chat.events.said, data)
void client.broadcast(Lobby, Chat.events.said, data)
void client.sendTo("sid", Chat.events.left, {})
expectTypeOf(client.sendToUser("joe", Chat.events.said, data)).toEqualTypeOf<
  Effect.Effect<number, Client.RequestError>
>()
void client.sendToUser("joe", "hello", { what: "world" })

// Replies are requests of the Client in the context.
expectTypeOf(Message.directReply(message, "hello")).toEqualTypeOf<
  Effect.Effect<void, Client.RequestError | KosmonautError.BrowserNotFoundError, Client.Client>
>()
expectTypeOf(Message.broadcastReply(message, Room({ id: 1 }), "said", data)).toEqualTypeOf<
  Effect.Effect<void, OnChannel, Client.Client>
>()
expectTypeOf(Message.broadcastCopy(message, Lobby)).toEqualTypeOf<Effect.Effect<void, OnChannel, Client.Client>>()
void Message.directReply(message, Chat.events.said, data)
void Message.broadcastReply(message, "room", Chat.events.said, data, { exceptSid: message.sid })

// A listener fails with what its handlers fail with, and with a token that is rejected.
expectTypeOf(worker.listen({ onMessage: () => Effect.fail("no" as const) })).toEqualTypeOf<
  Effect.Effect<never, KosmonautError.UnauthorizedError | "no">
>()
expectTypeOf(worker.listen({
  onMessage: (received) => {
    expectTypeOf(received).toEqualTypeOf<Message.Message>()
    return Message.directReply(received, "thanks")
  },
  onError: (error) => {
    expectTypeOf(error).toEqualTypeOf<KosmonautError.ProtocolError>()
    return Effect.void
  },
  onException: () => Effect.void
})).toEqualTypeOf<Effect.Effect<never, KosmonautError.UnauthorizedError, Client.Client>>()

// Whoever reads the stream acks and nacks.
expectTypeOf(worker.messages({ lifecycle: true })).toEqualTypeOf<
  Stream.Stream<Worker.Delivery, KosmonautError.UnauthorizedError>
>()
void Stream.runForEach(worker.messages(), ({ ack, event, nack }) => event === "" ? nack("no name") : ack)

// --- What is refused -------------------------------------------------------------------------------------------------

// @ts-expect-error the channel has no such event
void client.broadcast(Lobby, "siad", data)
// @ts-expect-error the data are another event's
void client.broadcast(Lobby, "said", { text: "hello", at: "today" })
// @ts-expect-error the data are missing
void client.broadcast(Lobby, "said")
// @ts-expect-error a channel with parameters has no name without them
void client.broadcast(Room, "said", data)
// @ts-expect-error nor can it be opened
void client.openChannel(Room)
// @ts-expect-error nor can a token allow it
void client.requestSingleAccessToken({ uid: "joe", channels: [Room] })
// @ts-expect-error the data do not fit the event's Schema
void client.broadcast("room", Chat.events.said, { text: 1, at: new Date(0) })
// @ts-expect-error the data of a declared event are missing
void client.broadcast("room", Chat.events.said)
// @ts-expect-error the data do not fit the event's Schema
void client.sendTo("sid", Chat.events.said, {})
// @ts-expect-error data are an object
void client.broadcast("room", "hello", "world")

// @ts-expect-error the data do not fit the event's Schema
void Message.directReply(message, Chat.events.said, { text: "hello" })
// @ts-expect-error the data do not fit the event's Schema
void Message.broadcastReply(message, "room", Chat.events.said, { text: "hello" })
// @ts-expect-error the channel has no such event
void Message.broadcastReply(message, Lobby, "siad", data)

// @ts-expect-error the event has no response
void client.request(Chat.events.left, {})
// @ts-expect-error the data do not fit the request's Schema
void client.request(Requests.events.rename, { to: 1 })
// @ts-expect-error the data of a request are missing
void client.request(Requests.events.rename)
// @ts-expect-error a timeout is a duration
void client.request("rename", {}, { timeout: "soon" })
// @ts-expect-error the data do not fit the event's Schema
void client.trigger(Chat.events.said, { text: 1 })
// @ts-expect-error "This event is a request: use request"
void client.trigger(Requests.events.count, {})
// @ts-expect-error the same for a request that declares only an error
void client.trigger(Requests.events.touch, {})
// @ts-expect-error a request has no delay
void client.request("rename", {}, { delay: "1 second" })

// @ts-expect-error a worker's handler receives one message
void worker.listen({ onMessage: (_event: string, _data: object) => Effect.void })
// @ts-expect-error no request has this reason
void client.openChannel("room").pipe(Effect.catchReason("ProtocolError", "ForbiddenError", () => Effect.void))
// @ts-expect-error these are reasons, and not errors of a request
void client.openChannel("room").pipe(Effect.catchTag("BadRequestError", () => Effect.void))
