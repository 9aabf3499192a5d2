/**
 * The channels of one vhost, their subscribers, and broadcasts to them.
 *
 * Each change is one step of the vhost's `Log`: a channel is never seen half changed, and a broadcast reaches exactly those who
 * are subscribed at its position, each once, in the order of the broadcasts. Delivery is to outbound queues and never waits.
 * Only `leave` may take several steps, one for each channel.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constFalse } from "effect/Function"
import type * as Scope from "effect/Scope"
import * as BrokerMessage from "../../protocol/BrokerMessage.ts"
import type { Id } from "../../protocol/BrowserMessage.ts"
import type * as ChannelName from "../../protocol/ChannelName.ts"
import * as JsonText from "../../protocol/JsonText.ts"
import { ChannelNotFoundError, type InternalError, NotSubscribedError } from "../../protocol/KosmonautError.ts"
import * as EventLoop from "../../transport/EventLoop.ts"
import type { Browser, SubscribeOptions, Subscription } from "../domain/Browser.ts"
import type { Part } from "../domain/Listing.ts"
import type { Permission } from "../domain/Permission.ts"
import * as BrowserSubscriptions from "./internal/browserSubscriptions.ts"
import { listOf } from "./internal/changes.ts"
import * as Channel from "./internal/channel.ts"
import type { Tap } from "./internal/channel.ts"
import * as Departure from "./internal/departure.ts"
import * as History from "./internal/history.ts"
import * as Recovery from "./internal/recovery.ts"
import * as Rules from "./internal/rules.ts"
import * as VhostState from "./internal/vhostState.ts"
import type { HistoryPart, Intent, Log, Rejections } from "./Log.ts"

export type { Listed, Part } from "../domain/Listing.ts"
export type { Tap } from "./internal/channel.ts"

/**
 * An open channel, as an administrator sees it.
 *
 * @since 0.1.0
 */
export interface ChannelInfo {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many browsers are subscribed to it, hidden ones too. */
  readonly subscribers: number
}

/**
 * A subscriber in a list.
 *
 * @since 0.1.0
 */
export interface Subscriber extends Subscription {
  /** Its connection has ended, and it may come back. */
  readonly isAway?: boolean | undefined
}

/**
 * Who sends a broadcast, and who does not receive it.
 *
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** The browser that it comes from, absent for a backend; that browser receives it, too. */
  readonly from?: Browser | undefined
  /** The sid of a browser that does not receive it. */
  readonly exceptSid?: string | undefined
}

/**
 * The channels of one vhost.
 *
 * @since 0.1.0
 */
export interface Channels {
  /** Opens a channel, and keeps one open that was opened on demand; `false` says that a backend had opened it already. */
  readonly open: (name: string) => Effect.Effect<boolean, Rejections["OpenChannel"]>
  /** Closes a channel; its subscribers receive `:unsubscribed`. */
  readonly close: (name: string) => Effect.Effect<void, Rejections["CloseChannel"]>
  /** The open channels. Fails only if several brokers share them, and their log cannot be reached; so do other lists. */
  readonly list: Effect.Effect<ReadonlyArray<ChannelInfo>, InternalError>
  /** An open channel. */
  readonly describe: (name: string) => Effect.Effect<ChannelInfo, FindError>
  /**
   * A part of the open channels whose name begins with `prefix`, after a cursor, in the order of their opening. A part has
   * at most 1000 channels and looks at 10 000 names, so that it may be empty and have a `next`.
   */
  readonly listAfter: (prefix: string, cursor: number) => Effect.Effect<Part<ChannelInfo>, InternalError>
  /**
   * A part of the visible subscribers, at most 1000, after a cursor, in the order of their subscriptions. Members whose
   * connection has ended are among them while they may come back.
   */
  readonly subscribersAfter: (name: string, cursor: number) => Effect.Effect<Part<Subscriber>, FindError>
  /**
   * Delivers an event to every subscriber. Data may be the text of an object, which is only read if there is a subscriber.
   * Fails with 400 if the message would be more than 256 bytes larger than `maxMessageSize`.
   */
  readonly broadcast: (
    name: string,
    event: string,
    data: JsonText.Input,
    options?: BroadcastOptions
  ) => Effect.Effect<void, BroadcastError>
  /** The same, committed when it is called, see `Log.commit`. */
  readonly broadcastUnsafe: (
    broadcast: Intent<"Broadcast">
  ) => Effect.Effect<unknown, BroadcastError>
  /**
   * Subscribes a browser, and notifies the members and the backend. For a browser that is already subscribed nothing changes;
   * it gets a response only if its message had an id. A browser that has missed more than it can receive at once gets the first
   * part of that, and is not subscribed yet.
   */
  readonly subscribe: (
    name: string,
    browser: Browser,
    options: SubscribeOptions
  ) => Effect.Effect<void, Rejections["Join"]>
  /** Unsubscribes a browser; on a presence channel the others receive `farewell` with `:memberLeft`. */
  readonly unsubscribe: (
    name: string,
    browser: Browser,
    farewell: JsonText.Input,
    id?: Id
  ) => Effect.Effect<void, Rejections["Leave"]>
  /** Changes the data of a browser's subscription, and notifies the members. Nothing changes if they are the same. */
  readonly update: (name: string, browser: Browser, data: JsonText.Input) => Effect.Effect<void, Rejections["Update"]>
  /** Sends a subscriber the members of a presence channel after a cursor, as many as one message may have. */
  readonly members: (
    name: string,
    browser: Browser,
    cursor: number,
    id?: Id
  ) => Effect.Effect<void, FindError | NotSubscribedError>
  /** The broadcasts that a channel with history retains, a part of them, see `Log.history`. */
  readonly history: (
    ...args: Parameters<Log["history"]>
  ) => Effect.Effect<HistoryPart, FindError>
  /**
   * Watches the broadcasts on a channel until the scope ends, without being a subscriber. Neither function of a tap may throw, or
   * change the channel.
   */
  readonly tap: (name: string, tap: Tap) => Effect.Effect<void, FindError, Scope.Scope>
  /**
   * Sends something that changes nothing on the way of all changes: through the log, to the other nodes if there are some, and
   * back. Ends when it has arrived here; not bounded in time. Fails if the log cannot be reached.
   */
  readonly probe: Effect.Effect<void, InternalError>
  /** Whether broadcasts to a channel are persisted, see `Log.isPersisted`. */
  readonly isPersisted: Log["isPersisted"]
  /** Ends when all broadcasts so far are persisted, see `Log.persisted`. */
  readonly persisted: Log["persisted"]
  /** Whether a browser is subscribed. */
  readonly has: (name: string, browser: Browser) => Effect.Effect<boolean, FindError>
  /**
   * Unsubscribes a browser from all its channels, without a message to it. After its share of the turn it yields before
   * the next channel; if it is interrupted there, the browser stays subscribed to the rest.
   */
  readonly leave: (browser: Browser) => Effect.Effect<void>
  /**
   * A browser has another permission of the same user: unsubscribes it from the channels that this does not allow, and tells it. On
   * the others the members hear of it if the permission says something else of the user. Yields as `leave`.
   */
  readonly renew: (browser: Browser, permission: Permission) => Effect.Effect<void>
  /** The rule of a channel, or the one that it would have if it were open. */
  readonly ruleOf: (name: string) => Rules.Rule
  /**
   * Sets what channels are like. Those that are open have other rules, too, and keep their subscribers. Their patterns are matched in
   * turns; then the rules change in one step.
   */
  readonly setRules: (rules: Rules.Rules) => Effect.Effect<void, Rejections["SetRules"]>
  /** Counters since the start, and current numbers. */
  readonly counters: ChannelCounters
}

/**
 * Why a channel may not be found: it is not open, or the log that several nodes share cannot be reached, so that this is not known.
 *
 * @since 0.1.0
 */
export type FindError = ChannelNotFoundError | InternalError

/**
 * Why a broadcast was rejected.
 *
 * @since 0.1.0
 */
export type BroadcastError = Rejections["Broadcast"]

/**
 * Counters of the channels of a vhost.
 *
 * @since 0.1.0
 */
export interface ChannelCounters {
  /** Channels that are open now. */
  readonly channels: number
  /** Subscriptions now. */
  readonly subscriptions: number
  /** Broadcasts that were accepted. */
  readonly broadcasts: number
  /** Messages of broadcasts that were put into outbound queues, one for each subscriber. */
  readonly deliveries: number
}

/**
 * Makes the channels of a vhost. They read its state, and change it through its log.
 *
 * @since 0.1.0
 */
export const make = (state: VhostState.VhostState, log: Log): Channels => {
  const get = (name: string) => VhostState.channelOf(state, name)
  const { find, findNow } = makeFind(get, log)
  const broadcastUnsafe: Channels["broadcastUnsafe"] = (broadcast) => log.commit(broadcast)

  return {
    open: (channel) => Effect.suspend(() => log.commit({ _tag: "OpenChannel", channel })),
    close: (channel) => Effect.asVoid(Effect.suspend(() => log.commit({ _tag: "CloseChannel", channel }))),

    ...makeLists(state, log),
    describe: (name) => Effect.map(findNow(name), infoOf),
    subscribersAfter: (name, cursor) =>
      Effect.map(findNow(name), ({ subscriptions, visible }) =>
        Channel.partAfter(
          visible,
          cursor,
          (subscription) => subscriptions.has(subscription.browser) ? subscription : { ...subscription, isAway: true }
        )),

    broadcast: (channel, event, data, options) =>
      Effect.asVoid(
        Effect.suspend(() => broadcastUnsafe({ ...options, _tag: "Broadcast", channel, event, data }))
      ),
    broadcastUnsafe,

    subscribe: (channel, browser, options) => subscribe(state, log, { ...options, _tag: "Join", channel, browser }),
    unsubscribe: (channel, browser, farewell, id) =>
      Effect.asVoid(
        Effect.suspend(() => log.commit({ _tag: "Leave", channel, browser, farewell, request: { id } }))
      ),
    update: (channel, browser, data) =>
      Effect.asVoid(Effect.suspend(() => log.commit({ _tag: "Update", channel, browser, data }))),
    members: (name, browser, cursor, id) =>
      Effect.flatMap(find(name), (channel) => {
        if (!channel.subscriptions.has(browser)) return Exit.fail(new NotSubscribedError({ channel: name }))
        const list = VhostState.membersAfter(state, channel, cursor, {
          least: 1,
          except: undefined,
          version: browser.version
        })
        browser.sendUnsafe(BrokerMessage.members(name, list, id))
        return Exit.void
      }),
    tap: (name, tap) => watch(find(name), tap),
    has: (name, browser) => Effect.map(find(name), (channel) => channel.subscriptions.has(browser)),
    history: (channel, options) => Effect.flatMap(findNow(channel), () => log.history(channel, options)),
    // No browser has an empty sid.
    probe: Effect.asVoid(Effect.suspend(() => log.commit({ _tag: "Disconnect", by: "sid", who: "" }))),
    isPersisted: log.isPersisted,
    persisted: log.persisted,
    leave: (browser) => Departure.leave(state, log, browser, false),
    renew: (browser, permission) => renew(state, log, browser, permission),
    ruleOf: (name) => get(name)?.rule ?? Rules.ruleOf(state.rules, name),
    setRules: (rules) => setRules(state, log, rules),
    counters: state.counters
  }
}

const makeLists = (state: VhostState.VhostState, { barrier }: Log): Pick<Channels, "list" | "listAfter"> => ({
  list: Effect.map(barrier, () => {
    History.expire(state.histories)
    return Array.from(state.channels.values()).flatMap(({ value }) => value === undefined ? [] : [infoOf(value)])
  }),
  listAfter: (prefix, cursor) =>
    Effect.map(barrier, () =>
      Channel.partAfter(
        state.ordered,
        cursor,
        (channel) => channel.name.startsWith(prefix) ? infoOf(channel) : undefined
      ))
})

const makeFind = (get: (name: string) => Channel.Channel | undefined, log: Log) => {
  const found = (name: string): Exit.Exit<Channel.Channel, ChannelNotFoundError> => {
    const channel = get(name)
    return channel === undefined ? Exit.fail(new ChannelNotFoundError({ channel: name })) : Exit.succeed(channel)
  }
  /** A channel with all that was committed anywhere before. */
  const findNow = (name: string): Effect.Effect<Channel.Channel, FindError> =>
    Effect.andThen(log.barrier, Effect.suspend(() => found(name)))
  /** A channel. This broker may not have applied yet that it was opened. */
  const find = (name: string): Effect.Effect<Channel.Channel, FindError> =>
    Effect.suspend(() => get(name) === undefined ? findNow(name) : found(name))
  return { find, findNow }
}

const watch = <E>(channel: Effect.Effect<Channel.Channel, E>, tap: Tap): Effect.Effect<void, E, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(channel, (channel) => Channel.tap(channel, tap)),
    (remove) => Effect.sync(remove)
  )

const subscribe = (
  state: VhostState.VhostState,
  log: Log,
  intent: Intent<"Join">
): Effect.Effect<void, Rejections["Join"]> =>
  Effect.suspend(() => {
    // What is too old no longer keeps a channel open either.
    History.expire(state.histories)
    return Effect.flatMap(
      log.commit(intent),
      (isNew) => isNew || isAnswered(state, intent) ? Exit.void : subscribe(state, log, intent)
    )
  })

// A browser that is subscribed gets the list of the others, and what it has missed; of much a part. `false`: it is neither,
// since the channel has changed meanwhile.
const isAnswered = (
  state: VhostState.VhostState,
  { browser, channel: name, id, permission, rewind, since }: Intent<"Join">
): boolean => {
  const channel = VhostState.channelFor(state, name, { uid: permission?.uid })
  if (channel === undefined) return false
  const subscription = channel.subscriptions.get(browser)?.value
  if (subscription !== undefined && id === undefined) return true
  // To one that is subscribed, too: maybe it has missed something before the broker has subscribed it.
  const { messages, recovery } = Recovery.partOf(state, channel, browser, { rewind, since })
  const isPart = recovery?.more === true
  if (subscription === undefined && !isPart) return false
  const list = isPart ? undefined : listOf(state, channel, browser)
  browser.sendUnsafe(BrokerMessage.subscribed(name, isPart ? undefined : subscription?.uid, list, id, recovery))
  Channel.deliverMissed(browser, messages)
  return true
}

const restrict = (state: VhostState.VhostState, log: Log, browser: Browser, { allows }: Permission) =>
  Departure.leave(state, log, browser, false, {
    reason: "forbidden",
    from: ({ kind, name, subscriptions }) =>
      kind !== "normal" && !allows(name) && subscriptions.get(browser)?.value?.byBackend !== true
  })

const renew = Effect.fnUntraced(function*(
  state: VhostState.VhostState,
  log: Log,
  browser: Browser,
  permission: Permission
) {
  yield* restrict(state, log, browser, permission)
  let work = 0
  for (const { name, subscriptions } of [...BrowserSubscriptions.channelsOf(state.subscriptions, browser)]) {
    if (work > Departure.turn) {
      work = 0
      yield* Effect.yieldNow
    }
    // It is rejected if the channel was left meanwhile.
    const hasChanged = yield* Effect.orElseSucceed(
      log.commit({ _tag: "Update", channel: name, browser, permission }),
      constFalse
    )
    if (hasChanged) work += subscriptions.size
  }
})

// Matching patterns is what takes long, one of a thousand instructions for the first time tens of milliseconds: it comes before the step in
// which the rules change, in turns.
const setRules = Effect.fnUntraced(
  function*(state: VhostState.VhostState, log: Log, rules: Rules.Rules) {
    for (const _ of Rules.prepare(rules, [...state.channels.keys()])) {
      EventLoop.begin()
      if (EventLoop.isOver()) yield* EventLoop.next
    }
    yield* log.commit({ _tag: "SetRules", rules })
  },
  (effect, _state, _log, rules) => Effect.ensuring(effect, Effect.sync(() => rules.learned.clear()))
)

const infoOf = ({ kind, name, subscriptions }: Channel.Channel): ChannelInfo => ({
  name,
  kind,
  subscribers: subscriptions.size
})
