/**
 * Declares events that belong together: what browsers and backends agree on. On the wire an event of a group is called
 * `group/event`, the form that WebRocket's backends have always dispatched by.
 *
 * The shape is that of `effect/rpc`'s `RpcGroup`: `of` and `toLayer` implement the handlers of a group, and a router
 * requires them by their types, so that a forgotten or misspelt handler is a compile error.
 *
 * **Example** (A group and its handlers)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Event, EventGroup } from "kosmonaut/events"
 *
 * class Chat extends EventGroup.make(
 *   "chat",
 *   Event.make("say", { payload: { room: Schema.String, text: Schema.String } }),
 *   Event.make("left")
 * ) {}
 *
 * Chat.events.say._tag // "chat/say"
 *
 * const ChatLive = Chat.toLayer({
 *   say: (data, message) => Effect.log(`${message.uid} says ${data.text}`),
 *   left: (_data, message) => Effect.log(`${message.uid} has left`)
 * })
 * ```
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Event from "./Event.ts"
import type { Message } from "./Message.ts"

const TypeId = "~kosmonaut/events/EventGroup"

/** Events by the names of their handlers. */
type Events = { readonly [name: string]: Event.Any }

/**
 * A group of events. It is a value, and a class that extends it has a short name in types.
 *
 * @since 0.1.0
 */
export interface EventGroup<Name extends string, E extends Events> {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  /** Its name, which its events' names on the wire begin with; `""` for a merged group, whose events have several. */
  readonly identifier: Name
  /** Its events, by their names in the group. */
  readonly events: E
  /** The group with more events. An event with the same name is replaced. */
  readonly add: <const Added extends ReadonlyArray<Event.Any>>(
    ...events: Added
  ) => EventGroup<Name, Omit<E, Added[number]["_tag"]> & ByTag<Name, Added[number]>>
  /**
   * One group of the events of several, named as they are on the wire. For a router that handles them all. Two different
   * events with one name on the wire are an error at once.
   */
  readonly merge: <const Groups extends ReadonlyArray<Any>>(
    ...groups: Groups
  ) => EventGroup<"", ByTag<"", E[keyof E] | EventsOf<Groups[number]>>>
  /** The group with a prefix to its name: with `v2.` the event `chat/say` is `v2.chat/say` on the wire. */
  readonly prefix: <const Prefix extends string>(
    prefix: Prefix
  ) => EventGroup<`${Prefix}${Name}`, { readonly [K in keyof E]: Event.Prefixed<E[K], Prefix> }>
  /** Gives the handlers as they are, checked by the compiler. */
  readonly of: <const Handlers extends HandlersFrom<E>>(handlers: Exactly<E, Handlers>) => Handlers
  /**
   * Implements the handlers as a layer, for `EventRouter.layer`. `handlers` may be an effect that makes them; what it
   * acquires lives as long as the layer. A `Scope` that a handler needs is each event's own.
   */
  readonly toLayer: <Handlers extends HandlersFrom<E>, EX = never, RX = never>(
    handlers: Exactly<E, Handlers> | Effect.Effect<Exactly<E, Handlers>, EX, RX>
  ) => Layer.Layer<Event.ToHandler<E[keyof E]>, EX, Exclude<RX | HandlersServices<Handlers>, Scope.Scope>>
}

/**
 * Any group.
 *
 * @since 0.1.0
 */
export interface Any {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  readonly identifier: string
  readonly events: Events
}

/**
 * The events of a group, as a union.
 *
 * @since 0.1.0
 */
export type EventsOf<Group extends Any> = Group["events"][keyof Group["events"]]

/**
 * The handlers of a group's events.
 *
 * @since 0.1.0
 */
export type HandlersFrom<E extends Events> = { readonly [Name in keyof E]: Event.ToHandlerFn<E[Name]> }

/**
 * The services that handlers need.
 *
 * @since 0.1.0
 */
export type HandlersServices<Handlers> = Handlers[keyof Handlers] extends (
  ...args: never
) => Effect.Effect<unknown, unknown, infer R> ? R :
  never

type ByTag<Group extends string, E extends Event.Any> = {
  readonly [One in E as One["_tag"]]: Group extends "" ? One : Event.Prefixed<One, `${Group}/`>
}

// What a handler gives is looked at by itself: `Effect<number>` can be assigned to `Effect<void>`.
type Exactly<E extends Events, Handlers> =
  & Handlers
  & {
    readonly [Name in keyof Handlers]: Name extends keyof E ?
      Handlers[Name] extends (...args: never) => Effect.Effect<infer A, unknown, unknown>
        ? [Event.Success<E[Name]>, A] extends [void, void] ? unknown
        : [Event.Success<E[Name]>] extends [void] ? "This event has no response: end the handler with Effect.asVoid"
        : unknown
      : unknown
      : "The group has no such event"
  }

/**
 * A handler as a Context holds it, with the services that were there when it was made.
 *
 * @since 0.1.0
 */
export interface Implemented {
  /** Handles an event, with its data decoded. */
  readonly handler: (data: unknown, message: Message<unknown>) => Effect.Effect<unknown, unknown, never>
  /** The services that it needs. */
  readonly context: Context.Context<never>
}

/**
 * Declares a group. The names of groups and events are not empty, have no `/` and do not begin with `:`, as those of the
 * system do; a wrong one that the compiler cannot see, or two events with one name, are an error at once.
 *
 * @since 0.1.0
 */
export const make = <const Name extends string, const Declared extends ReadonlyArray<Event.Any>>(
  name: Name extends Wrong ? Advice : Name,
  ...events: { readonly [Index in keyof Declared]: Declared[Index]["_tag"] extends Wrong ? Advice : Declared[Index] }
): EventGroup<Name, ByTag<Name, Declared[number]>> => {
  // The compiler does not follow conditions that hold.
  const declared = events as ReadonlyArray<unknown> as Declared
  const wrong = [name as string, ...declared.map(({ _tag }) => _tag)].find(isWrong)
  return Result.getOrThrow(
    wrong === undefined ? Result.succeed(unchecked<Name, Declared>(name as Name, ...declared)) : Result.fail(
      new TypeError(
        `Neither a group nor an event can be called ${JSON.stringify(wrong)}: a name is not empty, has no "/", ` +
          `which stands between group and event, and does not begin with ":", as those of the system do`
      )
    )
  )
}

/**
 * Declares a group whatever the names, for those of the system.
 *
 * @internal
 */
export const unchecked = <const Name extends string, const Declared extends ReadonlyArray<Event.Any>>(
  name: Name,
  ...events: Declared
): EventGroup<Name, ByTag<Name, Declared[number]>> =>
  fromEvents(name, byTag(name, events)) as unknown as EventGroup<Name, ByTag<Name, Declared[number]>>

const byTag = (group: string, events: ReadonlyArray<Event.Any>): Events => {
  const twice = events.find((event, index) =>
    events.slice(0, index).some((other) => other._tag === event._tag && other !== event)
  )
  return Result.getOrThrow(
    twice === undefined
      ? Result.succeed(
        Object.fromEntries(events.map((event) => [event._tag, group === "" ? event : event.prefix(`${group}/`)]))
      )
      : Result.fail(
        new TypeError(
          `There are two events ${JSON.stringify(twice._tag)}: an event has one declaration and one handler. ` +
            "Rename one, or replace the other with `add`"
        )
      )
  )
}

// The types of what it gives are those of the interface: the compiler does not follow a record through its entries.
const fromEvents = (identifier: string, events: Events): Any =>
  Object.assign(
    function() {} as unknown as new(_: never) => {},
    {
      [TypeId]: TypeId,
      identifier,
      events,
      add: (...added: ReadonlyArray<Event.Any>) => fromEvents(identifier, { ...events, ...byTag(identifier, added) }),
      merge: (...groups: ReadonlyArray<Any>) =>
        fromEvents("", byTag("", [events, ...groups.map(({ events }) => events)].flatMap(Object.values<Event.Any>))),
      prefix: (prefix: string) =>
        fromEvents(
          `${prefix}${identifier}`,
          Object.fromEntries(Object.entries(events).map(([name, event]) => [name, event.prefix(prefix)]))
        ),
      of: identity,
      toLayer: (handlers: Handlers | Effect.Effect<Handlers, unknown, unknown>) =>
        Layer.effectContext(implement(events, handlers))
    } as const
  )

type Handlers = { readonly [name: string]: Implemented["handler"] }

const implement = Effect.fnUntraced(function*(
  events: Events,
  handlers: Handlers | Effect.Effect<Handlers, unknown, unknown>
) {
  const context = yield* Effect.context<never>()
  const made = Effect.isEffect(handlers) ? yield* handlers : handlers
  const missing = Object.keys(events).find((name) => typeof made[name] !== "function")
  if (missing !== undefined) {
    return yield* Effect.die(
      new TypeError(`The event "${events[missing]!._tag}" has no handler: add one to its group's`)
    )
  }
  const implemented = Object.entries(events).map(([name, { key }]): [string, Implemented] => [
    key,
    { handler: made[name]!, context }
  ])
  return Context.makeUnsafe<never>(new Map(implemented))
})

type Wrong = "" | `:${string}` | `${string}/${string}`

type Advice = "A name is not empty, has no / and does not begin with :"

const isWrong = (name: string): boolean => name === "" || name.startsWith(":") || name.includes("/")
