/**
 * Executes the messages of a browser.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type { FromBrowser, Id } from "../../../protocol/BrowserMessage.ts"
import { empty, type ObjectText } from "../../../protocol/JsonText.ts"
import {
  BadRequestError,
  ForbiddenError,
  InternalError,
  NotSubscribedError,
  type StatusError,
  TooManyRequestsError,
  type UnauthorizedError
} from "../../../protocol/KosmonautError.ts"
import * as Trace from "../../../protocol/Trace.ts"
import { encodeOrigin } from "../../../protocol/Trigger.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Permission } from "../../domain/Permission.ts"
import type { Caller } from "../../engine/Calls.ts"
import { notPersisted } from "../../engine/Journal.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import * as BrowserCalls from "./browserCalls.ts"
import * as BrowserRates from "./browserRates.ts"
import * as TokenBucket from "./tokenBucket.ts"

/** A session's state. */
export interface State {
  readonly vhost: Vhost
  readonly browser: Browser
  permission: Permission | undefined
  /** The origin of its events, as one text that all its queued events share. */
  origin: string
  /** What the browser calls its client, if it has authenticated with that. */
  client: string | undefined
  /** Its requests without a response, once there was one. */
  caller: Caller | undefined
  /** How many more invalid single access tokens, and stateless ones, it may send; `undefined` before the first token. */
  guesses: TokenBucket.Bucket | undefined
  /** Nothing is executed any more. */
  hasEnded: boolean
}

/** Executes a message; `false` if the browser wants to be closed. */
export const execute = (state: State, message: FromBrowser): Effect.Effect<boolean, StatusError> => {
  const { browser, vhost: { channels } } = state
  switch (message._tag) {
    case "Authenticate":
    case "AuthenticateByJwt":
      return Effect.as(authenticate(state, message), true)
    case "Subscribe":
      return Effect.as(subscribe(state, message), true)
    case "Unsubscribe":
      return Effect.as(channels.unsubscribe(message.channel, browser, message.data, message.id), true)
    case "Update":
      return update(state, message)
    case "Members":
      return Effect.as(channels.members(message.channel, browser, message.after, message.id), true)
    case "Broadcast":
      return Effect.andThen(
        broadcast(state, message),
        message.trigger === undefined && !channels.isPersisted(message.channel)
          ? confirmNow(state, message.id)
          : confirm(state, "broadcast", message.id)
      )
    case "Trigger":
      return Effect.andThen(triggerOnce(state, message), confirm(state, "trigger", message.id))
    case "Request":
      return Effect.as(request(state, message), true)
    case "Cancel":
      return browser.version === 0 ? needsVersion : Effect.sync(() => {
        BrowserCalls.cancel(state, message.id)
        return true
      })
    case "Ping":
      return send(state, BrokerMessage.pong(message.id))
    case "Close":
      return Effect.as(send(state, BrokerMessage.closed(browser.sid)), false)
  }
}

// A browser may disconnect before its subscription is applied.
const subscribe = (state: State, message: Omit<Message<"Subscribe">, "_tag">) => {
  const { browser, permission, vhost: { channels } } = state
  return Effect.uninterruptible(Effect.andThen(
    channels.subscribe(message.channel, browser, { ...message, permission }),
    Effect.suspend(() => state.hasEnded ? channels.leave(browser) : Effect.void)
  ))
}

const update = (state: State, { channel, data, id }: Message<"Update">): Effect.Effect<boolean, StatusError> => {
  const { browser, vhost: { channels } } = state
  if (browser.version === 0) return needsVersion
  const updated = channels.update(channel, browser, data)
  return id === undefined
    ? Effect.as(updated, true)
    : Effect.andThen(updated, send(state, BrokerMessage.updated(channel, id)))
}

const send = ({ browser }: State, message: string): Effect.Effect<boolean> =>
  Effect.sync(() => {
    browser.sendUnsafe(message)
    return true
  })

const authenticate = Effect.fnUntraced(function*(state: State, message: Authentication) {
  const now = yield* monotonicMillis
  const guesses = state.guesses ??= TokenBucket.make(BrowserRates.guesses, now)
  if (TokenBucket.available(guesses, BrowserRates.guesses, now) < 1) {
    return yield* new TooManyRequestsError({ detail: "too many tokens were wrong or signed; wait a second" })
  }
  const count = () => TokenBucket.take(guesses, BrowserRates.guesses, now, 1)
  yield* identify(state, yield* permissionOf(state, message, count), message)
})

// To verify a signature costs more than to look up a token: each one counts, also one that is right.
const permissionOf = (
  { vhost: { accessTokens } }: State,
  message: Authentication,
  count: () => void
): Effect.Effect<Permission, BadRequestError | UnauthorizedError | InternalError> => {
  if (message._tag === "Authenticate") {
    return Effect.tapErrorTag(accessTokens.redeem(message.token), "UnauthorizedError", () => Effect.sync(count))
  }
  count()
  return accessTokens.verify(message.jwt)
}

// As in the original, only a second valid token ends the subscriptions. In version 1 that of the same user ends only those that
// it does not allow. The browser may have disconnected meanwhile.
const identify = (state: State, permission: Permission, message: Authentication): Effect.Effect<void> => {
  const { browser, permission: before, vhost: { browsers, channels } } = state
  const identified = Effect.suspend(() => {
    if (state.hasEnded) return Effect.void
    const applied = browsers.identify(browser, permission.uid, permission.info)
    // Only now, so that a backend that hears of it from the browser finds it by its user.
    return Effect.andThen(applied, acceptNow(state, permission, message))
  })
  const changed = before === undefined
    ? identified
    : browser.version === 1 && before.uid === permission.uid
    ? Effect.andThen(identified, channels.renew(browser, permission))
    : Effect.andThen(leaveAsUser(state), identified)
  return Effect.uninterruptible(Effect.andThen(changed, subscribeGranted(state, permission)))
}

// Twice: a backend may subscribe it while it leaves, and not once it has no user. Not earlier, since its inbox is that of its user.
const leaveAsUser = ({ browser, vhost: { browsers, channels } }: State): Effect.Effect<void> => {
  const leave = channels.leave(browser)
  return Effect.andThen(Effect.andThen(leave, Effect.suspend(() => browsers.forgetUser(browser))), leave)
}

// A browser of version 0 does not expect to be subscribed by the broker.
const subscribeGranted = (state: State, { channels = [] }: Permission): Effect.Effect<void> =>
  state.browser.version === 0 ? Effect.void : Effect.forEach(channels, (channel, index) =>
    Effect.suspend(() => {
      if (state.hasEnded) return Effect.void
      const subscribed = subscribe(state, { channel, hidden: false, data: empty })
      const reported = Effect.catch(subscribed, (error) =>
        send(state, BrokerMessage.error(error, { event: "subscribe", channel })))
      return index % turn === turn - 1 ? Effect.andThen(reported, Effect.yieldNow) : Effect.asVoid(reported)
    }), { discard: true })

const acceptNow = (state: State, permission: Permission, message: Authentication): Effect.Effect<void> =>
  Clock.clockWith((clock) =>
    Effect.sync(() => {
      if (!state.hasEnded) acceptUnsafe(state, permission, message, monotonicOf(clock))
    })
  )

const acceptUnsafe = (
  state: State,
  permission: Permission,
  { client, id }: Authentication,
  now: number
): void => {
  const { browser, vhost: { authentications } } = state
  const { channels, expiresAt, uid } = permission
  // Responses are for the user who sent the request.
  if (state.permission !== undefined && state.permission.uid !== uid) BrowserCalls.end(state)
  state.permission = permission
  state.client = browser.version === 1 ? client : undefined
  state.origin = encodeOrigin({ sid: browser.sid, uid })
  authentications.startUnsafe(browser, expiresAt)
  const expiresIn = expiresAt === undefined ? undefined : Math.max(1, Math.floor(expiresAt - now))
  browser.sendUnsafe(BrokerMessage.authenticated(browser.version === 1 ? { uid, expiresIn, channels } : undefined, id))
}

const triggerOnce = (
  state: State,
  message: Message<"Trigger">
): Effect.Effect<void, BadRequestError | ForbiddenError | InternalError> => {
  const { data, dedupeKey, event, traceparent } = message
  const { browser: { version }, permission } = state
  const isOne = version === 1 && permission !== undefined
  const enqueue = isOne
    ? trigger(state, event, data, {
      traceparent,
      dedupeKey: dedupeKey === undefined ? undefined : keyOfUser(permission.uid, dedupeKey)
    })
    : trigger(state, event, data)
  return state.permission === undefined ? enqueue : BrowserCalls.once(state, state.permission.uid, message, enqueue)
}

// Nobody else can keep the events of a user from being queued: backends have no such keys.
const keyOfUser = (uid: string, dedupeKey: string): string => `:browser ${JSON.stringify([uid, dedupeKey])}`

const request = (state: State, message: Message<"Request">): Effect.Effect<void, StatusError> => {
  const { browser: { sid, version }, permission } = state
  if (version === 0) return needsVersion
  if (permission === undefined) return Effect.fail(unauthenticated)
  const { uid } = permission
  const origin = (traceparent: string | undefined) =>
    traceparent === undefined ? state.origin : encodeOrigin({ sid, uid, traceparent })
  return BrowserCalls.request(state, { uid, origin }, message)
}

const needsVersion = Effect.fail(
  new BadRequestError({ detail: "this message needs version 1 of the protocol: connect with ?v=1" })
)

const unauthenticated = new ForbiddenError({
  detail: "only an authenticated browser triggers events; send auth first"
})

const trigger = (
  { origin, browser, permission, vhost }: State,
  event: string,
  data: ObjectText,
  { channel, dedupeKey, traceparent: given }: {
    readonly channel?: string
    readonly dedupeKey?: string | undefined
    readonly traceparent?: string | undefined
  } = plain
): Effect.Effect<void, ForbiddenError | InternalError> => {
  if (permission === undefined) {
    return Effect.fail(unauthenticated)
  }
  const { uid } = permission
  return traced(event, vhost.path, given, (traceparent) =>
    vhost.lobby.enqueue(
      BrokerMessage.triggered(event, data, browser.sid, channel),
      channel === undefined && traceparent === undefined
        ? origin
        : encodeOrigin({ sid: browser.sid, uid, channel, traceparent }),
      dedupeKey === undefined ? undefined : { dedupeKey }
    ))
}

const plain = {}

// The event is enqueued first: if that fails, the broadcast is not sent either.
const broadcast = Effect.fnUntraced(function*(state: State, message: Message<"Broadcast">) {
  const { browser, vhost: { channels } } = state
  const { channel, data, event } = message
  const subscribed = yield* channels.has(channel, browser)
  if (!subscribed) return yield* new NotSubscribedError({ channel })
  if (!channels.ruleOf(channel).browsersBroadcast) return yield* onlyBackends
  if (message.trigger !== undefined) yield* trigger(state, message.trigger, data, { channel })
  yield* channels.broadcast(channel, event, data, { from: browser })
})

const onlyBackends = new ForbiddenError({
  detail: "browsers may not broadcast here: trigger an event and let a backend broadcast, " +
    "or start the broker with browsers.broadcast (--browsers-broadcast), or give the channel a rule with browsersBroadcast"
})

// The browser does not wait for this; the id in the response names the message that was persisted.
const confirm = (
  { browser, vhost: { journal } }: State,
  event: "broadcast" | "trigger",
  id: Id | undefined
): Effect.Effect<boolean> =>
  id === undefined ? staysOpen : Effect.sync(() => {
    const rejected = () => BrokerMessage.error(new InternalError({ detail: notPersisted }), { event, id })
    journal.whenPersistedUnsafe((persisted) => browser.sendUnsafe(persisted ? BrokerMessage.confirmed(id) : rejected()))
    return true
  })

// Nothing of it is persisted.
const confirmNow = (state: State, id: Id | undefined): Effect.Effect<boolean> =>
  id === undefined ? staysOpen : send(state, BrokerMessage.confirmed(id))

const staysOpen = Effect.succeed(true)

const traced = <A, E>(
  event: string,
  vhost: string,
  given: string | undefined,
  use: (traceparent: string | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const { options, traceparent } = Trace.fromBrowser(given)
  return Trace.span("Broker.trigger", () => ({
    ...options,
    kind: "producer",
    attributes: {
      "messaging.system": "kosmonaut",
      "messaging.operation.type": "send",
      "messaging.operation.name": "trigger",
      "kosmonaut.vhost": vhost,
      "kosmonaut.event": event
    }
  }), (span) => use(span === undefined ? traceparent : Trace.toTraceparent(span)))
}

/** Milliseconds of a clock that never goes back. */
export const monotonicOf = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

const monotonicMillis = Clock.clockWith((clock) => Effect.sync(() => monotonicOf(clock)))

/** After how many subscriptions of a token to yield. */
const turn = 16

type Authentication = Message<"Authenticate" | "AuthenticateByJwt">

type Message<Tag extends FromBrowser["_tag"]> = Extract<FromBrowser, { readonly _tag: Tag }>
