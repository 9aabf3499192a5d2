/**
 * What the compiler promises of browsers. `tsc` checks this file; nothing runs it.
 */
// @effect-diagnostics missingEffectError:off missingEffectContext:off
import { Context, Effect, type Layer, type Redacted, Schema, type Scope, type Stream } from "effect"
import type { Socket } from "effect/socket"
import { expectTypeOf } from "vitest"
import { Browser, type BrowserError, type ConnectionState, type Subscription } from "../../src/browser/index.ts"
import { Channel, Event, EventGroup, type KosmonautError } from "../../src/index.ts"

declare const browser: Browser.Browser["Service"]

class Clock extends Context.Service<Clock, { readonly now: number }>()("Clock") {}

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String, at: Schema.Date } }),
  Event.make("ping"),
  Event.make("rename", { payload: { to: Schema.String }, success: Schema.Date, error: Schema.Literals(["taken"]) }),
  Event.make("forget", { error: Schema.Literals(["unknown"]) })
) {}

class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: { text: Schema.String, at: Schema.Date } }),
  Event.make("left")
) {}

const News = Channel.make("news", { events: Talk })
const Room = Channel.make("room", { kind: "presence", params: { id: Schema.Int }, events: Talk })
declare const room: Subscription.Subscription<typeof Talk.events>
const said = { text: "hello", at: new Date(0) }

// --- What is inferred ------------------------------------------------------------------------------------------------

expectTypeOf<BrowserError.CallError>().toEqualTypeOf<
  | KosmonautError.UnauthorizedError
  | KosmonautError.ForbiddenError
  | BrowserError.ConnectionLostError
  | BrowserError.ConnectionClosedError
  | KosmonautError.RequestTimeoutError
  | BrowserError.TooManyCallsError
  | KosmonautError.ProtocolError
>()

expectTypeOf(browser.trigger(Chat.events.say, said)).toEqualTypeOf<Effect.Effect<void, BrowserError.CallError>>()
expectTypeOf(browser.trigger(Chat.events.ping)).toEqualTypeOf<Effect.Effect<void, BrowserError.CallError>>()
expectTypeOf(browser.request(Chat.events.rename, { to: "ann" }, { timeout: "1 second" })).toEqualTypeOf<
  Effect.Effect<
    Date,
    "taken" | BrowserError.CallError | KosmonautError.NoWorkerError | KosmonautError.HandlerFailedError
  >
>()
expectTypeOf(browser.request(Chat.events.forget)).toEqualTypeOf<
  Effect.Effect<void, "unknown" | BrowserError.RequestError>
>()
expectTypeOf(browser.broadcast(Room({ id: 1 }), "said", said)).toEqualTypeOf<
  Effect.Effect<
    void,
    BrowserError.CallError | KosmonautError.NotSubscribedError | KosmonautError.ChannelNotFoundError
  >
>()
expectTypeOf(browser.broadcast(News, "left")).toEqualTypeOf<Effect.Effect<void, BrowserError.BroadcastError>>()

expectTypeOf(browser.subscribe(News)).toEqualTypeOf<
  Effect.Effect<Subscription.Subscription<typeof Talk.events>, BrowserError.SubscribeError, Scope.Scope>
>()
expectTypeOf<BrowserError.SubscribeError>().toEqualTypeOf<
  | KosmonautError.UnauthorizedError
  | KosmonautError.ForbiddenError
  | KosmonautError.ChannelNotFoundError
  | BrowserError.ConnectionClosedError
  | KosmonautError.RequestTimeoutError
  | KosmonautError.ProtocolError
>()

type TalkEvent =
  | Subscription.BrowserEvent<"said", { readonly text: string; readonly at: Date }>
  | Subscription.BrowserEvent<"left", {}>
expectTypeOf(room.events).toEqualTypeOf<Stream.Stream<TalkEvent>>()
expectTypeOf(browser.events(Talk)).toEqualTypeOf<Stream.Stream<TalkEvent>>()
expectTypeOf(browser.inbox(Talk, { rewind: 2 })).toEqualTypeOf<
  Effect.Effect<Subscription.Inbox<typeof Talk.events>, BrowserError.SubscribeError, Scope.Scope>
>()
declare const inbox: Subscription.Inbox<typeof Talk.events>
expectTypeOf(inbox.events).toEqualTypeOf<Stream.Stream<TalkEvent>>()
expectTypeOf(room.members.get).toEqualTypeOf<Effect.Effect<ReadonlyArray<Subscription.Member>>>()
expectTypeOf(browser.changes).toEqualTypeOf<Stream.Stream<ConnectionState.ConnectionState>>()

// What handlers need is needed.
expectTypeOf(room.on("said", ({ at }, { sid }) => Effect.as(Clock, [at.getTime(), sid]))).toEqualTypeOf<
  Effect.Effect<void, never, Clock | Scope.Scope>
>()
expectTypeOf(room.on({ said: ({ text }) => Effect.fail(text.length), left: () => Effect.void })).toEqualTypeOf<
  Effect.Effect<void, never, Scope.Scope>
>()
expectTypeOf(browser.on(Talk, { said: ({ at }) => Effect.as(Clock, at.getTime()) })).toEqualTypeOf<
  Effect.Effect<void, never, Clock | Scope.Scope>
>()

// What the token needs is needed, its failure is not one of the layer.
declare const token: Effect.Effect<Redacted.Redacted, "offline", Clock>
expectTypeOf(Browser.layer({ url: "ws://localhost/chat" })).toEqualTypeOf<
  Layer.Layer<Browser.Browser, KosmonautError.InvalidOptionError>
>()
expectTypeOf(Browser.layer({ url: "ws://localhost/chat", token })).toEqualTypeOf<
  Layer.Layer<Browser.Browser, KosmonautError.InvalidOptionError, Clock>
>()
expectTypeOf(Browser.layerWithWebSocket({ url: "ws://localhost/chat" })).toEqualTypeOf<
  Layer.Layer<Browser.Browser, KosmonautError.InvalidOptionError, Socket.WebSocketConstructor>
>()
expectTypeOf(Browser.make({ url: "ws://localhost/chat", token })).toEqualTypeOf<
  Effect.Effect<
    Browser.Browser["Service"],
    KosmonautError.InvalidOptionError,
    Clock | Scope.Scope | Socket.WebSocketConstructor
  >
>()

// --- What is an error ------------------------------------------------------------------------------------------------

// @ts-expect-error "This event is a request: use `request`"
void browser.trigger(Chat.events.rename, { to: "ann" })
// @ts-expect-error "This event has no response: use `trigger`"
void browser.request(Chat.events.say, said)
// @ts-expect-error data are required
void browser.trigger(Chat.events.say)
// @ts-expect-error data have the Schema of the event
void browser.trigger(Chat.events.say, { text: "hello", at: "today" })
// @ts-expect-error the channel has no such event
void browser.broadcast(News, "sayd", said)
// @ts-expect-error data have the Schema of the event
void browser.broadcast(News, "said", { text: 1, at: new Date(0) })
// @ts-expect-error a channel with parameters needs their values
void browser.subscribe(Room)
// @ts-expect-error the channel has no such event
void room.on("sayd", () => Effect.void)
// @ts-expect-error "There is no such event"
void room.on({ said: () => Effect.void, sayd: () => Effect.void })
// @ts-expect-error "There is no such event"
void browser.on(Talk, { sayd: () => Effect.void })
// @ts-expect-error "There is no such event"
void inbox.on({ sayd: () => Effect.void })
// @ts-expect-error an inbox has no members
void inbox.members
// @ts-expect-error a handler gives an Effect
void room.on("said", () => 1)
// @ts-expect-error a token is text
void Browser.layer({ url: "ws://localhost/chat", token: Effect.succeed(1) })
