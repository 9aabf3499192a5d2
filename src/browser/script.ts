/**
 * The browser's side without Effect, for any page: one connection to a broker that is kept up. It has no dependency, and at
 * most 10 KB compressed. The package exports it as `kosmonaut/script`; as a plain script it is the global `Kosmonaut`.
 *
 * It reconnects by itself, authenticates and subscribes again, and sends again what can be sent twice. Types are those of the
 * event groups that backends use, in the form that their data have as JSON. Events have their names on the wire, `chat/say`.
 *
 * **Example** (A chat)
 *
 * ```ts
 * import type { Event, EventGroup } from "kosmonaut/events"
 * import { Schema } from "effect"
 * import * as Kosmonaut from "kosmonaut/script"
 *
 * // import type { Chat, Talk } from "./events.ts"
 * declare const Chat: EventGroup.EventGroup<"chat", {
 *   say: Event.Event<"chat/say", Schema.Struct<{ text: typeof Schema.String }>>
 * }>
 *
 * const connection = Kosmonaut.connect<typeof Chat>("wss://example.com/chat", {
 *   token: () => fetch("/token").then((response) => response.text())
 * })
 * const room = connection.subscribe("presence-room-42")
 * room.on("talk/said", (data) => data.channel)
 * connection.trigger("chat/say", { text: "hello" }).catch((error) => error._tag)
 * ```
 *
 * @since 0.1.0
 */

import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type * as EventGroup from "../events/EventGroup.ts"
import { TransientMap } from "../protocol/TransientMap.ts"
import type { Data, Named, Received, Requestable, Response, Triggerable } from "./internal/eventJson.ts"
import type { Failure } from "./internal/failure.ts"
import type { Call, Input, Subscribe } from "./internal/input.ts"
import * as Machine from "./internal/machine.ts"
import type { ConnectionState, Cursor, GapReason, Output, SubscriptionState } from "./internal/output.ts"
import type { Member } from "./internal/presence.ts"
import type { CallOptions, Options, RequestOptions, TriggerOptions } from "./internal/scriptOptions.ts"

export type { Data, Json, Named, Received, Response } from "./internal/eventJson.ts"
export type { Failure, FailureTag } from "./internal/failure.ts"
export type { ConnectionState, Cursor, GapReason, SubscriptionState } from "./internal/output.ts"
export type { Member, MemberConnection } from "./internal/presence.ts"
export type { CallOptions, Options, RequestOptions, Token, TriggerOptions } from "./internal/scriptOptions.ts"

/**
 * What the promises reject with: an `Error` with a `_tag`, a message for a person and the status code, if that is the reason.
 * A request that fails as it declares has the tag `DeclaredError` and the `error`; a call whose signal was aborted has the
 * tag `CancelledError`.
 *
 * @since 0.1.0
 */
export type CallError = Error & {
  readonly _tag: Failure["_tag"] | "DeclaredError" | "CancelledError"
  readonly code?: number
  readonly error?: unknown
}

/**
 * Ends what was begun by the function that gave it.
 *
 * @since 0.1.0
 */
export type Stop = () => void

/**
 * A channel that is subscribed to, over reconnecting.
 *
 * @since 0.1.0
 */
export interface Subscription<E extends Event.Any> {
  readonly channel: string
  /** Its state now. */
  readonly state: SubscriptionState
  /** The users on a presence channel, in the order in which they joined. The same array until they change. */
  readonly members: ReadonlyArray<Member>
  /** Calls the handler with each event of this name, and with where the subscription then is on a channel with history. */
  readonly on: <const Name extends E["_tag"]>(
    event: Name,
    handler: (data: Received<Data<Named<E, Name>>>, cursor: Cursor | undefined) => void
  ) => Stop
  /** Calls the handler with the state now, and after each change. */
  readonly onState: (handler: (state: SubscriptionState) => void) => Stop
  /**
   * Calls the handler when broadcasts of a channel with history were missed and cannot be recovered. On such channels what was
   * missed arrives otherwise, in order and once.
   */
  readonly onGap: (handler: (reason: GapReason) => void) => Stop
  /** Calls the handler with the members now, and after each change. */
  readonly onMembers: (handler: (members: ReadonlyArray<Member>) => void) => Stop
  /** Broadcasts to the channel, if the broker allows that to browsers. Fulfilled once the broker has accepted it. */
  readonly broadcast: <const Name extends E["_tag"]>(
    event: Name,
    data: Data<Named<E, Name>>,
    options?: CallOptions
  ) => Promise<void>
  /**
   * Replaces the `data` that others on a presence channel see of this browser, also after a reconnect. Fulfilled once the broker
   * has accepted it. If the connection is lost meanwhile it is sent again.
   */
  readonly update: (data: object, options?: CallOptions) => Promise<void>
  /** Leaves the channel, if no other subscription of it is left. */
  readonly unsubscribe: Stop
}

/**
 * The inbox of the browser's user, over reconnecting.
 *
 * @since 0.1.0
 */
export interface Inbox<E extends Event.Any>
  extends Pick<Subscription<E>, "state" | "onState" | "onGap" | "unsubscribe">
{
  /** Calls the handler with each event of this name, and with where the inbox then is if inboxes have a history. */
  readonly on: <const Name extends E["_tag"]>(
    event: Name,
    handler: (data: Data<Named<E, Name>>, cursor: Cursor | undefined) => void
  ) => Stop
}

/**
 * A connection to a vhost of a broker, which is kept up until it is closed.
 *
 * @since 0.1.0
 */
export interface Connection<E extends Event.Any> {
  /** Its state now. */
  readonly state: ConnectionState
  /** Calls the handler with the state now, and after each change. */
  readonly onState: (handler: (state: ConnectionState) => void) => Stop
  /** Calls the handler with failures that no promise and no subscription tells of. For logs. */
  readonly onError: (handler: (failure: Failure) => void) => Stop
  /** Calls the handler with each event of this name that a backend sends to this browser alone. */
  readonly on: (event: string, handler: (data: { readonly [key: string]: unknown }) => void) => Stop
  /**
   * Subscribes to a channel, typed by its declaration: `subscribe<typeof Room>("presence-room-42")`. Several subscriptions of
   * one channel share it; the options of the first count.
   */
  readonly subscribe: <Of extends { readonly events: { readonly [name: string]: Event.Any } } = Channel.Any>(
    channel: string,
    options?: {
      /** Whether others do not see this browser on a presence channel, default `false`. */
      readonly hidden?: boolean
      /** What others on a presence channel see of this browser, default `{}`. */
      readonly data?: object
      /** Begins after this place, on a channel with history: take it from the last event that was handled. */
      readonly since?: Cursor | undefined
      /** How many of the last events of a channel with history come first, default 0. Not with `since`. */
      readonly rewind?: number
    }
  ) => Subscription<Of["events"][keyof Of["events"]]>
  /**
   * Subscribes to the inbox of the user: what backends send to the user, typed by a group, `inbox<typeof News>()`. It needs a
   * token. What was sent while this browser was away arrives first if inboxes have a history, or `onGap` tells of a gap.
   */
  readonly inbox: <Group extends EventGroup.Any = EventGroup.Any>(options?: {
    /** Begins after this place: take it from the last event that was handled. */
    readonly since?: Cursor | undefined
    /** How many of the last events come first, default 0. Not with `since`. */
    readonly rewind?: number | undefined
  }) => Inbox<EventGroup.EventsOf<Group>>
  /** Triggers an event for a worker. Fulfilled once the broker has accepted it: a worker will get it. */
  readonly trigger: <const Name extends E["_tag"]>(
    event: Name & Triggerable<E, Name>,
    data: Data<Named<E, Name>>,
    options?: TriggerOptions
  ) => Promise<void>
  /** Triggers an event, and is fulfilled with what its handler responds. */
  readonly request: <const Name extends E["_tag"]>(
    event: Name & Requestable<E, Name>,
    data: Data<Named<E, Name>>,
    options?: RequestOptions
  ) => Promise<Response<Named<E, Name>>>
  /** Closes the connection, and ends all calls. */
  readonly close: Stop
}

/**
 * Connects to a vhost, `wss://example.com/chat`. Never fails: the state says how the connection stands. Only a URL that no
 * WebSocket can have is an exception.
 *
 * @since 0.1.0
 */
export const connect = <Group extends EventGroup.Any = EventGroup.Any>(
  url: string,
  options: Options = {}
): Connection<EventGroup.EventsOf<Group>> => {
  const driver = makeDriver(url, options)
  const { give, machine } = driver
  give({ _tag: "Connect" })
  return {
    get state() {
      return Machine.connectionState(machine)
    },
    onState: (handler) => listenNow(driver, "state", handler, () => Machine.connectionState(machine)),
    onError: (handler) => listen(driver, "error", handler),
    on: (event, handler) => listen(driver, `direct ${event}`, handler),
    subscribe: (channel, options = {}) => subscribe(driver, String(channel), options),
    inbox: (options = {}) => subscribe(driver, ":user", options) as Inbox<Event.Any> as never,
    trigger: (event, data, options) => send(driver, "trigger", event, data, options),
    request: (event, data, options) => send(driver, "request", event, data, options),
    close: () => give({ _tag: "Close" })
  }
}

type Handler = (value: never) => void

interface Driver {
  readonly machine: Machine.Machine
  readonly give: (input: Input) => void
  readonly calls: TransientMap<number, Pick<PromiseWithResolvers<unknown>, "resolve" | "reject">>
  /** By what they listen to. */
  readonly handlers: Map<string, Set<Handler>>
  lastCall: number
}

const makeDriver = (url: string, { callTimeout, token }: Options): Driver => {
  const address = `${url}${url.includes("?") ? "&" : "?"}v=1`
  const hasToken = token !== undefined
  const machine = Machine.make({ client: randomName(), hasToken, callTimeout: numberOf(callTimeout) })
  const give = (input: Input): void => {
    for (const output of Machine.step(machine, input, performance.now(), random)) perform(output)
  }
  const driver: Driver = { machine, give, calls: new TransientMap(), handlers: new Map(), lastCall: 0 }
  const stopHints = listenToHints(give)
  let socket: WebSocket | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const perform = (output: Output): void => {
    switch (output._tag) {
      case "Connect":
        return void (socket = open(address, output.connection, give))
      case "Disconnect":
        return socket?.close(output.code)
      case "Send":
        return socket?.send(output.text)
      case "Flush":
        return queueMicrotask(() => give({ _tag: "Flush" }))
      case "SetTimer":
      case "ClearTimer":
        clearTimeout(timer)
        if ("at" in output) timer = setTimeout(give, Math.max(0, output.at - performance.now()), { _tag: "Timer" })
        return
      case "FetchToken":
        return fetchToken(token!, output.fetch, give)
      case "State":
        if (output.state._tag === "Closed") stopHints()
        return tell(driver, "state", output.state)
      default:
        report(driver, output)
    }
  }
  return driver
}

const open = (address: string, connection: number, give: Driver["give"]): WebSocket => {
  const socket = new WebSocket(address)
  // A promise catches what the parser throws, and keeps the order.
  socket.onmessage = ({ data }: { readonly data: unknown }) =>
    promise(() => JSON.parse(data as string) as unknown).then(
      (message) => give({ _tag: "Message", connection, message }),
      () => give({ _tag: "Message", connection, message: undefined })
    )
  socket.onclose = ({ code, reason }) => give({ _tag: "Closed", connection, code, reason })
  return socket
}

const fetchToken = (token: NonNullable<Options["token"]>, fetch: number, give: Driver["give"]): void => {
  promise(token).then(
    (token) => give({ _tag: "TokenFetched", fetch, token }),
    (cause) =>
      give({ _tag: "TokenFailed", fetch, message: `no token could be fetched: ${String(cause?.message ?? cause)}` })
  )
}

const report = (driver: Driver, output: Output): void => {
  switch (output._tag) {
    case "Settle": {
      const { call, result } = output
      const { reject, resolve } = driver.calls.get(call)!
      driver.calls.delete(call)
      return result._tag === "Success" ? resolve(result.data) : reject(
        result._tag === "Failure"
          ? errorOf(result.failure)
          : result._tag === "Declared"
          ? errorOf({ _tag: "DeclaredError", message: "the handler failed as it declares", error: result.error })
          : errorOf({ _tag: "CancelledError", message: "the call was cancelled" })
      )
    }
    case "Error":
      return tell(driver, "error", output.failure)
    case "Direct":
      return tell(driver, `direct ${output.event}`, output.data)
    case "Event":
      return tell(driver, `event ${output.channel} ${output.event}`, output)
    case "Gap":
      return tell(driver, `gap ${output.channel}`, output.reason)
    case "Subscription":
      return tell(driver, `state ${output.channel}`, output.state)
    case "Members":
      return tell(driver, `members ${output.channel}`, undefined)
  }
}

const unsubscribed: SubscriptionState = { _tag: "Unsubscribed" }

const subscribe = <E extends Event.Any>(
  driver: Driver,
  channel: string,
  { data, ...options }: Omit<Subscribe, "_tag" | "channel" | "data"> & { readonly data?: object }
): Subscription<E> => {
  const { give, machine } = driver
  const json = data && JSON.stringify(data)
  const stops = new Set<Stop>()
  const kept = (stop: Stop): Stop => addTo(stops, stop)
  let members: ReadonlyArray<Member> | undefined
  const membersNow = () => members ??= Machine.members(machine, channel)
  kept(listen(driver, `members ${channel}`, () => members = undefined))
  let isSubscribed = true
  give({ ...options, _tag: "Subscribe", channel, data: json })
  return {
    channel,
    get state() {
      return isSubscribed ? Machine.subscriptionState(machine, channel) : unsubscribed
    },
    get members() {
      return membersNow()
    },
    on: (event, handler) =>
      kept(
        listen(driver, `event ${channel} ${event}`, ({ cursor, data }: Extract<Output, { readonly _tag: "Event" }>) =>
          handler(data as never, cursor))
      ),
    onGap: (handler) => kept(listen(driver, `gap ${channel}`, handler)),
    onState: (handler) =>
      kept(listenNow(driver, `state ${channel}`, handler, () => Machine.subscriptionState(machine, channel))),
    onMembers: (handler) => kept(listenNow(driver, `members ${channel}`, () => handler(membersNow()), membersNow)),
    broadcast: (event, data, options) => send(driver, "broadcast", event, data, options, channel),
    update: (data, options) => send(driver, "update", "", data, options, channel),
    unsubscribe: () => {
      if (!isSubscribed) return
      isSubscribed = false
      give({ _tag: "Unsubscribe", channel })
      stops.forEach((stop) => stop())
    }
  }
}

const addTo = (stops: Set<Stop>, stop: Stop): Stop => {
  const remove = () => {
    stops.delete(remove)
    stop()
  }
  stops.add(remove)
  return remove
}

// What is thrown here rejects the promise.
const send = (
  driver: Driver,
  kind: Call["kind"],
  event: string,
  data: unknown,
  options: TriggerOptions = {},
  channel?: string
): Promise<never> =>
  new Promise((resolve, reject) => {
    const { dedupeKey, signal, timeout, traceparent } = options
    const call = ++driver.lastCall
    const cancel = () => driver.give({ _tag: "Cancel", call })
    const last = (end: Handler) => (it: unknown) => (signal?.removeEventListener("abort", cancel), end(it as never))
    // What has no JSON, as a function, is for the broker to reject.
    const json: string | undefined = JSON.stringify(data ?? {})
    const more = { channel, timeout: numberOf(timeout), dedupeKey: textOf(dedupeKey), traceparent: textOf(traceparent) }
    const input: Input = { _tag: "Call", call, kind, event: String(event), data: json ?? "null", ...more }
    signal?.addEventListener("abort", cancel)
    driver.calls.set(call, { resolve: last(resolve), reject: last(reject) })
    driver.give(input)
    if (signal?.aborted) cancel()
  })

// Pages need no compiler. The machine is given what its types say, so that it cannot throw.
const numberOf = (value: number | undefined): number | undefined => value === undefined ? undefined : Number(value)

const textOf = (value: string | undefined): string | undefined => value === undefined ? undefined : String(value)

const errorOf = ({ message, ...fields }: Omit<CallError, "name">): CallError =>
  Object.assign(new Error(message), fields)

const listen = ({ handlers }: Pick<Driver, "handlers">, to: string, handler: Handler): Stop => {
  const all = handlers.get(to) ?? new Set()
  handlers.set(to, all)
  // The same function may listen twice.
  const own: Handler = (value) => handler(value)
  all.add(own)
  return () => {
    all.delete(own)
    if (all.size === 0 && handlers.get(to) === all) handlers.delete(to)
  }
}

const listenNow = <A>(driver: Driver, to: string, handler: (value: A) => void, now: () => A): Stop => {
  handler(now())
  return listen(driver, to, handler)
}

// Later, so that what a handler throws is the page's own, and what it calls finds the machine at rest.
const tell = ({ handlers }: Pick<Driver, "handlers">, to: string, value: unknown): void =>
  handlers.get(to)?.forEach((handler, _, all) => queueMicrotask(() => all.has(handler) && handler(value as never)))

const promise = <A>(make: () => A | PromiseLike<A>): Promise<A> => new Promise((resolve) => resolve(make()))

/** What a page has of a browser's window, and Node.js has not. */
interface Page {
  readonly addEventListener?: (event: string, handler: Stop) => void
  readonly removeEventListener?: (event: string, handler: Stop) => void
  readonly document?: Page & { readonly visibilityState: string }
}

const listenToHints = (give: Driver["give"]): Stop => {
  const page = globalThis as Page
  const online = () => give({ _tag: "Hint", hint: "online" })
  const offline = () => give({ _tag: "Hint", hint: "offline" })
  const visible = () => {
    if (page.document?.visibilityState === "visible") give({ _tag: "Hint", hint: "visible" })
  }
  page.addEventListener?.("online", online)
  page.addEventListener?.("offline", offline)
  page.document?.addEventListener?.("visibilitychange", visible)
  return () => {
    page.removeEventListener?.("online", online)
    page.removeEventListener?.("offline", offline)
    page.document?.removeEventListener?.("visibilitychange", visible)
  }
}

// `randomUUID` is for secure contexts only.
const randomName = (): string =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("")

const random = (): number => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32
