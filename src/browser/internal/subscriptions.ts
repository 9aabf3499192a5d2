/**
 * The channels that the user wants. Each converges by itself: one message of it is in flight at a time, and what comes next follows from
 * what is wanted and what the broker has said last. Every wait for the broker is bounded.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import * as Backoff from "./backoff.ts"
import * as Failure from "./failure.ts"
import type { Subscribe } from "./input.ts"
import type { SubscriptionState } from "./output.ts"
import * as Presence from "./presence.ts"
import * as Recovery from "./recovery.ts"
import { emit, type Machine, send, type Subscription, version, wake } from "./state.ts"

/** The channel that is the inbox of the browser's user. */
export const inbox = ":user"

/** Whether a channel needs a user: `private` and `presence` channels and the inbox do. */
export const needsUser = (channel: string): boolean => /^(private-|presence-|:user$)/.test(channel)

/** Wants a channel, once more. */
export const subscribe = (machine: Machine, wanted: Subscribe): void => {
  const { state, subscriptions } = machine
  const known = subscriptions.get(wanted.channel)
  if (known !== undefined && known.count++ > 0) return
  const subscription: Subscription = {
    ...(known ?? idle(wanted.channel)),
    hidden: wanted.hidden,
    data: wanted.data,
    rewind: wanted.rewind,
    // Parts that are on their way go on, and so does what the broker has begun.
    recovery: wanted.since
      ? Recovery.from(wanted.since)
      : known?.phase === "sent" || known?.phase === "on"
      ? known.recovery
      : undefined,
    count: 1,
    failures: 0,
    isRejected: false,
    // With other options than were sent it is left, and subscribed anew.
    isOutdated: known !== undefined && known.phase === "sent" &&
      (known.isOutdated || known.data !== wanted.data || known.hidden !== wanted.hidden)
  }
  subscriptions.set(wanted.channel, subscription)
  setState(
    machine,
    subscription,
    state._tag === "Closed" ? failed(Failure.closed(state), false) : subscribing,
    true
  )
  if (subscription.phase !== "on") converge(machine, subscription)
  else if (wanted.since || wanted.rewind) recover(machine, subscription)
  else {
    setSubscribed(machine, subscription)
    if (subscription.presence) emit(machine, { _tag: "Members", channel: wanted.channel, change: { _tag: "Reset" } })
  }
}

const idle = (channel: string): Subscription => ({
  channel,
  data: undefined,
  phase: "idle",
  by: Infinity,
  count: 0,
  failures: 0,
  isRejected: false,
  isOutdated: false,
  isOffered: false,
  uid: undefined,
  presence: undefined,
  recovery: undefined,
  state: subscribing
})

/** Wants a channel once less. */
export const unsubscribe = (machine: Machine, channel: string): void => {
  const subscription = machine.subscriptions.get(channel)
  if (subscription === undefined || subscription.count === 0 || --subscription.count > 0) return
  setState(machine, subscription, { _tag: "Unsubscribed" })
  converge(machine, subscription)
}

/** Sends for all channels what may be sent now: after connecting and authenticating. */
export const convergeAll = (machine: Machine): void => {
  for (const subscription of machine.subscriptions.values()) converge(machine, subscription)
}

/** The browser has another user than before, of whose inbox nothing was received yet. */
export const forgetInbox = ({ subscriptions }: Machine): void => {
  const subscription = subscriptions.get(inbox)
  if (subscription !== undefined) subscription.recovery = undefined
}

/**
 * The same after authenticating: another token may allow what the last one did not. The broker subscribes the browser to the
 * `offered` channels by itself.
 */
export const convergeAgain = (machine: Machine, offered: unknown): void => {
  for (const subscription of machine.subscriptions.values()) {
    const { channel, count, data, hidden, phase } = subscription
    if (needsUser(channel)) subscription.isRejected = false
    const isAwaited = phase === "idle" && count > 0 && !data && !hidden && !mayHaveMissed(subscription) &&
      Array.isArray(offered) && offered.includes(channel)
    if (isAwaited) {
      subscription.phase = "sent"
      waitForResponse(machine, subscription)
    } else converge(machine, subscription)
  }
}

/** Does what was to be done by now: retries, and gives up waiting. */
export const expire = (machine: Machine): void => {
  for (const subscription of machine.subscriptions.values()) {
    if (subscription.by > machine.now) {
      wake(machine, subscription.by)
      continue
    }
    subscription.by = Infinity
    switch (subscription.phase) {
      case "sent":
        reject(machine, subscription, Failure.make("RequestTimeoutError", "the broker has not responded in time"))
        break
      case "on":
        requestMembers(machine, subscription)
        break
      case "leaving":
        left(machine, subscription)
        break
      case "idle":
        converge(machine, subscription)
    }
  }
}

/** `:subscribed`. */
export const subscribed = (machine: Machine, channel: string, payload: JsonObject): void => {
  // It is no response.
  const isOffered = version(machine) === 1 && payload.id === undefined
  const subscription = machine.subscriptions.get(channel) ?? unwanted(machine, channel, isOffered)
  if (subscription === undefined || subscription.phase === "leaving") return
  if (isOffered) subscription.isOffered = true
  const { count, isOutdated, phase } = subscription
  if (phase === "on") return
  if (isOffered && mayHaveMissed(subscription)) {
    if (phase === "idle") recover(machine, subscription)
    return
  }
  subscription.phase = "on"
  subscription.failures = 0
  subscription.isRejected = false
  subscription.by = Infinity
  machine.mayCallsGoOn = true
  if (isOutdated || (count === 0 && !subscription.isOffered)) return converge(machine, subscription)
  Recovery.begin(machine, subscription, payload)
  if (payload.more === true) return goOn(machine, subscription)
  subscription.uid = typeof payload.uid === "string" ? payload.uid : undefined
  setSubscribed(machine, subscription)
  if (payload.subscribers !== undefined) {
    subscription.presence = Presence.make(version(machine) ?? 0)
    addMembers(machine, subscription, payload)
  }
}

// Without somebody who wants it. A broker that does not cease is not listened to.
const unwanted = (machine: Machine, channel: string, isOffered: boolean): Subscription | undefined => {
  if (typeof channel !== "string" || machine.unwanted++ >= maxUnwanted) return undefined
  if (!isOffered) {
    // Given up here, and not there.
    send(machine, "unsubscribe", JSON.stringify({ channel }))
    return undefined
  }
  const subscription = idle(channel)
  machine.subscriptions.set(channel, subscription)
  return subscription
}

// If the broker subscribes the browser by itself, it does not know where the browser was.
const mayHaveMissed = ({ count, recovery, rewind }: Subscription): boolean =>
  count > 0 && (recovery !== undefined || !!rewind)

// It subscribes by itself, too.
const recover = (machine: Machine, subscription: Subscription): void => {
  subscription.phase = "sent"
  sendOf(machine, subscription, "subscribe")
}

const setSubscribed = (machine: Machine, subscription: Subscription): void => {
  const { uid } = subscription
  const cursor = Recovery.cursorOf(subscription)
  setState(machine, subscription, { _tag: "Subscribed", ...uid !== undefined && { uid }, ...cursor && { cursor } })
}

/** A broadcast on the channel, with its position if it has one. `false` if it is not for the user. */
export const received = (machine: Machine, subscription: Subscription, at: unknown): boolean => {
  // What comes before the broker has responded to a `subscribe` comes again after the response.
  if (subscription.phase !== "on" && at !== undefined && !Recovery.isPart(subscription)) return false
  const isNew = Recovery.receive(machine, subscription, at)
  if (subscription.phase === "sent" && at !== undefined) goOn(machine, subscription)
  return isNew && subscription.count > 0
}

// It has missed more than the broker sends at once: after each part it subscribes again.
const goOn = (machine: Machine, subscription: Subscription): void => {
  subscription.phase = "sent"
  if (Recovery.wantsMore(subscription)) sendOf(machine, subscription, "subscribe")
  else waitForResponse(machine, subscription)
}

/** `:unsubscribed`: it has left, the channel was closed, another token does not allow it, or a backend wanted it. */
export const unsubscribed = (machine: Machine, channel: string, reason: unknown): void => {
  const subscription = machine.subscriptions.get(channel)
  if (subscription === undefined) return
  if (subscription.phase === "on") {
    reject(machine, subscription, reason === "forbidden" ? forbidden : reason === "backend" ? revoked : channelClosed)
  } else if (subscription.phase === "leaving") left(machine, subscription)
}

/** `:error` of a message that names its channel. `false` if it is not about a subscription. */
export const rejected = (machine: Machine, event: unknown, channel: string, failure: Failure.Failure): boolean => {
  const subscription = machine.subscriptions.get(channel)
  if (event === "members" && subscription?.phase === "on") retryLater(machine, subscription)
  else if (event === "subscribe" && subscription?.phase === "sent") reject(machine, subscription, failure)
  else if (event === "unsubscribe" && subscription?.phase === "leaving") left(machine, subscription)
  return event === "subscribe" || event === "unsubscribe"
}

/** The channel whose `subscribe` has waited for longest, to which a broker without versions most likely responds. */
export const oldestSent = ({ subscriptions }: Machine): string | undefined => {
  const sent = [...subscriptions.values()].filter(({ phase }) => phase === "sent")
  return sent.length === 0 ? undefined : sent.reduce((a, b) => b.by < a.by ? b : a).channel
}

/** `:members`, the response to a request that had the cursor as its id. */
export const receiveMembers = (machine: Machine, channel: string, payload: JsonObject): void => {
  const subscription = machine.subscriptions.get(channel)
  const next = subscription?.presence?.next
  if (subscription?.phase === "on" && next !== undefined && payload.id === next) {
    addMembers(machine, subscription, payload)
  }
}

/** A message about a member. */
export const memberChanged = (
  machine: Machine,
  channel: string,
  reduce: Presence.Reduce,
  payload: JsonObject
): void => {
  const { count = 0, presence } = machine.subscriptions.get(channel) ?? {}
  const change = presence && reduce(presence, payload)
  if (change && count > 0) emit(machine, { _tag: "Members", channel, change })
}

/** The connection is lost, or closed. What is wanted stays so, and the members stay until they are known anew. */
export const lose = (machine: Machine, closed?: Failure.Failure): void => {
  for (const subscription of machine.subscriptions.values()) {
    subscription.phase = "idle"
    subscription.failures = 0
    subscription.isRejected = false
    subscription.isOutdated = false
    subscription.recovery = Recovery.interrupted(subscription)
    subscription.isOffered = false
    subscription.by = Infinity
    if (subscription.presence?.next !== undefined) subscription.presence = undefined
    if (subscription.count === 0) machine.subscriptions.delete(subscription.channel)
    else setState(machine, subscription, closed ? failed(closed, false) : subscribing)
  }
}

const converge = (machine: Machine, subscription: Subscription): void => {
  const { channel, count, isOffered, isOutdated, isRejected, phase } = subscription
  if (phase === "on" && ((count === 0 && !isOffered) || isOutdated)) {
    subscription.phase = "leaving"
    subscription.isOutdated = false
    sendOf(machine, subscription, "unsubscribe")
  } else if (phase === "idle" && count === 0) {
    machine.subscriptions.delete(channel)
    machine.mayCallsGoOn = true
  } else if (phase === "idle" && subscription.by === Infinity && !isRejected && version(machine) !== undefined) {
    if (channel === inbox && version(machine) === 0) reject(machine, subscription, noInbox)
    else if (!needsUser(channel) || machine.authentication.isUser) {
      subscription.phase = "sent"
      sendOf(machine, subscription, "subscribe")
      machine.mayCallsGoOn = true
    } else withoutUser(machine, subscription)
  }
}

// It waits for the authentication, unless that has failed.
const withoutUser = (machine: Machine, subscription: Subscription): void => {
  const { authentication: { failure, isRetried, phase }, options } = machine
  if (options.hasToken && phase !== "failed") return
  setState(machine, subscription, failed(options.hasToken && failure || Failure.noToken, isRetried))
  machine.mayCallsGoOn = true
}

// With an id there is a response also if nothing changes.
const sendOf = (machine: Machine, subscription: Subscription, event: "subscribe" | "unsubscribe"): void => {
  const { channel, data, hidden, rewind } = subscription
  const isNew = version(machine) === 1
  const since = Recovery.cursorOf(subscription)
  const head = JSON.stringify({
    channel,
    id: isNew ? 0 : undefined,
    ...event === "subscribe" &&
      { hidden: hidden || undefined, ...isNew && { since, rewind: since ? undefined : rewind } }
  })
  send(machine, event, event === "subscribe" && data ? `${head.slice(0, -1)},"data":${data}}` : head)
  waitForResponse(machine, subscription)
}

const waitForResponse = (machine: Machine, subscription: Subscription): void => {
  subscription.by = machine.now + machine.options.connectTimeout
  wake(machine, subscription.by)
}

const reject = (machine: Machine, subscription: Subscription, failure: Failure.Failure): void => {
  subscription.phase = "idle"
  subscription.isOutdated = false
  subscription.isOffered = false
  subscription.isRejected = isPermanent(failure)
  subscription.by = Infinity
  if (subscription.count > 0) {
    setState(machine, subscription, failed(failure, !subscription.isRejected))
    if (subscription.presence) {
      subscription.presence = undefined
      emit(machine, { _tag: "Members", channel: subscription.channel, change: { _tag: "Reset" } })
    }
    if (!subscription.isRejected) retryLater(machine, subscription)
  }
  converge(machine, subscription)
  machine.mayCallsGoOn = true
}

const retryLater = (machine: Machine, subscription: Subscription): void => {
  subscription.by = machine.now + Backoff.delay(machine.options, subscription.failures++, machine.random())
  wake(machine, subscription.by)
}

const left = (machine: Machine, subscription: Subscription): void => {
  subscription.phase = "idle"
  subscription.isOffered = false
  subscription.by = Infinity
  subscription.presence = undefined
  converge(machine, subscription)
}

const addMembers = (machine: Machine, subscription: Subscription, payload: JsonObject): void => {
  const { channel, count, presence } = subscription
  Presence.append(presence!, payload.subscribers, payload.next)
  if (presence!.next !== undefined) requestMembers(machine, subscription)
  else {
    subscription.by = Infinity
    if (count > 0) emit(machine, { _tag: "Members", channel, change: { _tag: "Reset" } })
  }
}

const requestMembers = (machine: Machine, subscription: Subscription): void => {
  const after = subscription.presence?.next
  if (after === undefined) return
  send(machine, "members", JSON.stringify({ channel: subscription.channel, after, id: after }))
  waitForResponse(machine, subscription)
}

/** How many subscriptions that nobody wants are ended on a connection. */
const maxUnwanted = 1000

// On this connection; with another token it may succeed.
const isPermanent = ({ _tag, code = 0 }: Failure.Failure): boolean =>
  _tag === "UnsupportedError" || [400, 402, 403, 451].includes(code)

const noInbox = Failure.make("UnsupportedError", "the broker is too old for inboxes")

const forbidden = Failure.make("ForbiddenError", "the user's token no longer allows the channel", 403)

const revoked = Failure.make("ForbiddenError", "a backend has unsubscribed this browser", 403)

const channelClosed = Failure.make("ChannelNotFoundError", "the channel was closed")

const subscribing: SubscriptionState = { _tag: "Subscribing" }

const failed = (failure: Failure.Failure, isRetried: boolean): SubscriptionState => ({
  _tag: "Failed",
  failure,
  isRetried
})

const setState = (machine: Machine, subscription: Subscription, state: SubscriptionState, isNew = false): void => {
  const { channel, count, state: before } = subscription
  subscription.state = state
  if (count === 0 && state._tag !== "Unsubscribed") return
  if (isNew || JSON.stringify(before) !== JSON.stringify(state)) {
    emit(machine, { _tag: "Subscription", channel, state })
  }
}
